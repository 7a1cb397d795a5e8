"""The state store: settings in, bytes by key out, in a folder or on S3. Opened by `dbt_core` and by `flows state`."""

from __future__ import annotations

from flows.settings import Settings
from flows.transform.store.folder import FolderStore
from flows.transform.store.protocol import Store, Stored
from flows.transform.store.s3 import S3Store

__all__ = ["FolderStore", "S3Store", "Store", "Stored", "opened"]


def opened(settings: Settings) -> Store:
    """The store that FLOWS_STATE_STORE names; nothing is read yet."""
    if settings.state.bucket is None:
        return FolderStore(settings.state_folder)
    return S3Store(*settings.state.bucket, region=settings.secrets.region)
