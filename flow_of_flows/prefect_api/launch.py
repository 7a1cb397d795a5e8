"""The client with which dispatch changes runs: starts, cancels and restarts them.

Every call is retried, and idempotency keys make that safe. What is read is in `flow_of_flows.prefect_api.runs`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any
from uuid import UUID

from prefect.client.schemas.actions import ArtifactCreate
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterParentFlowRunId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import TERMINAL_STATES, FlowRun, State, StateType
from prefect.client.schemas.responses import OrchestrationResult
from prefect.deployments import arun_deployment
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.states import AwaitingRetry, Cancelling, Paused, Running
from pydantic import JsonValue

from flow_of_flows import query_tag
from flow_of_flows.errors import ConfigurationError
from flow_of_flows.prefect_api.runs import OVERLAP_TYPE, RunsReader, child_run
from flow_of_flows.retrying import detail
from flow_of_flows.runs.outcome import REFUSAL_TYPE, ChildRun, Refusal
from flow_of_flows.runs.resume import RESTARTED, WAITING, is_waiting, key

# Statuses of an answer that refuses parameters: in conflict with the deployment's schema, or no valid request.
REFUSED = (400, 409, 422)
# Prefect's policy of a run whose process waits for the next of the flow's own `retries`.
RETRIES_IN_PROCESS = "in_process"
ACTIVE_STATES = [state for state in StateType if state not in TERMINAL_STATES and state is not StateType.CANCELLING]


class RunsClient(RunsReader):
    """Child runs of one pipeline run."""

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
        """Create one child run, or return the one that has the same key.

        Args:
            deployment: `flow name/deployment name` of the child.
            pipeline_run: id of the pipeline run.
            step: name of the step.
            attempt: number of the attempt.
            parameters: over those of the deployment.
            job_variables: over those of the deployment.
            name: of the child run.

        Raises:
            ConfigurationError: no such deployment, or parameters it does not take.
            PlatformError: the API did not answer for too long.
        """
        try:
            run = await self._retry.call(
                lambda: arun_deployment(
                    deployment,
                    client=self._client,
                    parameters=dict(parameters),
                    job_variables=dict(job_variables) or None,
                    flow_run_name=name,
                    idempotency_key=key(pipeline_run, step, attempt),
                    tags=query_tag.tags(step),
                    timeout=0,
                    # Prefect's own default is this machine's time: a child of a wrong clock would wait for it.
                    scheduled_time=self.now(),
                )
            )
        except ObjectNotFound as error:
            raise ConfigurationError(
                f"Step {step} has no child: the deployment {deployment} does not exist",
                location=str(self._client.api_url),
                hint="register it (`flows register`; the chart does so with each upgrade), or correct the step",
            ) from error
        except PrefectHTTPStatusError as error:
            raise ConfigurationError(
                f"Step {step} cannot start: {detail(error)}",
                location=deployment,
                hint="correct its parameters or job variables",
            ) from error
        return child_run(run, step=step, attempt=attempt)

    async def note_refusal(self, pipeline_run: UUID, refusal: Refusal) -> None:
        """Record with a pipeline run that one of its steps has no child run, and why.

        Args:
            pipeline_run: id of the pipeline run.
            refusal: the attempt and the reason.
        """
        artifact = ArtifactCreate(
            type=REFUSAL_TYPE,
            flow_run_id=pipeline_run,
            data=refusal.model_dump(mode="json"),
            description="Why a step has no child run",
        )
        await self._retry.call(lambda: self._client.create_artifact(artifact))

    async def create(self, deployment: UUID, parameters: Mapping[str, JsonValue], *, key: str) -> UUID:
        """Create a run of a deployment, as the UI's Run button does: it is due now, by the server's clock.

        Args:
            deployment: id of the deployment.
            parameters: over those of the deployment.
            key: idempotency key, so that a lost answer does not create a second run.

        Raises:
            ConfigurationError: the API refuses these parameters.
            PlatformError: the API did not answer for too long.
        """
        body: JsonValue = {"parameters": dict(parameters), "idempotency_key": key, "state": {"type": "SCHEDULED"}}
        try:
            created = await self._json("POST", f"/deployments/{deployment}/create_flow_run", body)
        except PrefectHTTPStatusError as error:
            if error.response.status_code not in REFUSED:
                raise
            raise ConfigurationError(
                f"The run cannot be created: {detail(error)}", location=str(self._client.api_url), hint="correct --set"
            ) from error
        return UUID(created["id"])

    async def retry(self, run: UUID) -> str | None:
        """Start a run that is over again, as the UI's Retry button does; it is due now, by the server's clock.

        Returns:
            The reason why the API refuses, None if it accepts.
        """
        state: JsonValue = {"type": "SCHEDULED", "name": "AwaitingRetry", "message": "Retry from `flows resume`"}
        answer = await self._json("POST", f"/flow_runs/{run}/set_state", {"state": state, "force": False})
        return None if answer["status"] == "ACCEPT" else str(answer["details"].get("reason") or answer["status"])

    async def enter(self, run: UUID, place: datetime | None) -> None:
        """Create the mark of a run that begins its steps.

        Args:
            run: id of the run.
            place: when its present start began; without one there is no mark.
        """
        if place is None:
            return
        artifact = ArtifactCreate(
            type=OVERLAP_TYPE,
            flow_run_id=run,
            data={"place": place.isoformat()},
            description="This run has begun its steps",
        )
        await self._retry.call(lambda: self._client.create_artifact(artifact))

    async def withdraw(self, run: UUID) -> None:
        """Take back the marks of a run."""
        for artifact in await self._artifacts([run], OVERLAP_TYPE):
            with suppress(ObjectNotFound):
                await self._retry.call(functools.partial(self._client.delete_artifact, artifact.id))

    async def say_waiting(self, run: UUID, message: str, *, again: bool) -> None:
        """Set a run to a state that says that it waits for an earlier one, and for which.

        Args:
            run: id of the run.
            message: of the state.
            again: whether it is in such a state already.
        """
        state: State[Any] = Paused(name=WAITING, message=message)
        await self._retry.call(lambda: self._client.set_flow_run_state(run, state, force=again))

    async def go_on(self, run: UUID) -> None:
        """Set a run that has waited to Running."""
        if is_waiting((await self.read(run)).state):
            await self._retry.call(lambda: self._client.set_flow_run_state(run, Running()))

    async def cancel(self, run: UUID) -> None:
        """Ask a run to stop; its own process sets it to Cancelled once it did.

        A suspended run has no process: the server makes it Cancelled at once, and its children are asked from here. The
        server does the same with a run that waits for its flow's own next try, whose process would go on.
        """
        result = await self._set_cancelling(run)
        if result.state is not None and result.state.is_cancelled():
            read = await self.read(run)
            if read.empirical_policy.retry_type == RETRIES_IN_PROCESS:
                await self._set_cancelling(run, force=True)
            elif read.run_count:
                await self.cancel_children(read)

    async def _set_cancelling(self, run: UUID, *, force: bool = False) -> OrchestrationResult[Any]:
        return await self._retry.call(lambda: self._client.set_flow_run_state(run, Cancelling(), force=force))

    async def suspend(self, run: UUID, state: State[Any]) -> None:
        """Set a Paused run to Suspended, which needs no process, whatever its state is by now.

        Args:
            run: id of the run.
            state: the Suspended state.
        """
        await self._retry.call(lambda: self._client.set_flow_run_state(run, state, force=True))

    async def restart(self, run: UUID) -> None:
        """Restart a run whose process or pod died, under the same id."""
        message = f"{RESTARTED} by the pipeline run above it"
        await self._retry.call(
            lambda: self._client.set_flow_run_state(run, AwaitingRetry(scheduled_time=self.now(), message=message))
        )

    async def cancel_children(self, pipeline_run: FlowRun) -> list[UUID]:
        """Ask every active child of a pipeline run, and of those that it resumes, to stop."""
        family = [pipeline_run, *await self.resume_chain(pipeline_run)]
        runs = await self._filtered(
            FlowRunFilter(
                parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[run.id for run in family]),
                state=FlowRunFilterState(type=FlowRunFilterStateType(any_=ACTIVE_STATES)),
            )
        )
        for run in runs:
            await self.cancel(run.id)
        return [run.id for run in runs]
