"""Ends the engine of a run that this pod gives up, and says what becomes of the run.

The engine learns the intent before it is stopped, so that it proposes no state of its own.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.exceptions import Abort, Pause
from prefect.states import AwaitingRetry, Cancelling
from prefect.utilities.engine import propose_state

from flow_of_flows.errors import Cause, ConfigurationError, ExitCode, FlowsError
from flow_of_flows.limits import CHILD_CANCEL_SECONDS, SUPERSEDED_GRACE_SECONDS, TIMEOUT_GRACE_SECONDS
from flow_of_flows.pod.engine import RUN_VARIABLE, Engine
from flow_of_flows.pod.lease import API_ERRORS, LeaseRecord, LeaseRecords
from flow_of_flows.prefect_api import client
from flow_of_flows.prefect_internals import (
    ControlSignalStatus,
    FlowRunExecutorContext,
    cancellation_manager,
    hook_runner,
    start_cancelling,
)
from flow_of_flows.runs.resume import Stance, is_pause, stance, suspended

logger = logging.getLogger("prefect.flows.pod")


@dataclass(frozen=True)
class EngineShutdown:
    """The end of one engine at work; `working` is Prefect's executor."""

    context: FlowRunExecutorContext
    engine: Engine
    run: FlowRun
    records: LeaseRecords
    record: LeaseRecord
    working: asyncio.Task[Any]

    async def reschedule(self, intent: Intent) -> int:
        """Leave the run to a new pod, started by Prefect or by Kubernetes as the intent says; return the exit code."""
        logger.info("SIGTERM received: this pod gives the run up (%s)", intent)
        status = await self.context.control_channel.signal(self.run.id, intent)
        if status is ControlSignalStatus.ALREADY_CONCLUDED:
            await self.working
            return ExitCode.OK
        if intent == "reschedule":
            await reschedule(self.records, self.record)
        await self._stop(status, 30)
        # Not zero: what retries then is the Job.
        return ExitCode.OK if intent == "reschedule" else ExitCode.FAILED

    async def stand_down(self, *, at_once: bool) -> None:
        """End the engine, and leave the run as it is.

        Args:
            at_once: kill it: it may not do anything more.
        """
        if at_once:
            await self._leave()
        else:
            status = await self.context.control_channel.signal(self.run.id, "relinquish")
            await self._stop(status, SUPERSEDED_GRACE_SECONDS)
        await self.engine.end()

    async def time_out(self, message: str) -> None:
        """Cancel what the run does, as if somebody had cancelled it, and have it fail for its deadline."""
        status = await self.context.control_channel.signal(self.run.id, "cancel")
        await self._stop(status, TIMEOUT_GRACE_SECONDS)
        await self.engine.end()
        if await self.records.is_superseded(self.record):
            logger.warning("Another pod works on this run: it is not said to be timed out")
            return
        await hook_runner(self.context).run_cancellation_hooks(self.run, Cancelling(message=message))
        state: State[Any] = State(type=StateType.FAILED, name="TimedOut", message=Cause.TIMEOUT.prefix(message))
        await self.context.client.set_flow_run_state(self.run.id, state, force=True)

    async def _stop(self, status: ControlSignalStatus, seconds: float) -> None:
        await self._leave()
        await self.context.process_manager.kill(
            self.run.id, seconds, force=status is not ControlSignalStatus.ACKNOWLEDGED
        )

    async def _leave(self) -> None:
        """Stop the executor first, so that it does not report the end of the engine as a crash."""
        self.working.cancel()
        with suppress(asyncio.CancelledError):
            await self.working


async def park(client: PrefectClient, run: FlowRun) -> None:
    """Keep a paused run paused without its pod: whoever resumes it starts another one.

    Args:
        client: an open Prefect client.
        run: as it was last read.
    """
    if run.state is not None and stance(run.state) is Stance.HOLD:
        await client.set_flow_run_state(run.id, suspended(run.state), force=True)


async def reschedule(records: LeaseRecords, record: LeaseRecord) -> None:
    """Reschedule the run so that a new pod continues it, unless it is over or another pod has it.

    Args:
        records: the lease records of the run.
        record: the one of this pod.

    Crashed is what an observer says of a deleted pod.
    """
    try:
        if await records.is_superseded(record):
            logger.info("Another pod works on this run: it is not rescheduled")
            return
        run, ahead = await client.read(records.client, records.run)
        if is_pause(run.state):
            await park(records.client, run)
        elif run.state is None or not run.state.is_final() or run.state.is_crashed():
            now = datetime.now(UTC) - ahead
            await propose_state(records.client, AwaitingRetry(scheduled_time=now), flow_run_id=records.run)
    except (Abort, Pause):
        logger.info("The server does not take the run back; its state stays as it is")
    except API_ERRORS:
        logger.exception("The run could not be rescheduled; the worker will find its pod gone")


def cancels_once(context: FlowRunExecutorContext, run: UUID) -> Callable[[], Awaitable[None]]:
    """Return a function that cancels the run once; a cancellation that failed may be repeated.

    Args:
        context: of Prefect's executor.
        run: id of the run.
    """
    manager = cancellation_manager(context)
    cancel_by_id = manager.cancel_by_id
    done = False

    async def cancel(identifier: UUID) -> None:
        nonlocal done
        if done:
            return
        done = True
        try:
            await asyncio.gather(cancel_by_id(identifier), _hand_on(context.client, run))
        except API_ERRORS:
            done = False
            logger.warning("The run could not be cancelled: the API does not answer; it is tried again")

    async def start() -> None:
        start_cancelling(context, cancel, run)

    manager.cancel_by_id = cancel
    return start


async def _hand_on(client: PrefectClient, run: UUID) -> None:
    """Ask a pipeline's children to stop while it stops itself.

    Its hook does the same, but only once its engine is over and its flow is imported: that took 17 s on a busy node.
    """
    from flow_of_flows.prefect_api.launch import RunsClient

    api = RunsClient(client, retry_seconds=CHILD_CANCEL_SECONDS)
    try:
        await api.cancel_children(await api.read(run))
    except FlowsError as error:
        logger.warning("The children could not be asked to stop yet: %s", error)


Intent = Literal["reschedule", "relinquish"]
INTENT_VARIABLE = "PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR"


def run_id() -> UUID:
    """Return the id of the run that this pod is for.

    Raises:
        ConfigurationError: there is none.
    """
    value = os.environ.get(RUN_VARIABLE, "")
    try:
        return UUID(value)
    except ValueError as error:
        raise ConfigurationError(
            f"{value!r} is not the id of a flow run",
            location=RUN_VARIABLE,
            hint="let a worker start this pod, or set it",
        ) from error


def sigterm_intent() -> Intent | None:
    """Return who starts the run again after a SIGTERM: Prefect or Kubernetes; None if neither."""
    match os.environ.get(INTENT_VARIABLE, "").lower():
        case "reschedule":
            return "reschedule"
        case "relinquish":
            return "relinquish"
        case _:
            return None
