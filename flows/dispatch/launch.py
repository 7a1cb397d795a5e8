"""The one door to the Prefect API for dispatch: starts, reads, cancels child runs. Called by dispatcher and commands.

Every call is patient: a parent must not fail because its server restarts, and keys make starting again safe.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from uuid import UUID

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
from prefect.client.schemas.objects import TERMINAL_STATES, FlowRun, StateType
from prefect.deployments import arun_deployment
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.states import Cancelling
from pydantic import JsonValue

from flows.dispatch.outcome import ChildRun
from flows.dispatch.patience import PATIENCE_SECONDS, Patience, detail
from flows.dispatch.resume import key, parse_key
from flows.dispatch.translate import child_run, created, parsed
from flows.errors import ConfigurationError
from flows.report import origin
from flows.report.handback import ChildReport
from flows.report.publish import HANDBACK_TYPE

PAGE = 200
ACTIVE_STATES = [state for state in StateType if state not in TERMINAL_STATES and state is not StateType.CANCELLING]


class Api:
    """Child runs of one pipeline run.

    Args:
        client: an open Prefect client.
        patience: seconds for which an API that does not answer is waited for.
    """

    def __init__(self, client: PrefectClient, *, patience: float = PATIENCE_SECONDS) -> None:
        self._client = client
        self._patience = Patience(str(client.api_url), patience)

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
            run = await self._patience.call(
                lambda: arun_deployment(
                    deployment,
                    client=self._client,
                    parameters=dict(parameters),
                    job_variables=dict(job_variables) or None,
                    flow_run_name=name,
                    idempotency_key=key(pipeline_run, step, attempt),
                    tags=origin.tags(step),
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
                f"Step {step} cannot start: {detail(error)}",
                where=deployment,
                todo="correct its parameters or job variables",
            ) from error
        return child_run(run, step=step, attempt=attempt)

    async def read(self, run: UUID) -> FlowRun:
        """Read one flow run.

        Raises:
            ConfigurationError: there is none of this id.
        """
        try:
            return await self._patience.call(lambda: self._client.read_flow_run(run))
        except ObjectNotFound as error:
            raise ConfigurationError(
                f"There is no run {run}", where=str(self._client.api_url), todo="copy the id from the run's page"
            ) from error

    async def children(self, pipeline_run: UUID) -> list[ChildRun]:
        """All child runs of a pipeline run, oldest attempt first; runs without a key of ours are not children."""
        runs = await self._filtered(FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[pipeline_run])))
        children = [
            child_run(run, step=known[1], attempt=known[2]) for run in runs if (known := parse_key(run.idempotency_key))
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
            if (known := parse_key(run.idempotency_key)) and known[0] in children:
                children[known[0]].append(child_run(run, step=known[1], attempt=known[2]))
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
        return [child_run(run, step=known[run.id].step, attempt=known[run.id].attempt) for run in runs]

    async def cancel(self, run: UUID) -> None:
        """Ask a run to stop; its own process sets it to Cancelled once it did."""
        await self._patience.call(lambda: self._client.set_flow_run_state(run, Cancelling()))

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
            which = ArtifactFilter(
                flow_run_id=ArtifactFilterFlowRunId(any_=ids[start : start + PAGE]),
                type=ArtifactFilterType(any_=[HANDBACK_TYPE]),
            )
            artifacts = await self._patience.call(
                functools.partial(self._client.read_artifacts, artifact_filter=which, limit=PAGE)
            )
            for artifact in sorted(artifacts, key=created):
                if artifact.flow_run_id:
                    found[artifact.flow_run_id] = ChildReport.model_validate(parsed(artifact.data))
        return found

    async def _filtered(self, which: FlowRunFilter, *, expected: int | None = None) -> list[FlowRun]:
        runs: list[FlowRun] = []
        while True:
            page = await self._patience.call(
                functools.partial(self._client.read_flow_runs, flow_run_filter=which, limit=PAGE, offset=len(runs))
            )
            runs += page
            if len(page) < PAGE or len(runs) == expected:
                return runs
