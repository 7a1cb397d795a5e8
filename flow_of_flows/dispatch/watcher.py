"""Watches the children that are at work: returns those that are over, and cancels those that take too long.

One read per interval covers all of them.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from prefect.client.schemas.objects import State, StateType

from flow_of_flows.dispatch.pipeline import Pipeline, Step
from flow_of_flows.limits import CANCEL_GRACE
from flow_of_flows.prefect_api.launch import RunsClient
from flow_of_flows.runs.causes import Overdue
from flow_of_flows.runs.outcome import ChildRun
from flow_of_flows.runs.resume import time_paused

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Waiting:
    """A child that is at work.

    Attributes:
        deadline: when its step's time has passed; once it is overdue, when it is given up.
        pending_since: since when it is Pending without a break; None: it runs, or waits for a worker.
        overdue: it was asked to stop, because this time had passed.
    """

    child: ChildRun
    deadline: datetime
    pending_since: datetime | None = None
    overdue: Overdue | None = None

    def updated(self, now: ChildRun | None) -> Waiting:
        """Return the same after a read of the child; None: it is neither over nor waiting to start."""
        if now is None or now.state is not StateType.PENDING:
            return replace(self, pending_since=None)
        # Kubernetes makes InfrastructurePending of Pending: the time goes on.
        return replace(self, child=now, pending_since=self.pending_since or now.since or now.created)

    def passed(self, now: datetime, pending: timedelta) -> Overdue | None:
        """Return the time limit that has just passed, if any.

        Args:
            now: the time.
            pending: limit of the time from Pending until a child starts.
        """
        if self.overdue:
            return None
        if now >= self.deadline:
            return Overdue.RUNNING
        late = self.pending_since is not None and now >= self.pending_since + pending
        return Overdue.PENDING if late else None

    def cancelled(self, overdue: Overdue, now: datetime) -> Waiting:
        """Return the same once the child was cancelled.

        Args:
            overdue: the time limit that had passed.
            now: the time.
        """
        return replace(self, overdue=overdue, deadline=now + CANCEL_GRACE)


@dataclass
class ChildWatcher:
    """Watches the children of one pipeline run.

    Attributes:
        waiting: the children that are at work, by step.
        pending: time from Pending until a child that does not start is cancelled.
        run: the pipeline run.
        own: its state when it was last read, None while it is Running.
        polled: whether the children were read at least once.
    """

    pipeline: Pipeline
    api: RunsClient
    pending: timedelta
    run: UUID
    waiting: dict[str, Waiting] = field(default_factory=dict)
    own: State[Any] | None = None
    polled: bool = False

    def add(self, step: Step, child: ChildRun) -> None:
        """Watch a child.

        Args:
            step: the step that it is an attempt of.
            child: a child that is not over.
        """
        self.waiting[step.name] = Waiting(child, child.created + step.timeout)

    async def poll(self) -> list[tuple[ChildRun, Overdue | None]]:
        """Remove and return the children that are over or did not stop, with the time limit that had passed."""
        self.polled = True
        self.own, children = await self.api.seen(self.run, (one.child for one in self.waiting.values()))
        seen = {child.id: child for child in children}
        over: list[tuple[ChildRun, Overdue | None]] = []
        for name, waiting in list(self.waiting.items()):
            child = seen.get(waiting.child.id)
            if child and child.is_final:
                over.append((child, self.waiting.pop(name).overdue))
            else:
                self.waiting[name] = waiting.updated(child)
        return over + await self._too_late()

    async def _too_late(self) -> list[tuple[ChildRun, Overdue | None]]:
        """Cancel the children whose time has passed; return those that did not stop."""
        now = self.api.now()
        given_up: list[tuple[ChildRun, Overdue | None]] = []
        for name, waiting in list(self.waiting.items()):
            if overdue := waiting.passed(now, self.pending):
                if overdue is Overdue.RUNNING and await self._was_paused(name, waiting, now):
                    continue
                time = self.pending if overdue is Overdue.PENDING else self.pipeline.step(name).timeout
                logger.warning("%s: %s for longer than %s; cancelling %s", name, overdue, time, waiting.child.name)
                await self.api.cancel(waiting.child.id)
                self.waiting[name] = waiting.cancelled(overdue, now)
            elif waiting.overdue and now >= waiting.deadline:
                del self.waiting[name]
                message = f"did not stop within {CANCEL_GRACE} of being cancelled"
                given_up.append((replace(waiting.child, message=message), waiting.overdue))
        return given_up

    async def _was_paused(self, name: str, waiting: Waiting, now: datetime) -> bool:
        """Extend the deadline by the time for which a child was suspended; return whether that was enough."""
        paused = time_paused(await self.api.states(waiting.child.id), now)
        deadline = waiting.child.created + self.pipeline.step(name).timeout + paused
        if now >= deadline:
            return False
        if waiting.deadline == waiting.child.created + self.pipeline.step(name).timeout:
            logger.info("%s: suspended; its time does not run", name)
        self.waiting[name] = replace(waiting, deadline=deadline)
        return True


def was_overdue(child: ChildRun, timeout: timedelta, pending: timedelta) -> Overdue | None:
    """Return the time limit that had passed for a child that is over, where the parent that cancelled it is gone.

    Args:
        child: a child that is over.
        timeout: of its step.
        pending: limit of the time from Pending until a child starts.
    """
    if child.state is not StateType.CANCELLED or child.ended is None:
        return None
    if child.ended >= child.created + timeout:
        return Overdue.RUNNING
    return Overdue.PENDING if child.run_count == 0 and child.ended >= child.created + pending else None
