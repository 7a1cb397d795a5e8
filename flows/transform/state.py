"""What the state store holds: dbt's artifacts between runs and pods. A store and values in and out; called by `build`.

    artifacts/manifest.json, run_results.json, sources.json, catalog.json   of the last successful production run
    runs/<run id>/manifest.json, run_results.json, run.json                 of a run that did not succeed, the newest 50

The manifest and run.json are written last: what they stand for is complete when they are there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from uuid import UUID

from pydantic import BaseModel, ConfigDict, ValidationError

from flows.transform.store import Store

MANIFEST = "manifest.json"
RUN_RESULTS = "run_results.json"
SOURCES = "sources.json"
CATALOG = "catalog.json"
RUN = "run.json"
KEPT_RUNS = 50


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
    """Keep what a run left, so that another can go on from it; the oldest go."""
    for name, data in files.items():
        store.write(f"runs/{run}/{name}", data)
    store.write(f"runs/{run}/{RUN}", saved.model_dump_json().encode())
    store.prune("runs", KEPT_RUNS)


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
