"""Looks after the engine of one flow run: claims the run for it, guards it, reports its end. No flow code.

With the parts of Prefect's own `flow-run execute` (private modules: the prefect version is capped below 3.9).
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import httpx
from prefect import Flow
from prefect.client.schemas.actions import LogCreate
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.runner._flow_run_executor import FlowRunExecutorContext

from flows.errors import ConfigurationError, ExitCode, FlowsError, PlatformError
from flows.pod.admission import API_ERRORS, Admission, Admitted
from flows.pod.cancelling import cancels_once, when_unobserved
from flows.pod.claims import Claim, Claims
from flows.pod.ending import Ending, Intent, reschedule
from flows.pod.engine import Engine
from flows.pod.history import submitted
from flows.pod.lease import Lease, Verdict
from flows.pod.starter import RUN_VARIABLE, Reporter, Starter
from flows.settings.pod import Pod

logger = logging.getLogger("prefect.flows.pod")
# Time for an end in order before Kubernetes ends the pod: a quarter of the deadline, but not more than this.
MARGIN = 45.0
# A last word may not hold up the end of a pod that the API does not hear.
LAST_WORD_SECONDS = 10.0


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
    told = asyncio.Event()
    intent = _intent()
    if intent:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    async with FlowRunExecutorContext() as context:
        supervisor = Supervisor(context, engine, Claims(context.client, identifier), Pod(), told, intent)
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
    pod: Pod
    told: asyncio.Event
    intent: Intent | None

    async def attend(self) -> int:
        """Run it to its end, or until this pod has to stop."""
        admitted = await self._admit()
        if admitted is None:
            return ExitCode.OK
        try:
            if self.told.is_set() and self.intent:
                return await self._hand_back_unbegun(admitted.run, self.intent)
            return await self._work(admitted)
        finally:
            await self._release(admitted.claim)

    async def _admit(self) -> Admitted | None:
        where = str(self.context.client.api_url)
        admission = Admission(
            self.context.client,
            self.claims,
            self.pod.lease_seconds,
            self._speak,
            is_retry=self.intent == "relinquish",
            told=self.told,
        )
        try:
            return await admission.admit(await self.context.client.read_flow_run(self.claims.run))
        except ObjectNotFound as error:
            raise ConfigurationError(
                f"There is no flow run {self.claims.run}",
                where=where,
                todo="see whether this is the API that it was made on",
            ) from error
        except (httpx.HTTPError, PrefectHTTPStatusError) as error:
            raise PlatformError(
                f"The Prefect API does not answer: {error}", where=where, todo="bring it back; the run starts again"
            ) from error

    async def _work(self, admitted: Admitted) -> int:
        """Let the engine work until it ends, or has to."""
        self.context._state_proposer = Reporter(self.context.client, self.engine)  # noqa: SLF001
        starter = Starter(self.engine, self.context.control_channel)
        executor = self.context.create_executor(admitted.run, starter, resolve_flow=_flow_of, propose_submitting=False)
        lease = self._lease(admitted)
        working = asyncio.create_task(executor.submit())
        watching = asyncio.create_task(lease.watch())
        waiting = asyncio.create_task(self.told.wait())
        await asyncio.wait({working, watching, waiting}, return_when=asyncio.FIRST_COMPLETED)
        ending = Ending(self.context, self.engine, admitted.run, working)
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

    async def _end(self, ending: Ending, lease: Lease, verdict: Verdict) -> int:
        if verdict is Verdict.DEADLINE:
            message = f"the run is ended after {self.pod.deadline_seconds} s, before Kubernetes ends its Job"
            await ending.time_out(f"{message}; give it more time (`active_deadline_seconds`), or less to do")
            return ExitCode.OK
        await ending.stand_down(at_once=lease.frozen)
        await self._speak(f"This pod ends without a word on the run's state: {verdict.value}.")
        return ExitCode.FAILED if verdict is Verdict.UNHEARD else ExitCode.OK

    def _lease(self, admitted: Admitted) -> Lease:
        context, run = self.context, self.claims.run
        lease = Lease(
            client=context.client,
            claims=self.claims,
            claim=admitted.claim,
            engine=self.engine,
            seconds=self.pod.lease_seconds,
            deadline=_deadline(self.pod.deadline_seconds, admitted),
            has_concluded=lambda: context.control_channel.get_conclusion(run) is not None,
            cancel=cancels_once(context, run),
            confirmed=admitted.confirmed,
        )
        when_unobserved(context, lease.look_alone)
        return lease

    async def _hand_back_unbegun(self, run: FlowRun, intent: Intent) -> int:
        logger.info("SIGTERM received before the run began: it is handed back (%s)", intent)
        if intent == "reschedule":
            await reschedule(self.context, run)
        return ExitCode.OK if intent == "reschedule" else ExitCode.FAILED

    async def _release(self, claim: Claim) -> None:
        with suppress(TimeoutError, *API_ERRORS):
            async with asyncio.timeout(LAST_WORD_SECONDS):
                await self.claims.release(claim)

    async def _speak(self, text: str) -> None:
        """Say something in the pod's log and the run's."""
        logger.info(text)
        line = LogCreate(
            name="flows.pod",
            level=logging.INFO,
            message=text,
            timestamp=datetime.now().astimezone(),
            flow_run_id=self.claims.run,
        )
        with suppress(TimeoutError, *API_ERRORS):
            async with asyncio.timeout(LAST_WORD_SECONDS):
                await self.context.client.create_logs([line])


def _deadline(seconds: int | None, admitted: Admitted) -> float | None:
    """When to end, by `clock.now`: somewhat before Kubernetes ends the Job, which began when the run was submitted."""
    if seconds is None:
        return None
    begun, taken = submitted(admitted.history), admitted.claim.taken
    # Both by the server's clock: this machine's may be wrong.
    past = max((taken - begun).total_seconds(), 0) if begun and taken else 0
    return admitted.claimed + seconds - min(MARGIN, seconds / 4) - past


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
