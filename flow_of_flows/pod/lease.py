"""The lease of a pod on its run: confirmed at the API while the engine works, which is frozen when it cannot be.

Each check reads the run's state and whether this pod's record is still the latest: two reads per third of the lease.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import ObjectNotFound

from flow_of_flows.pod.engine import Engine
from flow_of_flows.pod.lease_records import API_ERRORS, LeaseRecord, LeaseRecords
from flow_of_flows.retrying import jitter

logger = logging.getLogger("prefect.flows.pod")
# How long a pod that wakes up may be at work before it is frozen; ten looks at a clock per second cost nothing.
TICK = 0.1
# The first look follows soon: what happened while the engine started may have been missed.
FIRST = 2.0
# How often the run is read where nobody else notices that it is cancelled.
ALONE = 10.0


class LeaseVerdict(Enum):
    """Why the engine has to end."""

    SUPERSEDED = "another pod works on this run now"
    OVER = "the run was ended by somebody else"
    DEADLINE = "the deadline of its Job is near"
    UNHEARD = "the API has not answered for too long"


@dataclass
class Lease:
    """One pod's right to work on its run.

    Attributes:
        seconds: how long an answer is good for.
        patience: how long an engine stays frozen, in seconds.
        deadline: when to end in any case, by `now`.
        has_concluded: whether the engine itself has said how it ended.
        cancel: cancels the run; called when its state says so.
        confirmed: when the API was last asked, of the answers that said that the run is this pod's.
        watched: whether Prefect's own observer still notices that a run is cancelled.
    """

    client: PrefectClient
    records: LeaseRecords
    record: LeaseRecord
    engine: Engine
    seconds: float
    patience: float
    deadline: float | None
    has_concluded: Callable[[], bool]
    cancel: Callable[[], Awaitable[None]]
    confirmed: float
    watched: bool = True
    frozen: bool = False
    _seen_over: bool = False

    async def watch(self) -> LeaseVerdict:
        """Return when the engine has to end."""
        asking: asyncio.Task[LeaseVerdict | None] | None = None
        due = now() + min(FIRST, self.seconds / 3)
        try:
            while True:
                # First of all: a pod that was paused wakes up here.
                if verdict := self._by_the_clock():
                    return verdict
                if asking and asking.done():
                    if verdict := asking.result():
                        return verdict
                    asking, due = None, now() + self._pause()
                if not asking and now() >= due:
                    asking = asyncio.create_task(self._ask())
                await asyncio.sleep(TICK)
        finally:
            if asking:
                asking.cancel()

    def look_alone(self) -> None:
        """Check from now on whether the run is cancelled: nothing else does any more."""
        logger.info("This pod looks itself whether the run is cancelled")
        self.watched = False

    def _by_the_clock(self) -> LeaseVerdict | None:
        silence = now() - self.confirmed
        # Before the deadline: a pod that slept past it has no say in a run that another pod may have by now.
        if silence > self.seconds and not self.frozen:
            logger.warning("The API has not confirmed this pod for %g s: the run is frozen until it does", self.seconds)
            self.frozen = True
            self.engine.freeze()
        if self.frozen:
            return LeaseVerdict.UNHEARD if silence > self.seconds + self.patience else None
        if self.deadline is not None and now() >= self.deadline:
            return LeaseVerdict.DEADLINE
        return None

    def _pause(self) -> float:
        usual = jitter(self.seconds / 3, 0.8, 1.0)
        if self.frozen or self._seen_over:
            return min(usual, 2.0)
        return usual if self.watched else min(usual, ALONE)

    async def _ask(self) -> LeaseVerdict | None:
        """Read the run and its lease records; None without an answer in time."""
        asked = now()
        with suppress(TimeoutError, *API_ERRORS):
            try:
                async with asyncio.timeout(self.seconds / 3):
                    run = await self.client.read_flow_run(self.records.run)
                    latest = (await self.records.read())[-1]
            except ObjectNotFound:
                return LeaseVerdict.OVER
            if latest.token > self.record.token:
                return LeaseVerdict.SUPERSEDED
            return await self._heed(run, asked)
        return None

    async def _heed(self, run: FlowRun, asked: float) -> LeaseVerdict | None:
        is_over = bool(run.state and run.state.is_final()) and not self.has_concluded()
        # A frozen engine is not woken up for a run that is over: it would work until the next look.
        if is_over and (self._seen_over or self.frozen):
            return LeaseVerdict.OVER
        # Not at once: the engine itself may just have said so, and be about to end.
        self._seen_over = is_over
        self.confirmed = asked
        # An answer may be older than it looks: the pod was paused before it could read it.
        if self.frozen and now() - asked < self.seconds:
            logger.warning("The API answers again, and this pod still has its run: it goes on")
            self.frozen = False
            self.engine.thaw()
        if run.state and run.state.is_cancelling():
            await self.cancel()
        return None


def now() -> float:
    """Return the time in seconds; it goes on while the pod is paused or its machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


async def within(event: asyncio.Event, seconds: float) -> bool:
    """Wait for an event for a limited time; return whether it was set.

    Args:
        event: the event.
        seconds: the longest time to wait.
    """
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
    return event.is_set()
