"""Supervises the engine of one flow run: acquires the run, keeps the lease, reports the end. No flow code.

It uses the parts of Prefect's own `flow-run execute`.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from prefect import Flow
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import LogCreate
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import ObjectNotFound

from flow_of_flows import prefect_requests
from flow_of_flows.errors import ConfigurationError, ExitCode, FlowsError, PlatformError
from flow_of_flows.limits import LAST_REQUEST_SECONDS
from flow_of_flows.pod import shutdown
from flow_of_flows.pod.acquisition import AcquiredRun, Acquisition, seconds_left
from flow_of_flows.pod.engine import Engine, Reporter, Starter
from flow_of_flows.pod.lease import API_ERRORS, Lease, LeaseRecord, LeaseRecords, LeaseVerdict
from flow_of_flows.pod.shutdown import EngineShutdown, cancels_once, park, reschedule
from flow_of_flows.prefect_internals import FlowRunExecutorContext, propose_states_by, when_unobserved
from flow_of_flows.retrying import detail
from flow_of_flows.runs.causes import ENDED_AFTER
from flow_of_flows.runs.resume import is_pause
from flow_of_flows.settings.operations import PodSettings

logger = logging.getLogger("prefect.flows.pod")


def supervise_run(engine: Engine) -> int:
    """Run the flow run that the environment names; return the exit code of the pod."""
    try:
        prefect_requests.guard()
        return asyncio.run(_supervise(engine))
    except FlowsError as error:
        sys.stderr.write(f"error: {error}\n")
        return ExitCode.FAILED


async def _supervise(engine: Engine) -> int:
    identifier, intent = shutdown.run_id(), shutdown.sigterm_intent()
    engine.watch()
    sigterm = asyncio.Event()
    if intent:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, sigterm.set)
    # What came while the process started comes now.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    async with FlowRunExecutorContext() as context:
        supervisor = Supervisor(
            context, engine, LeaseRecords(context.client, identifier), PodSettings(), sigterm, intent
        )
        # Not raised in here: the context is a task group, which would wrap it.
        try:
            return await supervisor.run()
        except FlowsError as error:
            failure = error
        finally:
            await engine.end()
    raise failure


@dataclass(frozen=True)
class Supervisor:
    """Supervises one run in one pod.

    Attributes:
        sigterm: set by SIGTERM.
        intent: what a SIGTERM means.
    """

    context: FlowRunExecutorContext
    engine: Engine
    records: LeaseRecords
    pod: PodSettings
    sigterm: asyncio.Event
    intent: shutdown.Intent | None

    async def run(self) -> int:
        """Run the flow run to its end, or until this pod has to stop; return the exit code."""
        acquired = await self._acquire()
        if acquired is None:
            return ExitCode.OK
        try:
            run = await self._reread()
            if self.sigterm.is_set() and self.intent:
                return await self._reschedule_unbegun(acquired.record, self.intent)
            if run.state and run.state.is_final():
                await self._run_log.write(f"The run is over ({run.state.name}); this pod does nothing.")
                return ExitCode.OK
            if is_pause(run.state):
                await park(self.context.client, run)
                await self._run_log.write("The run is paused: this pod does nothing, and a resume starts another one.")
                return ExitCode.OK
            return await self._work(replace(acquired, run=run))
        finally:
            await self._release(acquired.record)

    async def _acquire(self) -> AcquiredRun | None:
        client, is_retry = self.context.client, self.intent == "relinquish"
        acquisition = Acquisition(
            client, self.records, self.pod.lease_seconds, self._run_log.write, is_retry=is_retry, stop=self.sigterm
        )
        with translated(self.records):
            return await acquisition.acquire(await client.read_flow_run(self.records.run))

    async def _reread(self) -> FlowRun:
        """Read the run again once its engine can begin: the server would accept Running even after Cancelled."""
        await self.engine.ready()
        with translated(self.records):
            return await self.context.client.read_flow_run(self.records.run)

    async def _work(self, acquired: AcquiredRun) -> int:
        """Run the engine until it ends, or has to; return the exit code."""
        working, lease = self._start(acquired.run), self._lease(acquired)
        watching = asyncio.create_task(lease.watch())
        waiting = asyncio.create_task(self.sigterm.wait())
        await asyncio.wait({working, watching, waiting}, return_when=asyncio.FIRST_COMPLETED)
        engine_shutdown = EngineShutdown(
            self.context, self.engine, acquired.run, self.records, acquired.record, working
        )
        try:
            if working.done():
                working.result()
                return ExitCode.OK
            if watching.done():
                return await self._end(engine_shutdown, lease, watching.result())
            assert self.intent is not None  # nothing else handles SIGTERM
            return await engine_shutdown.reschedule(self.intent)
        finally:
            watching.cancel()
            waiting.cancel()

    def _start(self, run: FlowRun) -> asyncio.Task[Any]:
        propose_states_by(self.context, Reporter(self.context.client, self.engine))
        starter = Starter(self.engine, self.context.control_channel)
        executor = self.context.create_executor(run, starter, resolve_flow=_flow_of, propose_submitting=False)
        return asyncio.create_task(executor.submit())

    async def _end(self, engine_shutdown: EngineShutdown, lease: Lease, verdict: LeaseVerdict) -> int:
        if verdict is LeaseVerdict.DEADLINE:
            message = f"{ENDED_AFTER} {self.pod.deadline_seconds} s, before Kubernetes ends its Job"
            with translated(self.records, then=f"{message}, and is Failed when its pod is found gone"):
                await engine_shutdown.time_out(
                    f"{message}; give it more time (`active_deadline_seconds`), or less to do"
                )
            return ExitCode.OK
        await engine_shutdown.stand_down(at_once=lease.frozen)
        await self._run_log.write(f"This pod ends without a word on the run's state: {verdict.value}.")
        return ExitCode.FAILED if verdict is LeaseVerdict.UNHEARD else ExitCode.OK

    def _lease(self, acquired: AcquiredRun) -> Lease:
        context, run = self.context, self.records.run
        left = seconds_left(self.pod.deadline_seconds, acquired.history, acquired.record.acquired)
        lease = Lease(
            client=context.client,
            records=self.records,
            record=acquired.record,
            engine=self.engine,
            seconds=self.pod.lease_seconds,
            frozen_seconds=self.pod.patience_seconds,
            deadline=None if left is None else acquired.requested + left,
            has_concluded=lambda: context.control_channel.get_conclusion(run) is not None,
            cancel=cancels_once(context, run),
            confirmed=acquired.confirmed,
        )
        when_unobserved(context, lease.look_alone)
        return lease

    async def _reschedule_unbegun(self, record: LeaseRecord, intent: shutdown.Intent) -> int:
        logger.info("SIGTERM received before the run began: this pod gives it up (%s)", intent)
        if intent == "reschedule":
            await reschedule(self.records, record)
        return ExitCode.OK if intent == "reschedule" else ExitCode.FAILED

    async def _release(self, record: LeaseRecord) -> None:
        with suppress(TimeoutError, *API_ERRORS):
            async with asyncio.timeout(LAST_REQUEST_SECONDS):
                await self.records.release(record)

    @property
    def _run_log(self) -> RunLog:
        return RunLog(self.context.client, self.records.run)


async def _flow_of(run: FlowRun) -> Flow[..., Any]:
    """Load the flow for its hooks; imported only when one has to run."""
    from prefect.flows import load_flow_from_flow_run

    return await load_flow_from_flow_run(run, use_placeholder_flow=False)


@contextmanager
def translated(records: LeaseRecords, *, then: str = "the run starts again") -> Iterator[None]:
    """Translate errors of the Prefect API inside the block.

    Args:
        records: name the API and the run.
        then: what happens to the run once the API answers again.

    Raises:
        ConfigurationError: there is no such run.
        PlatformError: no answer.
    """
    where = str(records.client.api_url)
    try:
        yield
    except ObjectNotFound as error:
        raise ConfigurationError(
            f"There is no flow run {records.run}",
            location=where,
            hint="see whether this is the API that it was made on",
        ) from error
    except API_ERRORS as error:
        raise PlatformError(
            f"The Prefect API does not answer: {detail(error)}", location=where, hint=f"bring it back; {then}"
        ) from error


@dataclass(frozen=True)
class RunLog:
    """The log of one run, and of this pod."""

    client: PrefectClient
    run: UUID

    async def write(self, text: str) -> None:
        """Write a line to both logs; an API that does not answer is ignored."""
        logger.info(text)
        line = LogCreate(
            name="flow_of_flows.pod",
            level=logging.INFO,
            message=text,
            timestamp=datetime.now().astimezone(),
            flow_run_id=self.run,
        )
        with suppress(TimeoutError, *API_ERRORS):
            async with asyncio.timeout(LAST_REQUEST_SECONDS):
                await self.client.create_logs([line])
