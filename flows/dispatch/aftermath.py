"""What follows from a child that did not complete: gathers evidence, then tries again, revives, or settles.

Children that ended in, decisions out; one read of reports and one of events for all of them. Called by the dispatcher.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from uuid import UUID

from prefect.client.schemas.objects import StateType
from pydantic import JsonValue

from flows.dispatch.cause import is_certain
from flows.dispatch.evidence import Evidence, Overdue, Pod
from flows.dispatch.launch import Api
from flows.dispatch.outcome import Attempt, ChildRun, Outcome, evidence_of, lost
from flows.dispatch.passes import began, restarts
from flows.dispatch.plan import Pipeline, Step
from flows.dispatch.policy import Change, rule
from flows.dispatch.retry import Again, Limits, again, tried
from flows.dispatch.waiting import was_overdue
from flows.errors import Cause

logger = logging.getLogger(__name__)
# The pod's diagnosis is there 2 to 4 s after the state Crashed (measured): a container ends after its engine.
EVIDENCE = timedelta(seconds=6)
# The automation that revives pipelines needs up to 4 s (measured).
AUTOMATION = timedelta(seconds=8)
# A pipeline that crashed is brought back while it was Running at most this often; as in `flows.register.revival`.
REVIVALS = 3


@dataclass(frozen=True)
class Back:
    """The child is at work again under its own id."""

    child: ChildRun


@dataclass(frozen=True)
class Ended:
    """A child that ended, and nobody has said yet what follows."""

    step: Step
    child: ChildRun
    overdue: Overdue | None
    at: datetime


Consequence = Outcome | Again | Back


@dataclass
class Aftermath:
    """The children of one pipeline run that did not complete.

    Attributes:
        ended: those of which it is not yet said what follows, by step.
        lost: attempts of this pass that did not complete, by step, oldest first.
        known: children that this run had when its process began.
        began: when its pass did; what ended before is for whoever retried the run.
        restarts: how often this pass was begun again, because its process or pod was gone.
    """

    pipeline: Pipeline
    api: Api
    limits: Limits
    ended: dict[str, Ended] = field(default_factory=dict)
    lost: dict[str, tuple[Attempt, ...]] = field(default_factory=dict)
    known: set[UUID] = field(default_factory=set)
    began: datetime | None = None
    restarts: int = 0

    def take(self, child: ChildRun, overdue: Overdue | None) -> None:
        """Take over a child that ended, or that was given up."""
        now = self.api.now()
        self.ended[child.step] = Ended(self.pipeline.step(child.step), child, overdue, min(child.ended or now, now))

    def take_again(self, child: ChildRun) -> None:
        """Take over a child that ended while this run had no process."""
        self.ended[child.step] = self._past(child)

    def is_lost(self, child: ChildRun) -> bool:
        """Whether it is an attempt of this pass that ended without being complete."""
        return child.is_final and not child.is_completed and self.is_of_this_pass(child)

    def is_of_this_pass(self, child: ChildRun) -> bool:
        """Whether it ended in this pass, while this run had another process or none."""
        return self.began is not None and (child.ended or child.created) >= self.began and child.id in self.known

    async def recall(self, run: UUID, children: Sequence[ChildRun]) -> None:
        """Learn what was lost before this run's own process was; a run without children has nothing to learn.

        Args:
            run: the pipeline run.
            children: its own, oldest attempt first.
        """
        if not children:
            return
        self.known = {child.id for child in children}
        states = await self.api.states(run)
        self.began, self.restarts = began(states), restarts(states)
        latest = {child.step: child.id for child in children}
        before = [self._past(one) for one in children if self.is_lost(one) and one.id != latest[one.step]]
        evidence = await self._evidence(before)
        for one in before:
            self._remember(one, lost(one.step.name, one.step.policy, one.child, evidence[one.child.id]).cause)

    def _past(self, child: ChildRun) -> Ended:
        step = self.pipeline.step(child.step)
        overdue = was_overdue(child, step.timeout, self.limits.pending)
        return Ended(step, child, overdue, child.ended or child.created)

    async def judge(self) -> dict[str, Consequence]:
        """What follows, by step, for each of which enough is known or waited for."""
        found: dict[str, Consequence] = {}
        evidence = await self._evidence(self.ended.values())
        for name, one in list(self.ended.items()):
            known = evidence[one.child.id]
            if not is_certain(known) and self.api.now() < one.at + EVIDENCE:
                continue
            if consequence := await self._judge(one, known):
                found[name] = consequence
                del self.ended[name]
        return found

    async def _judge(self, one: Ended, known: Evidence) -> Consequence | None:
        outcome = self._outcome(one, known)
        cause = outcome.cause or Cause.ERROR
        if one.step.pipeline and one.child.run_count:
            return await self._revived(one, outcome, cause)
        attempts = (*self.lost.get(one.step.name, ()), Attempt(one.child, cause))
        effective: Mapping[str, JsonValue] = {}
        if rule(cause).change is Change.MEMORY:
            effective = await self.api.job_variables(one.child.id)
        self._remember(one, cause)
        if (next_one := again(attempts, effective, self.limits)) is not None:
            logger.warning("%s: attempt %d was lost (%s): %s", one.step.name, one.child.attempt, cause, outcome.message)
            return next_one
        return replace(outcome, earlier=attempts[:-1], tried=tried(attempts, effective, self.limits))

    async def _revived(self, one: Ended, outcome: Outcome, cause: Cause) -> Consequence | None:
        """A pipeline goes on under its own id, so that it finds its children; None: it may still be revived."""
        if one.child.state is not StateType.CRASHED or not rule(cause).retries:
            return outcome
        run = await self.api.read(one.child.id)
        if run.state and not run.state.is_final():
            return Back(one.child)
        if one.child.run_count > REVIVALS:
            return replace(outcome, tried=f"started {one.child.run_count} times")
        if self.api.now() < one.at + AUTOMATION:
            return None
        logger.warning("%s: reviving %s, which crashed (%s)", one.step.name, one.child.name, cause)
        await self.api.revive(one.child.id)
        return Back(one.child)

    def _outcome(self, one: Ended, known: Evidence) -> Outcome:
        outcome = lost(one.step.name, one.step.policy, one.child, known)
        match one.overdue:
            case Overdue.RUNNING:
                said = f"took longer than {one.step.timeout}. {outcome.message}".strip()
            case Overdue.PENDING:
                said = f"did not start within {self.limits.pending}. {outcome.message}".strip()
            case None:
                return outcome
        return replace(outcome, message=said)

    def _remember(self, one: Ended, cause: Cause | None) -> None:
        name = one.step.name
        self.lost[name] = (*self.lost.get(name, ()), Attempt(one.child, cause or Cause.ERROR))

    async def _evidence(self, ended: Iterable[Ended]) -> dict[UUID, Evidence]:
        """What is known of each; nothing is read for what needs no reading."""
        ended = list(ended)
        failed = [one.child.id for one in ended if one.child.state is StateType.FAILED]
        silent = [one.child.id for one in ended if one.child.has_job and one.child.state is not StateType.FAILED]
        reports = await self.api.reports(failed)
        pods: dict[UUID, tuple[Pod, ...]] = await self.api.pods(silent)
        return {
            one.child.id: evidence_of(
                one.child,
                overdue=one.overdue,
                reported=reports[one.child.id].cause if one.child.id in reports else None,
                pods=pods.get(one.child.id),
            )
            for one in ended
        }
