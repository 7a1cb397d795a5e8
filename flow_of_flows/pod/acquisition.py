"""Whether a pod may work on its run: claims it, waits for the pod before it, or says why not. Asked by the supervisor.

Nothing of the run has begun until a claim is returned.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.states import Failed

from flow_of_flows.child_report import WAITING_FOR_SCHEMA
from flow_of_flows.errors import Cause
from flow_of_flows.limits import DEADLINE_MARGIN_SECONDS, MAX_POD_CRASHES, MAX_POD_STARTS
from flow_of_flows.pod import lease
from flow_of_flows.pod.lease_records import API_ERRORS, Claims, Key, LeaseRecord
from flow_of_flows.retrying import detail
from flow_of_flows.runs.suspension import is_waiting

logger = logging.getLogger("prefect.flows.pod")
WAIT_SECONDS = 2.0
Speak = Callable[[str], Awaitable[None]]


@dataclass(frozen=True)
class Admitted:
    """This pod works on the run.

    Attributes:
        claim: what to confirm, and to release.
        run: the run as it is now; it may be cancelled by now, or over.
        history: its states when the pod started.
        confirmed: when the API was asked what it answered with, by `lease.now`.
        claimed: when it was asked for the claim, likewise.
    """

    claim: LeaseRecord
    run: FlowRun
    history: Sequence[State]
    confirmed: float
    claimed: float


@dataclass(frozen=True)
class Admission:
    """One pod at the door.

    Attributes:
        speak: says a sentence in the pod's log and the run's.
        is_retry: Kubernetes retries Jobs, so the run may be Running when its next pod starts.
        told: set when the pod has to stop.
    """

    client: PrefectClient
    claims: Claims
    lease: float
    speak: Speak
    is_retry: bool
    told: asyncio.Event

    async def admit(self, run: FlowRun) -> Admitted | None:
        """Claim the run, and wait until nobody else works on it; None if there is nothing to do, which is said."""
        if await self._is_over(run):
            return None
        if run.state and run.state.is_running() and not self.is_retry:
            await self._refuse([claim for claim in await self.claims.read() if claim.is_open])
            return None
        history = await self.client.read_flow_run_states(run.id)
        if message := exhausted(history):
            await self.client.set_flow_run_state(run.id, Failed(message=message), force=True)
            await self.speak(message)
            return None
        key = await self._key(epoch_of(history))
        asked = lease.now()
        claim = await self.claims.take(key)
        if not self.claims.mine(claim):
            await self._refuse([claim])
            return None
        if claim.key <= Key(1):
            return Admitted(claim, run, history, asked, asked)
        admitted = await self._succeed(Admitted(claim, run, history, asked, asked))
        if admitted is None:
            await self.claims.release(claim)
        return admitted

    async def _key(self, epoch: int) -> Key:
        """The epoch's first turn; the next one where the same Job has started a pod before."""
        before = await self.claims.read() if self.is_retry else []
        turns = [claim.key.turn for claim in before if claim.key.epoch == epoch]
        return Key(epoch, max(turns, default=-1) + 1)

    async def _refuse(self, holders: Sequence[LeaseRecord]) -> None:
        other = f"another pod, {holders[-1].pod}," if holders else "another process"
        await self.speak(f"Not started: {other} works on this run; this one does nothing.")

    async def _succeed(self, first: Admitted) -> Admitted | None:
        """Wait until no earlier pod can be at work; None if the run needs no pod by then, and it has been said."""
        mine, latest = first.claim, first
        until = lease.now() + self.lease
        waits = False
        while True:
            # An API that is away is waited for: who does not hear it may not begin.
            try:
                asked = lease.now()
                claims = await self.claims.read()
                run = await self.client.read_flow_run(self.claims.run)
                latest = replace(first, run=run, confirmed=asked)
                if await self._is_not_needed(claims, latest):
                    return None
                earlier = [claim for claim in claims if claim.is_open and claim.key < mine.key]
                if not earlier or _is_stopped(run):
                    return latest
                if not waits:
                    await self.speak(
                        f"The pod before this one, {earlier[-1].pod}, has not said that it is over. This one begins as "
                        f"soon as it does, or Kubernetes says so; at the latest after {self.lease:g} s."
                    )
                    waits = True
                if lease.now() >= until or await self.claims.are_over(earlier):
                    await self.claims.bury(earlier)
                    return latest
            except API_ERRORS as error:
                logger.warning("The API does not answer while this pod waits for the one before it: %s", detail(error))
            if await lease.within(self.told, min(WAIT_SECONDS, self.lease / 4)):
                return latest

    async def _is_not_needed(self, claims: Sequence[LeaseRecord], latest: Admitted) -> bool:
        if claims[-1].key > latest.claim.key:
            await self._refuse(claims[-1:])
            return True
        return await self._is_over(latest.run)

    async def _is_over(self, run: FlowRun) -> bool:
        if run.state and run.state.is_final():
            await self.speak(f"The run is over ({run.state.name}); this pod does nothing.")
            return True
        return False


def _is_stopped(run: FlowRun) -> bool:
    return bool(run.state and run.state.is_cancelling())


# Somebody who starts the run again after one of these has decided so; counting begins anew.
DECIDED = {StateType.FAILED, StateType.COMPLETED, StateType.CANCELLED, StateType.PAUSED}


def epoch_of(history: Sequence[State]) -> int:
    """How often the run was scheduled: the same for each pod of one submission, more with each reschedule."""
    return sum(state.type is StateType.SCHEDULED for state in history)


def exhausted(history: Sequence[State]) -> str | None:
    """The message of a run that was started too often since somebody last decided so; None if it may start."""
    recent: list[State] = []
    for state in history:
        recent = [] if state.type in DECIDED and not is_waiting(state) else [*recent, state]
    crashes = [state for state in recent if state.type is StateType.CRASHED]
    count = starts(recent)
    if len(crashes) > MAX_POD_CRASHES:
        last = crashes[-1].message or ""
        return (Cause.said_in(last) or Cause.CRASHED).say(
            f"the run crashed {len(crashes)} times and is not started again; see its log, correct the cause, retry it. "
            f"The last crash: {last}"
        )
    if count >= MAX_POD_STARTS:
        return Cause.CRASHED.say(
            f"the run was started {count} times without an end and is not started again; "
            "see what ends its pods, then retry it"
        )
    return None


def starts(history: Sequence[State]) -> int:
    """Return how often a process began to work on a run."""
    return sum(_is_start(before, state) for before, state in pairwise([None, *history]))


def _is_start(before: State | None, state: State | None) -> bool:
    """Whether a process began with this state; a build that waits for a schema changes its own state twice."""
    if state is None or state.type is not StateType.RUNNING:
        return False
    return WAITING_FOR_SCHEMA not in (state.name, before.name if before else None)


def submitted(history: Sequence[State]) -> datetime | None:
    """When the worker began with this submission, just before it made the Job; None where no worker did."""
    first: datetime | None = None
    for state in history:
        if state.type is StateType.SCHEDULED:
            first = None
        elif state.type is StateType.PENDING:
            first = first or state.timestamp
    return first


def seconds_left(deadline: int | None, history: Sequence[State], taken: datetime | None) -> float | None:
    """Time until the run has to end: somewhat before Kubernetes ends the Job, which began when it was submitted.

    Args:
        deadline: the Job's, seconds.
        history: states of the run.
        taken: when the pod claimed it, by the server's clock, as the states are: this machine's may be wrong.
    """
    if deadline is None:
        return None
    begun = submitted(history)
    past = max((taken - begun).total_seconds(), 0) if begun and taken else 0
    return deadline - min(DEADLINE_MARGIN_SECONDS, deadline / 4) - past
