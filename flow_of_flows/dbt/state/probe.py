"""Whether a store keeps its promise to this process: a small object written, read, replaced, listed and deleted."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

from flow_of_flows.aws import DeniedError
from flow_of_flows.dbt.state.protocol import Store
from flow_of_flows.errors import ConfigurationError


def probe(store: Store) -> None:
    """Do once what runs do, in a folder of its own that is removed.

    Raises:
        ConfigurationError: something is not allowed (all of it is named), or conditions are not heeded.
        PlatformError: the store does not answer.
    """
    folder = f"probe/{uuid4()}"
    steps: dict[str, Callable[[], object]] = {
        "write": lambda: store.write(f"{folder}/written", b"probe"),
        "read": lambda: store.read(f"{folder}/written"),
        "replace": lambda: _conditions(store, f"{folder}/replaced"),
        "list": lambda: store.folders("probe"),
        "delete": lambda: store.remove(folder),
    }
    denied: dict[str, DeniedError] = {}
    for name, step in steps.items():
        try:
            step()
        except DeniedError as error:
            denied[name] = error
    if denied:
        permissions = dict.fromkeys(error.permission for error in denied.values())
        raise ConfigurationError(
            f"The state store does not allow this process to {', '.join(denied)}",
            where=store.describe(),
            todo=f"allow {'; '.join(permissions)} in the role of the job pods",
        )


def _conditions(store: Store, key: str) -> None:
    """Some servers that speak S3 overlook the conditions, and an older run would replace a newer one."""
    if not store.replace(key, b"first", None) or store.replace(key, b"second", None):
        raise ConfigurationError(
            "The state store does not heed the conditions of a write (If-None-Match)",
            where=store.describe(),
            todo="use a store that does, as S3 itself",
        )
