"""Makes a pipeline run wait for, or skip, where runs of its deployment overlap.

A run's place is the time of its present start (the first Running since it began or was retried). Before it starts its
first step it leaves a mark, and reads once more: of two runs that start at the same moment exactly one keeps its mark.
A run with a mark keeps its place while it is suspended, rescheduled or restarted.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.exceptions import Abort, Pause

from flow_of_flows.dispatch.pipeline import Overlap
from flow_of_flows.limits import MAX_RESTARTS, OVERLAP_RESTART
from flow_of_flows.prefect_api.launch import RunsClient
from flow_of_flows.runs.resume import ORPHANED, Stance, began, is_waiting, ordered, stance

logger = logging.getLogger(__name__)
# A mark may be withdrawn at once, by the later one of two runs that start at the same moment.
SETTLE_SECONDS = 1.0


@dataclass(frozen=True)
class Contender:
    """Another run of the same deployment that has begun and is not over.

    Attributes:
        place: when its present start began; None: it has not begun again since it was retried.
        entered: whether it may have started steps.
    """

    run: FlowRun
    place: datetime | None
    entered: bool

    @property
    def said(self) -> str:
        """Return its name and state for a message."""
        state = self.run.state.name if self.run.state else "unknown"
        since = self.place.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if self.place else "unknown"
        return f"{self.run.name} (begun {since}, {state})"


def place_of(states: Iterable[State]) -> datetime | None:
    """Return when a run's present start began; None before its first Running."""
    known = ordered(states)
    since = began(known)
    running = (state.timestamp for state in known if state.type is StateType.RUNNING and state.timestamp >= since)
    return next(running, None)


def before(own: Contender, others: Iterable[Contender]) -> Contender | None:
    """Return the run that goes before this one; None if this one may begin.

    A run that has entered yields only to others that have, a run that has not yields to every earlier one, too.

    Args:
        own: this run.
        others: the other runs of its deployment.
    """
    entered = [other for other in others if other.entered]
    earlier = [other for other in others if not own.entered and _rank(other) < _rank(own)]
    return min(entered or earlier, key=_rank, default=None)


def _rank(contender: Contender) -> tuple[datetime, str]:
    """Return the order of start; the id decides between two of the same moment."""
    return contender.place or datetime.max.replace(tzinfo=UTC), str(contender.run.id)


def _is_orphan(run: FlowRun) -> bool:
    return run.state is not None and run.state.message == ORPHANED


@dataclass
class OverlapGuard:
    """Keeps one pipeline run from overlapping with earlier runs of its deployment.

    Attributes:
        run: its id.
        deployment: whose runs it must not overlap.
        pause: seconds between two looks.
        said: what its state says while it waits.
        own: the run when it was last read.
    """

    api: RunsClient
    run: UUID
    deployment: UUID
    pause: float
    said: str = ""
    own: FlowRun | None = None
    _places: dict[UUID, tuple[UUID, datetime | None]] = field(default_factory=dict)

    async def acquire(self, overlap: Overlap) -> str:
        """Wait until no earlier run is at work.

        Args:
            overlap: what it does while an earlier run is not over.

        Returns:
            Why the run is skipped; empty when it may begin.

        Raises:
            Pause: it was suspended meanwhile.
            Abort: it is over, or another process has it.
        """
        if overlap is Overlap.ALLOW:
            return ""
        await self.api.set_clock(self.run)
        looks = 0
        while earlier := await self._earlier():
            looks += 1
            if overlap is Overlap.SKIP and looks > 1:
                return f"Skipped, and nothing was started: the earlier run {earlier.said} is not over"
            if overlap is Overlap.WAIT and not await self._wait(earlier):
                break
            await asyncio.sleep(self.pause if looks > 1 else SETTLE_SECONDS)
        if self.said:
            await self.api.go_on(self.run)
            logger.info("The run begins")
        return ""

    async def _earlier(self) -> Contender | None:
        """Return the run that goes before this one; None: this one has left its mark, and begins."""
        own, others = await self._read()
        if earlier := before(own, others):
            if own.entered:
                await self.api.withdraw(self.run)
            return earlier
        if own.entered:
            return None
        await self.api.enter(self.run, own.place)
        # Whoever has left a mark at the same time sees this one, too, and the later one withdraws.
        own, others = await self._read()
        rivals = [other for other in others if _rank(other) < _rank(own)]
        if rivals:
            await self.api.withdraw(self.run)
        return min(rivals, key=_rank, default=None)

    async def _read(self) -> tuple[Contender, list[Contender]]:
        """Read this run and the others of its deployment that have begun, with their places and marks."""
        runs = {run.id: run for run in await self.api.begun(self.deployment)}
        lately = await self.api.crashed(self.deployment, since=self.api.now() - OVERLAP_RESTART)
        runs |= {run.id: run for run in lately if run.run_count <= MAX_RESTARTS and not _is_orphan(run)}
        if self.run not in runs:
            runs[self.run] = await self.api.read(self.run)
        self._check(runs[self.run])
        marks = await self.api.entered(runs)
        known = {run.id: await self._contender(run, marks.get(run.id, frozenset())) for run in runs.values()}
        self.own = runs[self.run]
        own = known.pop(self.run)
        return own, [other for other in known.values() if other.place is not None]

    async def _contender(self, run: FlowRun, marks: AbstractSet[datetime]) -> Contender:
        """Judge a run; its states are read again only when its state has changed."""
        state = run.state.id if run.state else run.id
        if self._places.get(run.id, (None, None))[0] != state:
            self._places[run.id] = (state, place_of(await self.api.states(run.id)))
        place = self._places[run.id][1]
        return Contender(run, place, entered=place is not None and place in marks)

    @staticmethod
    def _check(own: FlowRun) -> None:
        """Raise if the run is suspended, over, or another process has it."""
        match stance(own.state):
            case Stance.SUSPEND:
                raise Pause(state=own.state)
            case Stance.YIELD | Stance.STOP:
                raise Abort("This process does not go on with the run")

    async def _wait(self, earlier: Contender) -> bool:
        """Say in this run's state for which run it waits; whether it still waits: a person may resume it."""
        own = self.own.state if self.own else None
        if self.said and own and own.is_running():
            logger.warning("Resumed by a person: this run does not wait for %s", earlier.said)
            return False
        message = f"Waits for the earlier run {earlier.said} of this pipeline"
        if message != self.said:
            logger.info("%s", message)
            # A change of the message alone is none that Prefect's rules know.
            await self.api.say_waiting(self.run, message, again=is_waiting(own))
        self.said = message
        return True
