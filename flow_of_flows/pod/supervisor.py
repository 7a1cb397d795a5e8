"""Looks after the engine of one flow run: claims the run for it, guards it, reports its end. No flow code.

With the parts of Prefect's own `flow-run execute`.
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
from flow_of_flows.pod.acquisition import Admission, Admitted, seconds_left
from flow_of_flows.pod.engine import Engine, Reporter, Starter
from flow_of_flows.pod.lease import Lease, LeaseVerdict
from flow_of_flows.pod.lease_records import API_ERRORS, Claims, LeaseRecord
from flow_of_flows.pod.shutdown import EngineShutdown, cancels_once, park, reschedule
from flow_of_flows.prefect_internals import FlowRunExecutorContext, propose_states_by, when_unobserved
from flow_of_flows.retrying import detail
from flow_of_flows.runs.suspension import is_pause
from flow_of_flows.settings.operations import PodSettings

logger = logging.getLogger("prefect.flows.pod")


def supervise_run(engine: Engine) -> int:
    """Run the flow run that the environment names; the exit code of the pod."""
    try:
        prefect_requests.guard()
        return asyncio.run(_supervise(engine))
    except FlowsError as error:
        sys.stderr.write(f"error: {error}\n")
        return ExitCode.FAILED


async def _supervise(engine: Engine) -> int:
    identifier, intent = shutdown.run_id(), shutdown.sigterm_intent()
    engine.watch()
    told = asyncio.Event()
    if intent:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    # What came while the process started comes now.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    async with FlowRunExecutorContext() as context:
        supervisor = Supervisor(context, engine, Claims(context.client, identifier), PodSettings(), told, intent)
        # Not raised in here: the context is a task group, which would wrap it.
        try:
            return await supervisor.attend()
        except FlowsError as error:
            failure = error
        finally:
            await engine.end()
    raise failure


@dataclass(frozen=True)
class Supervisor:
    """Looks after one run in one pod.

    Attributes:
        told: set by SIGTERM.
        intent: what a SIGTERM means.
    """

    context: FlowRunExecutorContext
    engine: Engine
    claims: Claims
    pod: PodSettings
    told: asyncio.Event
    intent: shutdown.Intent | None

    async def attend(self) -> int:
        """Run it to its end, or until this pod has to stop."""
        admitted = await self._admit()
        if admitted is None:
            return ExitCode.OK
        try:
            run = await self._again()
            if self.told.is_set() and self.intent:
                return await self._hand_back_unbegun(admitted.claim, self.intent)
            if run.state and run.state.is_final():
                await self._voice.say(f"The run is over ({run.state.name}); this pod does nothing.")
                return ExitCode.OK
            if is_pause(run.state):
                await park(self.context.client, run)
                await self._voice.say("The run is paused: this pod does nothing, and a resume starts another one.")
                return ExitCode.OK
            return await self._work(replace(admitted, run=run))
        finally:
            await self._release(admitted.claim)

    async def _admit(self) -> Admitted | None:
        client, is_retry = self.context.client, self.intent == "relinquish"
        admission = Admission(
            client, self.claims, self.pod.lease_seconds, self._voice.say, is_retry=is_retry, told=self.told
        )
        with translated(self.claims):
            return await admission.admit(await client.read_flow_run(self.claims.run))

    async def _again(self) -> FlowRun:
        """The run as it is when its engine can begin: the server would take Running also after Cancelled."""
        await self.engine.ready()
        with translated(self.claims):
            return await self.context.client.read_flow_run(self.claims.run)

    async def _work(self, admitted: Admitted) -> int:
        """Let the engine work until it ends, or has to."""
        working, lease = self._start(admitted.run), self._lease(admitted)
        watching = asyncio.create_task(lease.watch())
        waiting = asyncio.create_task(self.told.wait())
        await asyncio.wait({working, watching, waiting}, return_when=asyncio.FIRST_COMPLETED)
        ending = EngineShutdown(self.context, self.engine, admitted.run, self.claims, admitted.claim, working)
        try:
            if working.done():
                working.result()
                return ExitCode.OK
            if watching.done():
                return await self._end(ending, lease, watching.result())
            assert self.intent is not None  # nothing else handles SIGTERM
            return await ending.hand_back(self.intent)
        finally:
            watching.cancel()
            waiting.cancel()

    def _start(self, run: FlowRun) -> asyncio.Task[Any]:
        propose_states_by(self.context, Reporter(self.context.client, self.engine))
        starter = Starter(self.engine, self.context.control_channel)
        executor = self.context.create_executor(run, starter, resolve_flow=_flow_of, propose_submitting=False)
        return asyncio.create_task(executor.submit())

    async def _end(self, ending: EngineShutdown, lease: Lease, verdict: LeaseVerdict) -> int:
        if verdict is LeaseVerdict.DEADLINE:
            message = f"the run is ended after {self.pod.deadline_seconds} s, before Kubernetes ends its Job"
            with translated(self.claims, then=f"{message}, and is Failed when its pod is found gone"):
                await ending.time_out(f"{message}; give it more time (`active_deadline_seconds`), or less to do")
            return ExitCode.OK
        await ending.stand_down(at_once=lease.frozen)
        await self._voice.say(f"This pod ends without a word on the run's state: {verdict.value}.")
        return ExitCode.FAILED if verdict is LeaseVerdict.UNHEARD else ExitCode.OK

    def _lease(self, admitted: Admitted) -> Lease:
        context, run = self.context, self.claims.run
        left = seconds_left(self.pod.deadline_seconds, admitted.history, admitted.claim.taken)
        lease = Lease(
            client=context.client,
            claims=self.claims,
            claim=admitted.claim,
            engine=self.engine,
            seconds=self.pod.lease_seconds,
            patience=self.pod.patience_seconds,
            deadline=None if left is None else admitted.claimed + left,
            has_concluded=lambda: context.control_channel.get_conclusion(run) is not None,
            cancel=cancels_once(context, run),
            confirmed=admitted.confirmed,
        )
        when_unobserved(context, lease.look_alone)
        return lease

    async def _hand_back_unbegun(self, claim: LeaseRecord, intent: shutdown.Intent) -> int:
        logger.info("SIGTERM received before the run began: it is handed back (%s)", intent)
        if intent == "reschedule":
            await reschedule(self.claims, claim)
        return ExitCode.OK if intent == "reschedule" else ExitCode.FAILED

    async def _release(self, claim: LeaseRecord) -> None:
        with suppress(TimeoutError, *API_ERRORS):
            async with asyncio.timeout(LAST_REQUEST_SECONDS):
                await self.claims.release(claim)

    @property
    def _voice(self) -> Voice:
        return Voice(self.context.client, self.claims.run)


async def _flow_of(run: FlowRun) -> Flow[..., Any]:
    """The flow, for its hooks; imported only when one has to run."""
    from prefect.flows import load_flow_from_flow_run

    return await load_flow_from_flow_run(run, use_placeholder_flow=False)


@contextmanager
def translated(claims: Claims, *, then: str = "the run starts again") -> Iterator[None]:
    """Inside, what the API refuses is an error of ours; `then` says what becomes of the run once it answers.

    Raises:
        ConfigurationError: there is no such run.
        PlatformError: no answer.
    """
    where = str(claims.client.api_url)
    try:
        yield
    except ObjectNotFound as error:
        raise ConfigurationError(
            f"There is no flow run {claims.run}", location=where, hint="see whether this is the API that it was made on"
        ) from error
    except API_ERRORS as error:
        raise PlatformError(
            f"The Prefect API does not answer: {detail(error)}", location=where, hint=f"bring it back; {then}"
        ) from error


@dataclass(frozen=True)
class Voice:
    """The voice of the pod of one run."""

    client: PrefectClient
    run: UUID

    async def say(self, text: str) -> None:
        """Say it; an API that does not hear is no error."""
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
