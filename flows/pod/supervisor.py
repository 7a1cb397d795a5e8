"""Looks after the engine of one flow run: cancels it, hands the run back on SIGTERM, reports its crash. No flow code.

All of it with the parts of Prefect's own `flow-run execute` (private modules: the prefect version is capped below 3.9).
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from contextlib import suppress
from typing import Any, Literal
from uuid import UUID

import anyio.abc
import httpx
from prefect import Flow
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import Abort, ObjectNotFound, Pause, PrefectHTTPStatusError
from prefect.runner._control_channel import ControlChannel, ControlSignalStatus
from prefect.runner._flow_run_executor import FlowRunExecutorContext
from prefect.runner._process_manager import ProcessHandle
from prefect.states import AwaitingRetry
from prefect.utilities.engine import propose_state

from flows.errors import ConfigurationError, ExitCode, FlowsError, PlatformError
from flows.pod.engine import Engine

logger = logging.getLogger(__name__)
RUN_VARIABLE = "PREFECT__FLOW_RUN_ID"
Intent = Literal["reschedule", "relinquish"]


def supervise_run(engine: Engine) -> int:
    """Run the flow run that the environment names; the exit code of the pod."""
    try:
        return asyncio.run(_supervise(engine, _run_id()))
    except FlowsError as error:
        sys.stderr.write(f"error: {error}\n")
        return ExitCode.FAILED


def _run_id() -> UUID:
    value = os.environ.get(RUN_VARIABLE, "")
    try:
        return UUID(value)
    except ValueError as error:
        raise ConfigurationError(
            f"{value!r} is no id of a flow run", where=RUN_VARIABLE, todo="let a worker start this pod, or set it"
        ) from error


async def _supervise(engine: Engine, identifier: UUID) -> int:
    engine.watch()
    async with FlowRunExecutorContext() as context:
        # Not raised in here: the context is a task group, which would wrap it.
        try:
            run = await _read(context, identifier)
        except FlowsError as error:
            failure = error
        else:
            return await _attend(context, engine, run)
    raise failure


async def _attend(context: FlowRunExecutorContext, engine: Engine, run: FlowRun) -> int:
    """Run it to its end, or until this pod is told to stop."""
    told = asyncio.Event()
    intent = _intent()
    if intent:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    starter = Starter(engine, context.control_channel)
    executor = context.create_executor(run, starter, resolve_flow=_flow_of, propose_submitting=False)
    working = asyncio.create_task(executor.submit())
    waiting = asyncio.create_task(told.wait())
    await asyncio.wait({working, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if told.is_set() and intent:
        return await _hand_back(context, run, working, intent)
    working.result()
    return ExitCode.OK


async def _hand_back(context: FlowRunExecutorContext, run: FlowRun, working: asyncio.Task[Any], intent: Intent) -> int:
    """Give the run back to Prefect or to Kubernetes, as the worker has asked for, and end the engine.

    The engine learns the intent before it is stopped, so that it proposes no state of its own.
    """
    logger.info("SIGTERM received: the run is handed back (%s)", intent)
    status = await context.control_channel.signal(run.id, intent)
    if status is ControlSignalStatus.ALREADY_CONCLUDED:
        await working
        return ExitCode.OK
    if intent == "reschedule":
        await _reschedule(context, run)
    # Nobody may take the end of the engine for a crash: who would is stopped first.
    working.cancel()
    with suppress(asyncio.CancelledError):
        await working
    await context.process_manager.kill(run.id, force=status is not ControlSignalStatus.ACKNOWLEDGED)
    # Not zero: what retries then is the Job.
    return ExitCode.OK if intent == "reschedule" else ExitCode.FAILED


async def _reschedule(context: FlowRunExecutorContext, run: FlowRun) -> None:
    """Have the run started again in a new pod, unless it is over; Crashed is what an observer says of a deleted pod."""
    try:
        state = (await context.client.read_flow_run(run.id)).state
        if state is None or not state.is_final() or state.is_crashed():
            await propose_state(context.client, AwaitingRetry(), flow_run_id=run.id)
    except (Abort, Pause):
        logger.info("The server does not take the run back; its state stays as it is")
    except (httpx.HTTPError, PrefectHTTPStatusError):
        logger.exception("The run could not be handed back; the worker will find its pod gone")


class Starter:
    """Starts the run in the engine that waits: a `ProcessStarter` of Prefect's own executor."""

    def __init__(self, engine: Engine, control: ControlChannel) -> None:
        self._engine = engine
        self._control = control

    async def start(
        self, flow_run: FlowRun, task_status: anyio.abc.TaskStatus[ProcessHandle] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        """Tell the engine to go, tell that it runs, and return when it is over."""
        port, token = self._control.register(flow_run.id)
        self._engine.go(
            {
                RUN_VARIABLE: str(flow_run.id),
                # The supervisor runs them: it outlives the engine.
                "PREFECT__ENABLE_CANCELLATION_AND_CRASHED_HOOKS": "false",
                "PREFECT__CONTROL_PORT": str(port),
                "PREFECT__CONTROL_TOKEN": token,
            }
        )
        task_status.started(ProcessHandle(self._engine))  # type: ignore[arg-type]
        await self._engine.wait()


async def _read(context: FlowRunExecutorContext, identifier: UUID) -> FlowRun:
    where = str(context.client.api_url)
    try:
        return await context.client.read_flow_run(identifier)
    except ObjectNotFound as error:
        raise ConfigurationError(
            f"There is no flow run {identifier}", where=where, todo="see whether this is the API that it was made on"
        ) from error
    except (httpx.HTTPError, PrefectHTTPStatusError) as error:
        raise PlatformError(
            f"The Prefect API does not answer: {error}", where=where, todo="bring it back; the run starts again"
        ) from error


async def _flow_of(run: FlowRun) -> Flow[..., Any]:
    """The flow, for its hooks; imported only when one has to run."""
    from prefect.flows import load_flow_from_flow_run

    return await load_flow_from_flow_run(run, use_placeholder_flow=False)


def _intent() -> Intent | None:
    """What a SIGTERM means; the worker sets it."""
    match os.environ.get("PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR", "").lower():
        case "reschedule":
            return "reschedule"
        case "relinquish":
            return "relinquish"
        case _:
            return None
