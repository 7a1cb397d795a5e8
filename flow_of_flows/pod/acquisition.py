"""Acquires a run for its pod: creates a lease record, waits for the pod before it, or logs why it does not.

Nothing of the run has begun until `Acquisition.acquire` returns.
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
from flow_of_flows.pod.lease import API_ERRORS, FencingToken, LeaseRecord, LeaseRecords
from flow_of_flows.retrying import detail
from flow_of_flows.runs.causes import CRASHED_OFTEN, STARTED_OFTEN
from flow_of_flows.runs.resume import is_waiting

logger = logging.getLogger("prefect.flows.pod")
WAIT_SECONDS = 2.0
WriteLog = Callable[[str], Awaitable[None]]


@dataclass(frozen=True)
class AcquiredRun:
    """A run that this pod has acquired.

    Attributes:
        record: the lease record, to confirm and to release.
        run: the run as last read; it may be cancelled by now, or over.
        history: its states when the pod started.
        confirmed: when the run was last read, by `lease.now`.
        requested: when the record was requested, by `lease.now`.
    """

    record: LeaseRecord
    run: FlowRun
    history: Sequence[State]
    confirmed: float
    requested: float


@dataclass(frozen=True)
class Acquisition:
    """Acquires one run for one pod.

    Attributes:
        write_log: writes a sentence to the pod's log and the run's.
        is_retry: Kubernetes retries Jobs, so the run may be Running when its next pod starts.
        stop: set when the pod has to stop.
    """

    client: PrefectClient
    records: LeaseRecords
    lease: float
    write_log: WriteLog
    is_retry: bool
    stop: asyncio.Event

    async def acquire(self, run: FlowRun) -> AcquiredRun | None:
        """Acquire the run and wait until no other pod works on it; None, with a log line, if there is nothing to do."""
        if await self._is_over(run):
            return None
        if run.state and run.state.is_running() and not self.is_retry:
            await self._refuse([record for record in await self.records.read() if record.is_open])
            return None
        history = await self.client.read_flow_run_states(run.id)
        if message := exhausted(history):
            await self.client.set_flow_run_state(run.id, Failed(message=message), force=True)
            await self.write_log(message)
            return None
        token = await self._token(submission_of(history))
        requested = lease.now()
        record = await self.records.acquire(token)
        if not self.records.is_held(record):
            await self._refuse([record])
            return None
        first = AcquiredRun(record, run, history, requested, requested)
        if token <= FencingToken(1):
            return first
        acquired = await self._succeed(first)
        if acquired is None:
            await self.records.release(record)
        return acquired

    async def _token(self, submission: int) -> FencingToken:
        """Return the submission's first token; the next one where the same Job has started a pod before."""
        before = await self.records.read() if self.is_retry else []
        pods = [record.token.pod for record in before if record.token.submission == submission]
        return FencingToken(submission, max(pods, default=-1) + 1)

    async def _refuse(self, holders: Sequence[LeaseRecord]) -> None:
        other = f"another pod, {holders[-1].pod}," if holders else "another process"
        await self.write_log(f"Not started: {other} works on this run; this one does nothing.")

    async def _succeed(self, first: AcquiredRun) -> AcquiredRun | None:
        """Wait until no earlier pod can be at work; None, with a log line, if the run needs no pod by then."""
        own, latest = first.record, first
        until = lease.now() + self.lease
        waits = False
        while True:
            # Wait for an API that does not answer: without an answer this pod may not begin.
            try:
                asked = lease.now()
                records = await self.records.read()
                run = await self.client.read_flow_run(self.records.run)
                latest = replace(first, run=run, confirmed=asked)
                if await self._is_not_needed(records, latest):
                    return None
                earlier = [record for record in records if record.is_open and record.token < own.token]
                if not earlier or _is_stopped(run):
                    return latest
                if not waits:
                    await self.write_log(
                        f"The pod before this one, {earlier[-1].pod}, has not said that it is over. This one begins as "
                        f"soon as it does, or Kubernetes says so; at the latest after {self.lease:g} s."
                    )
                    waits = True
                if lease.now() >= until or await self.records.are_over(earlier):
                    await self.records.mark_crashed(earlier)
                    return latest
            except API_ERRORS as error:
                logger.warning("The API does not answer while this pod waits for the one before it: %s", detail(error))
            if await lease.within(self.stop, min(WAIT_SECONDS, self.lease / 4)):
                return latest

    async def _is_not_needed(self, records: Sequence[LeaseRecord], latest: AcquiredRun) -> bool:
        if records[-1].token > latest.record.token:
            await self._refuse(records[-1:])
            return True
        return await self._is_over(latest.run)

    async def _is_over(self, run: FlowRun) -> bool:
        if run.state and run.state.is_final():
            await self.write_log(f"The run is over ({run.state.name}); this pod does nothing.")
            return True
        return False


def _is_stopped(run: FlowRun) -> bool:
    return bool(run.state and run.state.is_cancelling())


# Only a person starts a run again after one of these states: counting begins anew.
DECIDED = {StateType.FAILED, StateType.COMPLETED, StateType.CANCELLED, StateType.PAUSED}


def submission_of(history: Sequence[State]) -> int:
    """Return how often the run was scheduled: the same for each pod of one submission, more with each reschedule."""
    return sum(state.type is StateType.SCHEDULED for state in history)


def exhausted(history: Sequence[State]) -> str | None:
    """Return the message of a run that was started too often since a person last started it; None if it may start."""
    recent: list[State] = []
    for state in history:
        recent = [] if state.type in DECIDED and not is_waiting(state) else [*recent, state]
    crashes = [state for state in recent if state.type is StateType.CRASHED]
    count = starts(recent)
    if len(crashes) > MAX_POD_CRASHES:
        last = crashes[-1].message or ""
        return (Cause.from_message(last) or Cause.CRASHED).prefix(
            f"{CRASHED_OFTEN} {len(crashes)} times and is not started again; see its log, correct the cause, retry it. "
            f"The last crash: {last}"
        )
    if count >= MAX_POD_STARTS:
        return Cause.CRASHED.prefix(
            f"{STARTED_OFTEN} {count} times without an end and is not started again; "
            "see what ends its pods, then retry it"
        )
    return None


def starts(history: Sequence[State]) -> int:
    """Return how often a process began to work on a run."""
    return sum(_is_start(before, state) for before, state in pairwise([None, *history]))


def _is_start(before: State | None, state: State | None) -> bool:
    """Return whether a process began with this state; a build that waits for a schema changes its own state twice."""
    if state is None or state.type is not StateType.RUNNING:
        return False
    return WAITING_FOR_SCHEMA not in (state.name, before.name if before else None)


def submitted(history: Sequence[State]) -> datetime | None:
    """Return when the worker began with this submission, just before it created the Job; None where no worker did."""
    first: datetime | None = None
    for state in history:
        if state.type is StateType.SCHEDULED:
            first = None
        elif state.type is StateType.PENDING:
            first = first or state.timestamp
    return first


def seconds_left(deadline: int | None, history: Sequence[State], acquired: datetime | None) -> float | None:
    """Return the seconds until the run has to end: somewhat before Kubernetes ends its Job.

    The deadline counts from the submission of the run.

    Args:
        deadline: the Job's, seconds.
        history: states of the run.
        acquired: when the pod acquired it, by the server's clock, as the states are: this machine's may be wrong.
    """
    if deadline is None:
        return None
    begun = submitted(history)
    past = max((acquired - begun).total_seconds(), 0) if begun and acquired else 0
    return deadline - min(DEADLINE_MARGIN_SECONDS, deadline / 4) - past
