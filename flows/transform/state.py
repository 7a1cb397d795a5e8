"""What a run that did not succeed leaves in the state store, to go on from. A store and values in and out; for `build`.

    runs/<run id>/manifest.json, run_results.json, sources.json, run.json   the newest 50
    artifacts/, history/                                                    see `publications`

run.json is written last: what it stands for is complete when it is there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
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
    """What must be the same for a run to be continued, and what it was asked to do.

    `select` is what it selected, `asked` the selection that it was given: asked for what is modified, a run without a
    manifest to compare with selects everything. `onto` is what it compared with, see `Comparison.onto`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    done: bool = False
    complete: bool = True
    project: str
    target: str
    dbt: str
    asked: str | None = None
    onto: str | None = None
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


def read_sources(store: Store, run: UUID) -> bytes | None:
    """The sources.json that a saved run began with; None if it checked none."""
    return store.read(f"runs/{run}/{SOURCES}")


def started_at(run_results: bytes) -> datetime | None:
    """When the dbt invocation started that wrote a run_results.json; None if it does not say."""
    try:
        return datetime.fromisoformat(json.loads(run_results)["metadata"]["invocation_started_at"])
    except (ValueError, KeyError, TypeError):
        return None
