"""The lease of a pod on its run: confirmed at the API while the engine works, which is frozen when it cannot be.

Each check reads the run's state and whether this pod's record is still the latest: two reads per third of the lease.
The records are task runs of the run. `POST /task_runs/` inserts one (run, task key, dynamic key) or answers with the
one that is there, in one transaction: of two pods with the same fencing token one wins. In the UI they are tasks of the
run: which pods worked on it, and when.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from uuid import UUID

import httpx
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId, TaskRunFilter, TaskRunFilterTags
from prefect.client.schemas.objects import FlowRun, State, TaskRun
from prefect.events.filters import EventAnyResourceFilter, EventFilter, EventNameFilter
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.states import Completed, Crashed, Running

from flow_of_flows.pod.engine import Engine
from flow_of_flows.retrying import jitter

API_ERRORS = (httpx.HTTPError, PrefectHTTPStatusError)
TASK_KEY = "flow-of-flows.pod"
# Begins the tag that names the process which holds a record.
HOLDER_TAG = "token:"
# What Prefect's Kubernetes observer says of a pod that is over.
OVER = [f"prefect.kubernetes.pod.{word}" for word in ("succeeded", "failed", "evicted", "deleted")]

logger = logging.getLogger("prefect.flows.pod")
# How long a pod that wakes up may be at work before it is frozen; ten looks at a clock per second cost nothing.
TICK = 0.1
# The first look follows soon: what happened while the engine started may have been missed.
FIRST = 2.0
# How often the run is read where nobody else notices that it is cancelled.
ALONE = 10.0


@dataclass(frozen=True, order=True)
class FencingToken:
    """The place of a pod among the pods of its run: later pods have greater tokens.

    Attributes:
        submission: number of the submission.
        pod: number of the pod within it; other than 0 only where Kubernetes retries a Job.
    """

    submission: int
    pod: int = 0

    def __str__(self) -> str:
        return f"{self.submission}.{self.pod}" if self.pod else str(self.submission)

    @classmethod
    def parse(cls, text: str) -> FencingToken:
        """Return the token that `str` wrote."""
        submission, _, pod = text.partition(".")
        return cls(int(submission), int(pod or 0))


@dataclass(frozen=True)
class LeaseRecord:
    """The record that one pod works or worked on a run.

    Attributes:
        holder: names the process that acquired it.
        acquired: when, by the server's clock.
    """

    identifier: UUID
    token: FencingToken
    pod: str
    holder: str
    is_open: bool
    acquired: datetime | None = None

    @classmethod
    def of(cls, task_run: TaskRun) -> LeaseRecord:
        """Return the record that a task run holds."""
        tags = (tag for tag in task_run.tags if tag.startswith(HOLDER_TAG))
        return cls(
            identifier=task_run.id,
            token=FencingToken.parse(task_run.dynamic_key),
            pod=task_run.name.removeprefix("pod "),
            holder=next((tag.removeprefix(HOLDER_TAG) for tag in tags), ""),
            is_open=task_run.state is None or not task_run.state.is_final(),
            acquired=task_run.created,
        )


@dataclass
class LeaseRecords:
    """The lease records of one run, as this pod reads and writes them.

    Attributes:
        pod: name of this pod.
        holder: names this process.
    """

    client: PrefectClient
    run: UUID
    pod: str = field(default_factory=socket.gethostname)
    holder: str = field(default_factory=lambda: f"{os.getpid()}-{secrets.token_hex(8)}")

    async def acquire(self, token: FencingToken) -> LeaseRecord:
        """Create the record of a token, or return the one that another process created; see `is_held`."""
        state = Running().model_dump(mode="json", include={"type", "name"})
        answer = await self.client.request(
            "POST",
            "/task_runs/",
            json={
                "name": f"pod {self.pod}",
                "flow_run_id": str(self.run),
                "task_key": TASK_KEY,
                "dynamic_key": str(token),
                "tags": [TASK_KEY, HOLDER_TAG + self.holder],
                "state": state,
            },
        )
        return LeaseRecord.of(TaskRun.model_validate(answer.json()))

    def is_held(self, record: LeaseRecord) -> bool:
        """Return whether this process created a record; a request whose answer was lost may have done so."""
        return record.holder == self.holder

    async def read(self) -> list[LeaseRecord]:
        """Return all records of the run, oldest first."""
        task_runs = await self.client.read_task_runs(
            flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[self.run])),
            task_run_filter=TaskRunFilter(tags=TaskRunFilterTags(all_=[TASK_KEY])),
        )
        return sorted((LeaseRecord.of(each) for each in task_runs), key=lambda each: each.token)

    async def is_superseded(self, record: LeaseRecord) -> bool:
        """Return whether a later pod has acquired the run; this one must not change the run any more."""
        return (await self.read())[-1].token > record.token

    async def release(self, record: LeaseRecord) -> None:
        """Complete the record: this pod has stopped working on the run."""
        await self._end(record, Completed(message="This pod works on the run no more."))

    async def mark_crashed(self, records: Sequence[LeaseRecord]) -> None:
        """Mark records that nobody released as crashed: their pods are gone."""
        for record in records:
            await self._end(record, Crashed(message="Its pod is gone."))

    async def are_over(self, records: Sequence[LeaseRecord]) -> bool:
        """Return whether Kubernetes has reported the end of the pods of all these records."""
        page = await self.client.read_events(
            EventFilter(
                event=EventNameFilter(name=OVER),
                any_resource=EventAnyResourceFilter(id=[f"prefect.flow-run.{self.run}"]),
            ),
            limit=50,  # the most that the server takes; the client's own default is refused
        )
        return {record.pod for record in records} <= {event.resource.name for event in page.events}

    async def _end(self, record: LeaseRecord, state: State) -> None:
        await self.client.set_task_run_state(record.identifier, state, force=True)


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
        frozen_seconds: how long an engine stays frozen, in seconds.
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
    frozen_seconds: float
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
            return LeaseVerdict.UNHEARD if silence > self.seconds + self.frozen_seconds else None
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
