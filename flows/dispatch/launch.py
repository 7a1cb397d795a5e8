"""The one door to the Prefect API for dispatch: starts, reads, cancels child runs. Called by dispatcher and commands.

Every call outlives an API that answers 5xx or not at all, for `PATIENCE_SECONDS`: a parent must not fail because its
server restarts, and keys make starting again safe. (Prefect's own client retries 429, 502 and 503, but not 500.)
"""

from __future__ import annotations

import asyncio
import functools
import json
import logging
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import TypeVar
from uuid import UUID

import httpx
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterType,
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterParentFlowRunId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    Operator,
)
from prefect.client.schemas.objects import TERMINAL_STATES, Artifact, FlowRun, StateType
from prefect.deployments import arun_deployment
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.states import Cancelling
from pydantic import JsonValue

from flows.dispatch.outcome import ChildRun
from flows.dispatch.resume import key, parse_key
from flows.errors import ConfigurationError, PlatformError
from flows.report.handback import ChildReport
from flows.report.publish import HANDBACK_TYPE

logger = logging.getLogger(__name__)
T = TypeVar("T")

PATIENCE_SECONDS = 600.0
PAGE = 200
ACTIVE_STATES = [state for state in StateType if state not in TERMINAL_STATES and state is not StateType.CANCELLING]
SERVER_ERROR = 500


class Api:
    """Child runs of one pipeline run.

    Args:
        client: an open Prefect client.
        patience: seconds for which an API that does not answer is waited for.
    """

    def __init__(self, client: PrefectClient, *, patience: float = PATIENCE_SECONDS) -> None:
        self._client = client
        self._patience = patience

    async def start(
        self,
        deployment: str,
        *,
        pipeline_run: UUID,
        step: str,
        attempt: int,
        parameters: Mapping[str, JsonValue],
        job_variables: Mapping[str, JsonValue],
        name: str,
    ) -> ChildRun:
        """Create one child run, or find the one of the same key.

        Raises:
            ConfigurationError: no such deployment, or parameters it does not take.
            PlatformError: the API did not answer for too long.
        """
        try:
            run = await self._patient(
                lambda: arun_deployment(
                    deployment,
                    client=self._client,
                    parameters=dict(parameters),
                    job_variables=dict(job_variables) or None,
                    flow_run_name=name,
                    idempotency_key=key(pipeline_run, step, attempt),
                    tags=[f"step:{step}"],
                    timeout=0,
                )
            )
        except ObjectNotFound as error:
            raise ConfigurationError(
                f"Step {step} has no child: the deployment {deployment} does not exist",
                where=str(self._client.api_url),
                todo="register the deployments of prefect.yaml (`prefect deploy --all`), or correct the step",
            ) from error
        except PrefectHTTPStatusError as error:
            raise ConfigurationError(
                f"Step {step} cannot start: {_detail(error)}", where=deployment, todo="correct its parameters"
            ) from error
        return _child(run, step=step, attempt=attempt)

    async def read(self, run: UUID) -> FlowRun:
        """Read one flow run.

        Raises:
            ConfigurationError: there is none of this id.
        """
        try:
            return await self._patient(lambda: self._client.read_flow_run(run))
        except ObjectNotFound as error:
            raise ConfigurationError(
                f"There is no run {run}", where=str(self._client.api_url), todo="copy the id from the run's page"
            ) from error

    async def children(self, pipeline_run: UUID) -> list[ChildRun]:
        """All child runs of a pipeline run, oldest attempt first; runs without a key of ours are not children."""
        runs = await self._filtered(FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[pipeline_run])))
        children = [
            _child(run, step=parsed[1], attempt=parsed[2]) for run in runs if (parsed := parse_key(run.idempotency_key))
        ]
        return sorted(children, key=lambda child: (child.step, child.attempt))

    async def family(self, roots: Iterable[UUID]) -> tuple[dict[UUID, FlowRun], dict[UUID, list[ChildRun]]]:
        """Runs by id, and their children by the run they belong to; one filtered read for all of them."""
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
            if (parsed := parse_key(run.idempotency_key)) and parsed[0] in children:
                children[parsed[0]].append(_child(run, step=parsed[1], attempt=parsed[2]))
        for found in children.values():
            found.sort(key=lambda child: (child.step, child.attempt))
        return {run.id: run for run in runs if run.id in children}, children

    async def lineage(self, run: FlowRun) -> list[FlowRun]:
        """The runs that a run resumes (`resume_from`), newest first."""
        found: list[FlowRun] = []
        seen = {run.id}
        while (value := run.parameters.get("resume_from")) and UUID(str(value)) not in seen:
            run = await self.read(UUID(str(value)))
            seen.add(run.id)
            found.append(run)
        return found

    async def finished(self, waiting: Iterable[ChildRun]) -> list[ChildRun]:
        """Those of the children that are over: one filtered read for up to 200 of them."""
        known = {child.id: child for child in waiting}
        if not known:
            return []
        runs = await self._filtered(
            FlowRunFilter(
                id=FlowRunFilterId(any_=list(known)),
                state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(TERMINAL_STATES))),
            ),
            expected=len(known),
        )
        return [_child(run, step=known[run.id].step, attempt=known[run.id].attempt) for run in runs]

    async def cancel(self, run: UUID) -> None:
        """Ask a run to stop; its own process sets it to Cancelled once it did."""
        await self._patient(lambda: self._client.set_flow_run_state(run, Cancelling()))

    async def cancel_children(self, pipeline_runs: Iterable[UUID]) -> list[UUID]:
        """Ask every active child of these pipeline runs to stop."""
        runs = await self._filtered(
            FlowRunFilter(
                parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=list(pipeline_runs)),
                state=FlowRunFilterState(type=FlowRunFilterStateType(any_=ACTIVE_STATES)),
            )
        )
        for run in runs:
            await self.cancel(run.id)
        return [run.id for run in runs]

    async def reports(self, runs: Iterable[UUID]) -> dict[UUID, ChildReport]:
        """What the children handed back, by run id; of several tries of one run, the last."""
        ids = list(runs)
        found: dict[UUID, ChildReport] = {}
        for start in range(0, len(ids), PAGE):
            artifacts = await self._patient(
                lambda page=ids[start : start + PAGE]: self._client.read_artifacts(  # type: ignore[misc]
                    artifact_filter=ArtifactFilter(
                        flow_run_id=ArtifactFilterFlowRunId(any_=page), type=ArtifactFilterType(any_=[HANDBACK_TYPE])
                    ),
                    limit=PAGE,
                )
            )
            for artifact in sorted(artifacts, key=_created):
                if artifact.flow_run_id:
                    found[artifact.flow_run_id] = ChildReport.model_validate(_parsed(artifact.data))
        return found

    async def _filtered(self, which: FlowRunFilter, *, expected: int | None = None) -> list[FlowRun]:
        runs: list[FlowRun] = []
        while True:
            page = await self._patient(
                functools.partial(self._client.read_flow_runs, flow_run_filter=which, limit=PAGE, offset=len(runs))
            )
            runs += page
            if len(page) < PAGE or len(runs) == expected:
                return runs

    async def _patient(self, call: Callable[[], Awaitable[T]]) -> T:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._patience
        pause = 0.5
        while True:
            try:
                return await call()
            except (PrefectHTTPStatusError, httpx.TransportError) as error:
                if isinstance(error, PrefectHTTPStatusError) and error.response.status_code < SERVER_ERROR:
                    raise
                if loop.time() + pause > deadline:
                    raise PlatformError(
                        f"The Prefect API did not answer for {self._patience:.0f} s: {_detail(error)}",
                        where=str(self._client.api_url),
                        todo="bring the server back, then retry this run: it goes on where it stopped",
                    ) from error
                logger.warning("The Prefect API does not answer (%s); next try in %.1f s", _detail(error), pause)
                await asyncio.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311 - jitter, no secret
                pause = min(pause * 2, 30.0)


def _created(artifact: Artifact) -> datetime:
    return artifact.created or datetime.min.replace(tzinfo=UTC)


def _parsed(data: JsonValue) -> JsonValue:
    """Artifact data as JSON: the API gives a JSON text back as text or parsed, by its type of database."""
    return json.loads(data) if isinstance(data, str) else data


def _detail(error: Exception) -> str:
    if isinstance(error, PrefectHTTPStatusError):
        try:
            return str(error.response.json()["detail"])
        except (ValueError, KeyError, TypeError):
            return f"status {error.response.status_code}"
    return str(error) or type(error).__name__


def _child(run: FlowRun, *, step: str, attempt: int) -> ChildRun:
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
    )
