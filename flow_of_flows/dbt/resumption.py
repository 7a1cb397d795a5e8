"""Continues a run that did not succeed: its checkpoint in, the input of `dbt retry` or why not out. Pure."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from flow_of_flows.dbt.arguments import Options
from flow_of_flows.dbt.build_flags import BuildFlags
from flow_of_flows.dbt.results import Node, blame, is_operation, nodes
from flow_of_flows.dbt.state.saved_runs import SavedRun

RUN_RESULTS_SCHEMA = "https://schemas.getdbt.com/dbt/run-results/v6.json"
# What a build makes a result for; `dbt ls` lists more.
BUILT = ("model.", "seed.", "snapshot.", "test.", "unit_test.", "function.")


@dataclass(frozen=True)
class Continuation:
    """A run that can be continued."""

    run: UUID
    saved: SavedRun
    results: bytes


@dataclass(frozen=True)
class Refused:
    """Why a run cannot be continued, as a sentence."""

    reason: str


def decide(
    run: UUID, kept: tuple[SavedRun, bytes] | None, now: SavedRun, *, own: bool = False
) -> Continuation | Refused:
    """Return the run as one that can be continued, or why it cannot.

    Args:
        run: the run to continue.
        kept: what the state store has of it.
        now: the same description of this process's project, target, dbt and parameters.
        own: the run to continue is this one, which was tried before; it may have succeeded without Prefect knowing.
    """
    if kept is None:
        return Refused(f"the state store has no results of run {run}")
    saved, results = kept
    if saved.done and not own:
        return Refused(f"run {run} has succeeded since")
    changed = [
        f"{what} changed"
        for what, before, after in (
            ("dbt", f"{saved.dbt} to ", now.dbt),
            ("the project", saved.project, now.project),
            ("the target", saved.target, now.target),
        )
        if before.removesuffix(" to ") != after
    ]
    if changed:
        return Refused(f"since run {run}, {' and '.join(changed)}")
    if _asks(now) and _asks(now) != _asks(saved):
        return Refused(f"run {run} had other parameters")
    return Continuation(run, saved, results)


def options(saved: SavedRun, request: Options) -> Options:
    """Return the options of the saved run, with the threads of this one.

    Args:
        saved: the run to continue.
        request: what this run was asked to build.
    """
    return replace(
        request,
        select=saved.select,
        exclude=saved.exclude,
        vars=dict(saved.vars),
        full_refresh=saved.full_refresh,
        flags=BuildFlags.restored(saved.flags, request.flags.target),
    )


def done(results: bytes) -> int:
    """Return how many nodes of a run_results.json a retry does not run again."""
    return sum(node.is_done for node in nodes(results) if not is_operation(node.id))


def previous_results(results: bytes, arguments: dict[str, Any], selected: Iterable[str]) -> bytes:
    """Return the run_results.json for `dbt retry`.

    Args:
        results: run_results.json of the run to continue.
        arguments: its `args`, made anew.
        selected: ids the run should have built, where it was stopped before it had a result for each.
    """
    document = json.loads(results)
    # Hooks run again with the nodes; what an earlier try says of them is not what this one did.
    document["results"] = [each for each in document["results"] if not is_operation(each["unique_id"])]
    known = {result["unique_id"] for result in document["results"]}
    missing = [name for name in selected if name.startswith(BUILT) and name not in known]
    document["results"] += [_result(Node(name, "skipped", 0.0, "not reached", None)) for name in sorted(missing)]
    document["args"] = arguments
    return json.dumps(document).encode()


def faults_alone(
    results: bytes, transient: Collection[str], parents: Mapping[str, Sequence[str]], arguments: dict[str, Any]
) -> bytes | None:
    """Return the run_results.json for a `dbt retry` of what a fault of the warehouse failed, or was skipped for.

    Args:
        results: run_results.json of a build.
        transient: ids of what failed by a fault of the warehouse.
        parents: what each node depends on, by id.
        arguments: its `args`, made anew.

    Returns:
        None where no node failed by data, for then the whole run is tried again, or none that dbt could run by itself.
    """
    done = nodes(results)
    failed = {node.id for node in done if node.failed}
    lost = {name for name in failed & set(transient) if not is_operation(name)}
    if not lost or failed <= set(transient):
        return None
    because = blame([node.id for node in done if node.status == "skipped"], failed, parents)
    again = lost | {name for name, causes in because.items() if causes and lost.issuperset(causes)}
    document = json.loads(previous_results(results, arguments, ()))
    document["results"] = [
        each if each["unique_id"] in again else {**each, "status": "success"} for each in document["results"]
    ]
    return json.dumps(document).encode()


def hooks_left(results: bytes, start: bytes, hooks: Iterable[str]) -> list[str]:
    """Return the hooks that have to run although no node does; none where nodes have to, for hooks run with them.

    Args:
        results: run_results.json of the run to continue.
        start: the one for `dbt retry`, which has a result for each node of the run.
        hooks: ids of the project's hooks.
    """
    if any(not node.is_done for node in nodes(start)):
        return []
    succeeded = {node.id for node in nodes(results) if is_operation(node.id) and node.is_done}
    return sorted(set(hooks) - succeeded)


def interrupted_results(done: Sequence[Node], dbt: str, started: datetime, start: bytes | None) -> bytes:
    """Return the run_results.json of a run that was stopped, for which dbt itself returns none.

    Args:
        done: nodes that ended before it was stopped.
        dbt: dbt's version.
        started: when the run started.
        start: the run_results.json that the stopped run went on from, if it was a retry; what it did not reach stays.
    """
    before = json.loads(start)["results"] if start is not None else []
    results = {result["unique_id"]: result for result in before} | {node.id: _result(node) for node in done}
    metadata = {
        "dbt_schema_version": RUN_RESULTS_SCHEMA,
        "dbt_version": dbt,
        "generated_at": _timestamp(datetime.now(UTC)),
        "invocation_started_at": _timestamp(started),
        "env": {},
    }
    document = {"metadata": metadata, "results": list(results.values()), "elapsed_time": 0.0, "args": {}}
    return json.dumps(document).encode()


def _asks(run: SavedRun) -> dict[str, Any]:
    """Return the parameters that are not at their default."""
    parameters = run.model_dump(include={"select", "exclude", "vars", "full_refresh"}) | run.flags
    # The target is compared as what it names.
    parameters |= {"select": run.asked or run.select, "target": None}
    return {name: value for name, value in parameters.items() if value not in (None, {}, "", False)}


def _result(node: Node) -> dict[str, Any]:
    return {
        "status": node.status,
        "timing": [],
        "thread_id": "",
        "execution_time": node.seconds,
        "adapter_response": {},
        "message": node.message,
        "failures": None,
        "unique_id": node.id,
        "compiled": None,
        "compiled_code": None,
        "relation_name": None,
        "batch_results": None,
    }


def _timestamp(moment: datetime) -> str:
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"
