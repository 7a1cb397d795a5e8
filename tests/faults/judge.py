"""Runs one row: breaks, waits for the end, measures, compares with the promise, keeps evidence of what differs."""

from __future__ import annotations

import json
import traceback
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import httpx
from prefect.client.schemas.objects import FlowRun

from flow_of_flows.errors import Cause
from flow_of_flows.pod.acquisition import starts
from tests.e2e.kube import RUN
from tests.faults.case import DOWN, Case
from tests.faults.matrix import Columns, Promise, Result, Row, differences
from tests.faults.site import Site

FOLDER = Path(__file__).parent.parent.parent / "build" / "faults"
# What a pod may take to be over once its run is: it sends its last log lines.
DRAIN = 30


def judged(row: Row, site: Site, repeat: int) -> Result:
    """The row's result; anything unexpected is one, too."""
    case = Case(row, site, repeat)
    try:
        result = _measured(case, row.break_it(case))
    except Exception as error:  # noqa: BLE001 - a row that cannot be judged is a row that is not ok
        trace = "".join(traceback.format_exception(error))
        problem = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"
        result = Result(row, repeat, "not judged", Columns(), (problem, *case.problems))
        _keep(case, result, trace)
        _clear(case)
        return result
    if not result.ok:
        _keep(case, result, "")
    _clear(case)
    return result


def _measured(case: Case, run: UUID) -> Result:
    read = case.settled(run)
    promise = case.row.promise
    with suppress(TimeoutError):
        case.when(lambda: not case.pods_left() and not case.held(), "pods and slots are given back", within=DRAIN)
    children = case.prefect.states(run)
    state = read.state
    message = str(state.message if state else "")
    seen = Promise(
        promise.words,
        str(read.state_name),
        message,
        children,
        starts=len(case.effects("% began")),
        cause=(Cause.from_message(message) or "") if promise.cause else "",
    )
    columns = Columns(
        detected=_detected(case, run),
        ended=_ended(case, state.timestamp) if state else None,
        attempts=_attempts(case, read),
        rebuilt=_twice(case.built()) if case.row.builds else 0,
        doubled=_twice(case.effects("% done")),
        pods=len(case.pods_left()),
        slots=case.held(),
    )
    problems = (*differences(case.row, seen, columns), *case.problems)
    return Result(case.row, case.repeat, f"{seen.state}: {seen.message}", columns, problems)


def _detected(case: Case, run: UUID) -> float | None:
    """Seconds from the fault to the first state that followed from it, of the run or of the step that was struck."""
    if case.noticed:
        return _since(case, case.noticed)
    runs = [run]
    if case.row.promise.struck:
        runs += [child.id for (step, _), child in case.prefect.children(run).items() if step == case.row.promise.struck]
    after = [
        state.timestamp for one in runs for state in case.states(one) if case.struck and state.timestamp > case.struck
    ]
    return _since(case, min(after)) if after else None


def _since(case: Case, moment: datetime) -> float | None:
    return round((moment - case.struck).total_seconds(), 1) if case.struck else None


def _ended(case: Case, moment: datetime) -> float | None:
    """Seconds from the fault to the end; of a run that was over before, none."""
    seconds = _since(case, moment)
    return None if seconds is None else max(seconds, 0.0)


def _attempts(case: Case, run: FlowRun) -> int:
    struck = case.row.promise.struck
    if not struck:
        return run.run_count
    children = case.prefect.children(run.id)
    return sum(max(1, starts(case.states(child.id))) for (step, _), child in children.items() if step == struck)


def _twice(names: list[str]) -> int:
    return sum(count - 1 for count in Counter(names).values())


def _clear(case: Case) -> None:
    """End what is left of a row before the next one."""
    with suppress(*DOWN):
        for run in case.family().values():
            if not (run.state and run.state.is_final()):
                state = {"state": {"type": "CANCELLED", "name": "Cancelled"}, "force": True}
                case.prefect.client.request("POST", "/flow_runs/{id}/set_state", path_params={"id": run.id}, json=state)
        for identifier in case.family():
            case.namespace.kubectl("delete", "jobs", "-l", f"{RUN}={identifier}", "--wait=false")


def _keep(case: Case, result: Result, trace: str) -> None:
    """States, events and logs of the row's runs, for whoever asks why."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / f"{case.row.name}-{case.repeat}.log").open("w") as file:
        file.write(f"{case.row.name}: {case.row.fault}\npromised: {case.row.promise}\nseen: {result}\n{trace}\n")
        with suppress(*DOWN):
            for run in case.family().values():
                file.write(f"\n== {run.name} {run.id} {run.idempotency_key} tags {run.tags}\n")
                for state in case.states(run.id):
                    file.write(f"{state.timestamp} {state.type.value} {state.name}: {state.message}\n")
                for event in _events(case, run.id):
                    file.write(f"event {json.dumps(event)}\n")
                for pod in case.namespace.pods_of(run.id):
                    name = pod["metadata"]["name"]
                    file.write(f"-- pod {name}: {json.dumps(pod['status'].get('containerStatuses'))}\n")
                    file.write(case.namespace.log(name) + "\n")
            for pod in case.namespace.pods("app.kubernetes.io/component=worker"):
                lines = case.namespace.log(pod["metadata"]["name"]).splitlines()
                file.write("\n== worker\n" + "\n".join(lines[-200:]) + "\n")


def _events(case: Case, run: UUID) -> list[dict[str, object]]:
    query = {"filter": {"any_resource": {"id": [f"prefect.flow-run.{run}"]}}, "limit": 50}
    with suppress(httpx.HTTPError):
        found = case.prefect.client.request("POST", "/events/filter", json=query).json()["events"]
        return [
            {"at": event["received"], "event": event["event"], "labels": event["resource"]}
            for event in reversed(found)
            if event["event"].startswith("prefect.kubernetes")
        ]
    return []


def now() -> str:
    """This moment, for the table's head."""
    return f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
