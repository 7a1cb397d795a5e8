"""The state store: dbt's artifacts between runs and pods. Bytes by key in and out; called by `build`.

    artifacts/manifest.json, run_results.json, sources.json   of the last successful production run
    runs/<run id>/manifest.json, run_results.json, run.json   of a run that did not succeed

The manifest and run.json are written last: what they stand for is complete when they are there.
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol
from uuid import UUID

from pydantic import BaseModel, ConfigDict, ValidationError

from flows.errors import PlatformError

MANIFEST = "manifest.json"
RUN_RESULTS = "run_results.json"
SOURCES = "sources.json"
RUN = "run.json"


class Store(Protocol):
    """Bytes by key; a write is whole or not at all."""

    def read(self, key: str) -> bytes | None:
        """The bytes under a key, None if there are none."""
        ...

    def write(self, key: str, data: bytes) -> None:
        """Put bytes under a key."""
        ...

    def exclusive(self) -> AbstractContextManager[None]:
        """Hold off other writers of `artifacts/`."""
        ...

    def describe(self) -> str:
        """Where this is, for people."""
        ...


@dataclass(frozen=True)
class FolderStore:
    """A state store in a local folder."""

    folder: Path

    def read(self, key: str) -> bytes | None:
        """The file's content, None if it does not exist."""
        try:
            return (self.folder / key).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unusable(error) from error

    def write(self, key: str, data: bytes) -> None:
        """Write beside the file, then move into place."""
        path = self.folder / key
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
                file.write(data)
            Path(file.name).chmod(0o644)
            Path(file.name).replace(path)
        except OSError as error:
            raise self._unusable(error) from error

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """A file lock, released by the kernel if this process dies."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise self._unusable(error) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def describe(self) -> str:
        """The folder."""
        return str(self.folder)

    def _unusable(self, error: OSError) -> PlatformError:
        return PlatformError(
            f"The state store cannot be used: {error.strerror or error}",
            where=str(self.folder),
            todo="set FLOWS_STATE_STORE to a folder that can be written, or free space on its disk",
        )


class SavedRun(BaseModel):
    """What must be the same for a run to be continued, and what it was asked to do."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    done: bool = False
    complete: bool = True
    project: str
    target: str
    dbt: str
    select: str | None
    exclude: str | None
    vars: dict[str, str | int | float | bool | list[str] | None]
    full_refresh: bool


def save_run(store: Store, run: UUID, saved: SavedRun, files: Mapping[str, bytes]) -> None:
    """Keep what a run left, so that another can go on from it."""
    for name, data in files.items():
        store.write(f"runs/{run}/{name}", data)
    store.write(f"runs/{run}/{RUN}", saved.model_dump_json().encode())


def read_run(store: Store, run: UUID) -> tuple[SavedRun, bytes] | None:
    """The saved run and its run_results.json; None if nothing usable is kept under its id."""
    described, results = store.read(f"runs/{run}/{RUN}"), store.read(f"runs/{run}/{RUN_RESULTS}")
    if described is None or results is None:
        return None
    try:
        return SavedRun.model_validate_json(described), results
    except ValidationError:
        return None


def publish(store: Store, files: Mapping[str, bytes], started: datetime) -> bool:
    """Make these the production artifacts, manifest last, unless those of a newer run are there.

    Args:
        store: where.
        files: content by name, with at least the manifest and the run results.
        started: when the run that made them started.

    Returns:
        Whether they were published.
    """
    with store.exclusive():
        # Not the manifest's own time: with partial parsing dbt leaves the time of an earlier parse in it.
        current = store.read(f"artifacts/{RUN_RESULTS}")
        published = started_at(current) if current is not None else None
        if published is not None and published > started:
            return False
        for name, data in sorted(files.items(), key=lambda item: item[0] == MANIFEST):
            store.write(f"artifacts/{name}", data)
        return True


def fetch_production(store: Store, folder: Path) -> bool:
    """Copy the production artifacts into a folder, for dbt's `--state`.

    Returns:
        Whether there is a production manifest; without one the folder is left alone.
    """
    manifest = store.read(f"artifacts/{MANIFEST}")
    if manifest is None:
        return False
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).write_bytes(manifest)
    # For the selectors result: and source_status:.
    for name in (RUN_RESULTS, SOURCES):
        if (data := store.read(f"artifacts/{name}")) is not None:
            (folder / name).write_bytes(data)
    return True


def started_at(run_results: bytes) -> datetime | None:
    """When the dbt invocation started that wrote a run_results.json; None if it does not say."""
    try:
        return datetime.fromisoformat(json.loads(run_results)["metadata"]["invocation_started_at"])
    except (ValueError, KeyError, TypeError):
        return None
