"""What dispatch reads of the Prefect API: runs, reports, events. Ids in, values of our own out.

Every call is retried: a parent must not fail because its server restarts.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterType,
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterEndTime,
    FlowRunFilterId,
    FlowRunFilterParentFlowRunId,
    FlowRunFilterStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
    Operator,
)
from prefect.client.schemas.objects import TERMINAL_STATES, Artifact, FlowRun, State, StateType
from prefect.exceptions import ObjectNotFound
from pydantic import JsonValue

from flow_of_flows.child_report import ChildReport
from flow_of_flows.errors import ConfigurationError, PlatformError
from flow_of_flows.limits import API_OUTAGE_SECONDS
from flow_of_flows.prefect_api import client
from flow_of_flows.prefect_api.artifacts import CHILD_REPORT_TYPE, RESULT_KEY, parsed
from flow_of_flows.retrying import RetryTimeout
from flow_of_flows.runs.causes import POD_OBSERVER, PREFECT_OBSERVER, RUN, PodEvidence, by_run
from flow_of_flows.runs.outcome import REFUSAL_TYPE, ChildRun, Refusal
from flow_of_flows.runs.resume import began, parse_key
from flow_of_flows.summary.result_table import ResultTable

logger = logging.getLogger(__name__)
PAGE = 200
# Type of the artifact by which a run says that it has begun its steps.
OVERLAP_TYPE = "flows-overlap"
# What a parent looks at while it waits: a child that is over or has not begun; itself, if it is to start nothing.
TELLING = [*TERMINAL_STATES, StateType.SCHEDULED, StateType.PENDING, StateType.PAUSED, StateType.CANCELLING]
EVENTS_PAGE = 50
# A pod is made before its run ends, by less than a step may take; Prefect keeps events for a week.
EVENTS_SINCE = timedelta(days=6)


class RunsReader:
    """Reads of one open client.

    Args:
        client: an open Prefect client.
        retry_seconds: seconds for which an API that does not answer is waited for.
    """

    def __init__(self, client: PrefectClient, *, retry_seconds: float = API_OUTAGE_SECONDS) -> None:
        self._client = client
        self._retry = RetryTimeout(str(client.api_url), retry_seconds)
        self._ahead = timedelta()
        self._pool_types: dict[str, str] = {}

    def now(self) -> datetime:
        """Return the time by the server's clock, as far as `set_clock` knows it."""
        return datetime.now(UTC) - self._ahead

    async def set_clock(self, run: UUID) -> None:
        """Learn how far this machine's clock is from the server's, from the answer to a read of a run."""
        _, self._ahead = await self._retry.call(lambda: client.read(self._client, run))
        if self._ahead:
            logger.warning(
                "This machine's clock is %s %s the Prefect server's: set it (NTP). Times are counted by the server's",
                abs(self._ahead),
                "ahead of" if self._ahead > timedelta() else "behind",
            )

    async def read(self, run: UUID) -> FlowRun:
        """Read one flow run.

        Raises:
            ConfigurationError: there is none of this id.
        """
        try:
            return await self._retry.call(lambda: self._client.read_flow_run(run))
        except ObjectNotFound as error:
            raise ConfigurationError(
                f"There is no run {run}", location=str(self._client.api_url), hint="copy the id from the run's page"
            ) from error

    async def children(self, pipeline_run: UUID) -> list[ChildRun]:
        """Read all child runs of a pipeline run, oldest attempt first; runs without an attempt's key do not count."""
        runs = await self._filtered(FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[pipeline_run])))
        children = [
            child_run(run, step=known[1], attempt=known[2]) for run in runs if (known := parse_key(run.idempotency_key))
        ]
        return sorted(children, key=lambda child: (child.step, child.attempt))

    async def family(self, roots: Iterable[UUID]) -> tuple[dict[UUID, FlowRun], dict[UUID, list[ChildRun]]]:
        """Read runs and their children, by the id of the run; one filtered read for all of them."""
        ids = list(roots)
        runs = await self._filtered(
            FlowRunFilter(
                operator=Operator.or_,  # type: ignore[call-arg]
                id=FlowRunFilterId(any_=ids),
                parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=ids),
            )
        )
        children: dict[UUID, list[ChildRun]] = {identifier: [] for identifier in ids}
        for run in runs:
            if (known := parse_key(run.idempotency_key)) and known[0] in children:
                children[known[0]].append(child_run(run, step=known[1], attempt=known[2]))
        for found in children.values():
            found.sort(key=lambda child: (child.step, child.attempt))
        return {run.id: run for run in runs if run.id in children}, children

    async def resume_chain(self, run: FlowRun) -> list[FlowRun]:
        """Read the runs that a run resumes (`resume_from`), newest first."""
        found: list[FlowRun] = []
        seen = {run.id}
        while (value := run.parameters.get("resume_from")) and UUID(str(value)) not in seen:
            run = await self.read(UUID(str(value)))
            seen.add(run.id)
            found.append(run)
        return found

    async def inherited(self, resumed: Iterable[FlowRun]) -> list[ChildRun]:
        """Read the children of the runs that a run resumes, oldest run first; `resumed` is newest first."""
        children: list[ChildRun] = []
        for run in resumed:
            children = await self.children(run.id) + children
        return children

    async def seen(self, pipeline_run: UUID, waiting: Iterable[ChildRun]) -> tuple[State | None, list[ChildRun]]:
        """Read a pipeline run and the children it waits for: one filtered read for up to 199 of them.

        Args:
            pipeline_run: the run that asks.
            waiting: its children.

        Returns:
            The state of the pipeline run, None while it is Running, and those children that do not run.
        """
        known = {child.id: child for child in waiting}
        runs = await self._filtered(
            FlowRunFilter(
                id=FlowRunFilterId(any_=[pipeline_run, *known]),
                state=FlowRunFilterState(type=FlowRunFilterStateType(any_=TELLING)),
            ),
            expected=len(known) + 1,
        )
        children = [
            child_run(run, step=known[run.id].step, attempt=known[run.id].attempt) for run in runs if run.id in known
        ]
        return next((run.state for run in runs if run.id == pipeline_run), None), children

    async def reports(self, runs: Iterable[UUID]) -> dict[UUID, ChildReport]:
        """Read the reports of children, by run id; the last one of several tries of one run."""
        ids = list(runs)
        found: dict[UUID, ChildReport] = {}
        for start in range(0, len(ids), PAGE):
            for artifact in await self._artifacts(ids[start : start + PAGE], CHILD_REPORT_TYPE):
                if artifact.flow_run_id:
                    found[artifact.flow_run_id] = ChildReport.model_validate(parsed(artifact.data))
        return found

    async def result(self, run: UUID) -> ResultTable | None:
        """Read the rows that are the result of a run; those of its last try."""
        tables = [each for each in await self._artifacts([run], "table") if each.key == RESULT_KEY]
        rows = parsed(tables[-1].data) if tables else None
        if not isinstance(rows, list):
            return None
        return ResultTable(tables[-1].description or "", tuple(row for row in rows if isinstance(row, dict)))

    async def refusals(self, pipeline_run: UUID) -> list[Refusal]:
        """Read the attempts without a child run since the pipeline run began or was retried, oldest first."""
        found = await self._artifacts([pipeline_run], REFUSAL_TYPE)
        since = began(await self.states(pipeline_run)) if found else None
        return [Refusal.model_validate(parsed(one.data)) for one in found if since is None or created(one) >= since]

    async def states(self, run: UUID) -> list[State]:
        """Read every state that a run was in."""
        return await self._retry.call(lambda: self._client.read_flow_run_states(run))

    async def pods(self, runs: Iterable[UUID]) -> dict[UUID, tuple[PodEvidence, ...]]:
        """Read the events of the pods of these runs, one read for all; runs without events have an empty entry."""
        ids = list(runs)
        if not ids:
            return {}
        which: JsonValue = {
            "occurred": {"since": (self.now() - EVENTS_SINCE).isoformat()},
            "event": {"prefix": [PREFECT_OBSERVER, POD_OBSERVER]},
            "related": {"id": [f"{RUN}{run}" for run in ids]},
        }
        answer = await self._json("POST", "/events/filter", {"filter": which, "limit": EVENTS_PAGE})
        events = list(answer["events"])
        while page := answer["next_page"]:
            answer = await self._json("GET", "/events/filter/next", query=str(page).partition("?")[2])
            events += answer["events"]
        return dict.fromkeys(ids, ()) | by_run(events)

    async def has_job(self, child: ChildRun) -> bool:
        """Return whether Kubernetes took a Job for a child: pools of other types name their infrastructure alike."""
        if not (child.has_job and child.pool):
            return child.has_job
        if child.pool not in self._pool_types:
            try:
                pool = await self._retry.call(lambda: self._client.read_work_pool(child.pool))
                self._pool_types[child.pool] = pool.type
            except ObjectNotFound:
                return True
        return self._pool_types[child.pool] == client.KUBERNETES

    async def job_variables(self, run: UUID) -> dict[str, JsonValue]:
        """Read the job variables of a run's pod: its own over its deployment's over the pool's defaults."""
        read = await self.read(run)
        merged: dict[str, JsonValue] = {}
        if pool := read.work_pool_name:
            found = await self._retry.call(lambda: self._client.read_work_pool(pool))
            merged |= defaults(found.base_job_template)
        if deployment := read.deployment_id:
            made = await self._retry.call(lambda: self._client.read_deployment(deployment))
            merged |= made.job_variables or {}
        return merged | (read.job_variables or {})

    async def _json(self, method: str, path: str, body: JsonValue = None, *, query: str = "") -> dict[str, Any]:
        async def ask() -> dict[str, Any]:
            address = f"{path}?{query}" if query else path
            response = await self._client.request(method, address, json=body)  # type: ignore[arg-type]
            return dict(response.json())

        return await self._retry.call(ask)

    async def begun(self, deployment: UUID) -> list[FlowRun]:
        """Read the runs of a deployment that have begun and are not over."""
        return await self._filtered(
            FlowRunFilter(
                deployment_id=FlowRunFilterDeploymentId(any_=[deployment]),
                state=FlowRunFilterState(type=FlowRunFilterStateType(not_any_=list(TERMINAL_STATES))),
                start_time=FlowRunFilterStartTime(is_null_=False),
            )
        )

    async def crashed(self, deployment: UUID, *, since: datetime) -> list[FlowRun]:
        """Read the runs of a deployment that crashed after a moment; they may be restarted.

        Args:
            deployment: id of the deployment.
            since: the moment.
        """
        return await self._filtered(
            FlowRunFilter(
                deployment_id=FlowRunFilterDeploymentId(any_=[deployment]),
                state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.CRASHED])),
                end_time=FlowRunFilterEndTime(after_=since),
            )
        )

    async def entered(self, runs: Iterable[UUID]) -> dict[UUID, set[datetime]]:
        """Read the places at which runs of one deployment have begun their steps."""
        found: dict[UUID, set[datetime]] = {}
        for artifact in await self._artifacts(list(runs), OVERLAP_TYPE):
            data = parsed(artifact.data)
            if artifact.flow_run_id and isinstance(data, dict):
                found.setdefault(artifact.flow_run_id, set()).add(datetime.fromisoformat(str(data["place"])))
        return found

    async def _artifacts(self, runs: list[UUID], kind: str) -> list[Artifact]:
        """Read the artifacts of one type, oldest first."""
        which = ArtifactFilter(
            flow_run_id=ArtifactFilterFlowRunId(any_=runs),
            type=ArtifactFilterType(any_=[kind]),
        )
        artifacts = await self._retry.call(
            functools.partial(self._client.read_artifacts, artifact_filter=which, limit=PAGE)
        )
        return sorted(artifacts, key=created)

    async def _filtered(self, which: FlowRunFilter, *, expected: int | None = None) -> list[FlowRun]:
        runs: list[FlowRun] = []
        while True:
            page = await self._retry.call(
                functools.partial(self._client.read_flow_runs, flow_run_filter=which, limit=PAGE, offset=len(runs))
            )
            runs += page
            if len(page) < PAGE or len(runs) == expected:
                return runs


def child_run(run: FlowRun, *, step: str, attempt: int) -> ChildRun:
    """Return a flow run as the child of a step.

    Args:
        run: as the API returned it.
        step: name of the step.
        attempt: number of the attempt.

    Raises:
        PlatformError: the API left out when it was created.
    """
    state = run.state
    if run.created is None:
        raise PlatformError(f"The Prefect API answered a run without its time of creation: {run.id}")
    return ChildRun(
        id=run.id,
        name=run.name,
        step=step,
        attempt=attempt,
        created=run.created,
        state=state.type if state else StateType.PENDING,
        state_name=(state.name or "") if state else "",
        message=(state.message or "") if state else "",
        started=run.start_time,
        ended=run.end_time,
        since=state.timestamp if state else None,
        run_count=run.run_count,
        has_job=_has_job(run.infrastructure_pid),
        pool=run.work_pool_name or "",
        job_variables=run.job_variables or {},
    )


def _has_job(infrastructure: str | None) -> bool:
    """Return whether it names a Job (`namespace:name`), not a process (`host:number`)."""
    _, colon, name = (infrastructure or "").rpartition(":")
    return bool(colon) and not name.isdigit()


def created(artifact: Artifact) -> datetime:
    """Return when an artifact was created, to sort by."""
    return artifact.created or datetime.min.replace(tzinfo=UTC)


def defaults(base_job_template: Mapping[str, Any]) -> dict[str, JsonValue]:
    """Return the defaults of a work pool's job variables."""
    properties = base_job_template.get("variables", {}).get("properties", {})
    return {name: schema["default"] for name, schema in properties.items() if "default" in schema}
