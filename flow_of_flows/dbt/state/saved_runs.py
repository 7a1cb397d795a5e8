"""What a run that did not succeed leaves in the state store, so that another one can continue it.

    runs/<run id>/manifest.json, run_results.json, sources.json, run.json   the newest 200, of successes the last two
    artifacts/, history/                                                    see `publications`

run.json is written last: what it stands for is there when it is. While a run works, run_results.json is replaced again
and again by one of more nodes; a run.json that speaks of all nodes names the one it means by its digest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from flow_of_flows.dbt.state import Store

MANIFEST = "manifest.json"
RUN_RESULTS = "run_results.json"
SOURCES = "sources.json"
CATALOG = "catalog.json"
RUN = "run.json"
KEPT_RUNS = 200


class Inputs(BaseModel):
    """What a project reads besides the code of its nodes, as digests: a later run sees what changed.

    `files` is of all files that dbt parsed, those of packages included; `place` is the adapter with the database and
    schema that dbt builds in, as dbt has rendered the profile; `variables` has dbt's variables by package and
    name, `environment` those of the process that the project reads, by name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    files: str
    place: str
    variables: dict[str, dict[str, str]] = {}
    environment: dict[str, str] = {}


class SavedRun(BaseModel):
    """What must be the same for a run to be continued, and what it was to build.

    `asked` is the selection of the request, `select` the one that dbt got: a run that is to build what is modified
    selects everything if there is no manifest to compare with. `onto` is its base publication, see `Comparison.base`.
    `flags`: every other option of dbt that is not at its default, by the name of the child's parameter.
    `complete`: run_results.json has a result for each node, if it is the one of this `digest` (None: not known).
    `project` is the fingerprint of the project's own files, `production` the id of the publication that was production
    when the run began.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    done: bool = False
    complete: bool = True
    digest: str | None = None
    project: str
    inputs: Inputs | None = None
    target: str
    dbt: str
    asked: str | None = None
    onto: str | None = None
    production: str | None = None
    select: str | None
    exclude: str | None
    vars: dict[str, JsonValue]
    full_refresh: bool
    flags: dict[str, JsonValue] = {}


def save_run(store: Store, run: UUID, saved: SavedRun, files: Mapping[str, bytes]) -> None:
    """Keep what a run left, so that another can go on from it; the oldest go.

    Args:
        store: where.
        run: id of the run.
        saved: what must be the same to continue it.
        files: content by name, with at least the run results.
    """
    saved = saved.model_copy(update={"digest": _digest(files[RUN_RESULTS])})
    for name, data in files.items():
        store.write(f"runs/{run}/{name}", data)
    store.write(f"runs/{run}/{RUN}", saved.model_dump_json().encode())
    store.prune("runs", KEPT_RUNS)


def begin_run(store: Store, run: UUID, saved: SavedRun, files: Mapping[str, bytes], *, continues: bool = False) -> None:
    """Keep what a run starts with; what an earlier try left that was another one goes first.

    A run that continues an earlier try replaces the results first: they say less is done, which is also true of the
    manifest that is still there, so that a process killed in between leaves a pair that fits.

    Args:
        store: where.
        run: id of the run.
        saved: what must be the same to continue it.
        files: content by name, with at least the run results.
        continues: the run goes on from what an earlier try left, if there is any.
    """
    before = read_run(store, run)
    if before is not None and before[0].model_copy(update={"complete": False, "digest": None}) != saved:
        if continues:
            save_results(store, run, files[RUN_RESULTS])
        else:
            store.remove(f"runs/{run}")
    save_run(store, run, saved, files)


def save_results(store: Store, run: UUID, results: bytes) -> None:
    """Keep what a run did so far; `begin_run` went before.

    Args:
        store: where.
        run: id of the run.
        results: run_results.json so far.
    """
    store.write(f"runs/{run}/{RUN_RESULTS}", results)


def finish_run(store: Store, run: UUID, saved: SavedRun, results: bytes) -> None:
    """Keep of a run that succeeded what says so; the large files go.

    Args:
        store: where.
        run: id of the run.
        saved: what must be the same to continue it.
        results: its run_results.json.
    """
    store.remove(f"runs/{run}")
    save_run(store, run, saved.model_copy(update={"done": True}), {RUN_RESULTS: results})


def read_run(store: Store, run: UUID) -> tuple[SavedRun, bytes] | None:
    """Return the saved run and its run_results.json; None if nothing usable is kept under its id.

    Results that are not those that run.json speaks of are those of a run that was stopped, so they are not complete.

    Args:
        store: where it is.
        run: id of the run.
    """
    described, results = store.read(f"runs/{run}/{RUN}"), store.read(f"runs/{run}/{RUN_RESULTS}")
    if described is None or results is None:
        return None
    try:
        saved = SavedRun.model_validate_json(described)
    except ValidationError:
        return None
    if saved.digest not in (None, _digest(results)):
        saved = saved.model_copy(update={"complete": False})
    return saved, results


def read_manifest(store: Store, run: UUID) -> bytes | None:
    """Return the manifest.json of a saved run; None if it is not kept.

    Args:
        store: where it is.
        run: id of the run.
    """
    return store.read(f"runs/{run}/{MANIFEST}")


def read_sources(store: Store, run: UUID) -> bytes | None:
    """Return the sources.json that a saved run began with; None if it checked none.

    Args:
        store: where it is.
        run: id of the run.
    """
    return store.read(f"runs/{run}/{SOURCES}")


def target_of(store: Store, run: UUID) -> str | None:
    """Return the output of the profile that a saved run chose by its parameter; None if it chose none.

    Args:
        store: where it is.
        run: id of the run.
    """
    kept = read_run(store, run)
    target = kept[0].flags.get("target") if kept else None
    return target if isinstance(target, str) else None


def started_at(run_results: bytes) -> datetime | None:
    """When the dbt invocation started that wrote a run_results.json; None if it does not say."""
    try:
        return datetime.fromisoformat(json.loads(run_results)["metadata"]["invocation_started_at"])
    except (ValueError, KeyError, TypeError):
        return None


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
