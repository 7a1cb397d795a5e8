"""The state store: settings in, bytes by key out, in a folder or on S3."""

from __future__ import annotations

from flow_of_flows.dbt.state.s3 import S3Store
from flow_of_flows.dbt.state.store import FolderStore, Store, Stored
from flow_of_flows.settings import Settings

__all__ = ["FolderStore", "S3Store", "Store", "Stored", "opened"]


def opened(settings: Settings) -> Store:
    """Return the store that FLOWS_STATE_STORE names; nothing is read yet."""
    if settings.state.bucket is None:
        return FolderStore(settings.state_folder)
    return S3Store(*settings.state.bucket, region=settings.aws_region)
