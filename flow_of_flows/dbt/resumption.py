"""Continues a run that did not succeed: its checkpoint in, the input of `dbt retry` or why not out. Pure.

What did not succeed is built, what a change of the project touches, and everything behind either. The rest counts as
done. The results that a run leaves always fit its own manifest: what counts as done is the same in both.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from flow_of_flows.dbt.arguments import Options
from flow_of_flows.dbt.build_flags import BuildFlags
from flow_of_flows.dbt.results import Node, ancestors, blame, is_operation, is_test, nodes, title
from flow_of_flows.dbt.state.saved_runs import SavedRun
from flow_of_flows.messages import listed

RUN_RESULTS_SCHEMA = "https://schemas.getdbt.com/dbt/run-results/v6.json"
NEW = "new"
UNSUCCESSFUL = "did not succeed"
DOWNSTREAM = "downstream of"
NAMED = 3


@dataclass(frozen=True)
class Continuation:
    """A run that can be continued."""

    run: UUID
    saved: SavedRun
    results: bytes


@dataclass(frozen=True)
class Remainder:
    """What is left of a run that is continued.

    Attributes:
        reasons: why each node that is left is built, by id.
        anew: ids of those that are built whole, whatever the run did of them.
        done: ids of the nodes that count as done.
        changed: nodes that differ from what the run built, and why, by id; None where the project is the same.
    """

    reasons: Mapping[str, str]
    anew: frozenset[str]
    done: frozenset[str]
    changed: Mapping[str, str] | None = None

    @property
    def facts(self) -> dict[str, str | int]:
        """How many nodes are built for which reason, and what changed, where the project is not the same."""
        if self.changed is None:
            return {}
        before = sum(reason.startswith(UNSUCCESSFUL) for reason in self.reasons.values())
        behind = sum(reason.startswith(DOWNSTREAM) for reason in self.reasons.values())
        changes = [f"{title(name)} ({why})" for name, why in sorted(self.changed.items()) if not is_test(name)]
        named = listed(changes, NAMED)
        return {
            "did not succeed before": before,
            "changed": len(self.reasons) - before - behind,
            "downstream of changes": behind,
            **({"changes": named} if named else {}),
        }

    @property
    def sentence(self) -> str:
        """How many nodes count as done, and why the others are built."""
        facts = self.facts
        parts = [f"{facts[name]} {name}" for name in list(facts)[:3] if facts[name]]
        because = f". Built: {', '.join(parts)}" if parts else ""
        changes = f". Changed: {facts['changes']}" if "changes" in facts else ""
        return f"{len(self.done)} of {len(self.done) + len(self.reasons)} nodes count as done{because}{changes}"


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
        for what, before, after in (("dbt", saved.dbt, now.dbt), ("the target", saved.target, now.target))
        if before != after
    ]
    if changed:
        return Refused(f"since run {run}, {' and '.join(changed)}")
    if _asks(now) and _asks(now) != _asks(saved):
        return Refused(f"run {run} had other parameters")
    return Continuation(run, saved, results)


def options(saved: SavedRun, request: Options) -> Options:
    """Return the options of the saved run, with the threads of this one, and its variables where it has parameters.

    Args:
        saved: the run to continue.
        request: what this run was asked to build.
    """
    is_bare = not (request.select or request.exclude or request.vars or request.full_refresh)
    return replace(
        request,
        select=saved.select,
        exclude=saved.exclude,
        vars=dict(saved.vars) if is_bare else request.vars,
        full_refresh=saved.full_refresh,
        flags=BuildFlags.restored(saved.flags, request.flags.target),
    )


def remainder(
    results: bytes, selected: Collection[str], changed: Mapping[str, str] | None, parents: Mapping[str, Sequence[str]]
) -> Remainder:
    """Return what is left of a run, and why.

    Args:
        results: its run_results.json.
        selected: ids of what it has to build, of the project as it is now.
        changed: nodes that differ from what the run built, and why, by id; None where the project is the same.
        parents: what each node depends on, by id.
    """
    succeeded = {node.id for node in nodes(results) if node.is_done}
    touched = changed or {}
    left = set(selected) - succeeded
    reasons: dict[str, str] = {}
    anew: set[str] = set()
    for name in sorted(selected):
        above = ancestors(name, parents)
        behind = sorted(above & touched.keys()) or sorted(above & left)
        if name in touched or behind:
            anew.add(name)
        if name in left and touched.get(name) != NEW:
            reasons[name] = "; ".join([UNSUCCESSFUL, *([touched[name]] if name in touched else [])])
        elif name in touched:
            reasons[name] = touched[name]
        elif behind:
            reasons[name] = f"{DOWNSTREAM} {listed([title(each) for each in behind], NAMED)}"
    return Remainder(reasons, frozenset(anew), frozenset(selected) - reasons.keys(), changed)


def adapted(results: bytes, left: Remainder, *, full_refresh: bool) -> bytes:
    """Return a run_results.json that says what counts as done, and that the rest was skipped.

    A model that is built whole was perhaps built in batches; then it is built in the same ones.

    Args:
        results: run_results.json of the run to continue.
        left: what is left of it.
        full_refresh: what is built whole is built from scratch.
    """
    document = json.loads(results)
    before = {result["unique_id"]: result for result in document["results"]}
    batches = {} if full_refresh else before
    kept = [each for name, each in before.items() if is_operation(name) or name in left.done]
    again = [
        before[name] if name in before and name not in left.anew else _skipped(name, batches.get(name))
        for name in sorted(left.reasons)
    ]
    document["results"] = [*kept, *again]
    return json.dumps(document).encode()


def previous_results(results: bytes, arguments: dict[str, Any]) -> bytes:
    """Return the run_results.json for `dbt retry`.

    Args:
        results: what of the run to continue counts as done, and what does not.
        arguments: its `args`, made anew.
    """
    document = json.loads(results)
    # Hooks run again with the nodes; what an earlier try says of them is not what this one did.
    document["results"] = [each for each in document["results"] if not is_operation(each["unique_id"])]
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
    document = json.loads(previous_results(results, arguments))
    document["results"] = [
        each if each["unique_id"] in again else {**each, "status": "success"} for each in document["results"]
    ]
    return json.dumps(document).encode()


def hooks_left(results: bytes, hooks: Iterable[str]) -> list[str]:
    """Return the hooks that have to run although no node does.

    Args:
        results: run_results.json of the run to continue.
        hooks: ids of the project's hooks.
    """
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
    """Return the parameters that are not at their default; another variable is a change like one of the project."""
    parameters = run.model_dump(include={"select", "exclude", "full_refresh"}) | run.flags
    # The target is compared as what it names.
    parameters |= {"select": run.asked or run.select, "target": None}
    return {name: value for name, value in parameters.items() if value not in (None, {}, "", False)}


def _skipped(name: str, before: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the result of a node that has to be built whole."""
    result = _result(Node(name, "skipped", 0.0, "to be built", None))
    batches = (before or {}).get("batch_results") or {}
    if done := batches.get("successful"):
        # dbt goes by what failed, and only where a batch succeeded. One that stood for that before may be in both.
        every = {tuple(batch): batch for batch in (*done, *batches.get("failed", ()))}
        result["batch_results"] = {"successful": done[:1], "failed": [every[key] for key in sorted(every)]}
    return result


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
        "batch_results": node.batches.as_json() if node.batches else None,
    }


def _timestamp(moment: datetime) -> str:
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"
