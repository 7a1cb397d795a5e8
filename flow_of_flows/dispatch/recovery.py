"""What follows from a child that did not complete: gathers evidence, then tries again, revives, or settles.

Children that ended in, decisions out.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from prefect.client.schemas.objects import StateType
from pydantic import JsonValue

from flow_of_flows.dispatch.pipeline import Pipeline, Step
from flow_of_flows.dispatch.retries import NextAttempt, RetryLimits, again, tried
from flow_of_flows.dispatch.watcher import was_overdue
from flow_of_flows.errors import Cause
from flow_of_flows.limits import AUTOMATION_WAIT, EVIDENCE_WAIT, MAX_RESTARTS
from flow_of_flows.prefect_api.launch import RunsClient
from flow_of_flows.prefect_api.runs import RunsReader
from flow_of_flows.runs.causes import Evidence, Overdue, PodEvidence, is_certain
from flow_of_flows.runs.outcome import Attempt, ChildRun, Outcome, evidence_of, lost
from flow_of_flows.runs.resume import began, restarts
from flow_of_flows.runs.retry_policy import AttemptChange, rule


@dataclass(frozen=True)
class EndedChild:
    """A child that ended, and nobody has said yet what follows."""

    step: Step
    child: ChildRun
    overdue: Overdue | None
    at: datetime

    @property
    def is_revived(self) -> bool:
        """Whether it comes back under its own id, if it does: a pipeline that has begun finds its own children so."""
        return self.step.nested is not None and self.child.run_count > 0


@dataclass
class Losses:
    """The children of one pipeline run that did not complete.

    Attributes:
        ended: those of which it is not yet said what follows, by step.
        lost: attempts of this pass that did not complete, by step, oldest first.
        known: children that this run had when its process began.
        began: when its pass did; what ended before is for whoever retried the run.
        restarts: how often this pass was begun again, because its process or pod was gone.
    """

    pipeline: Pipeline
    reads: RunsReader
    limits: RetryLimits
    ended: dict[str, EndedChild] = field(default_factory=dict)
    lost: dict[str, tuple[Attempt, ...]] = field(default_factory=dict)
    known: set[UUID] = field(default_factory=set)
    began: datetime | None = None
    restarts: int = 0

    def take(self, child: ChildRun, overdue: Overdue | None) -> None:
        """Take over a child that ended, or that was given up."""
        now = self.reads.now()
        self.ended[child.step] = EndedChild(
            self.pipeline.step(child.step), child, overdue, min(child.ended or now, now)
        )

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
        states = await self.reads.states(run)
        self.began, self.restarts = began(states), restarts(states)
        latest = {child.step: child.id for child in children}
        before = [self._past(one) for one in children if self.is_lost(one) and one.id != latest[one.step]]
        evidence = await self.evidence(before)
        for one in before:
            self.remember(one, lost(one.step.name, one.step.policy, one.child, evidence[one.child.id]).cause)

    def remember(self, one: EndedChild, cause: Cause | None) -> None:
        """Count it among the attempts of its step."""
        name = one.step.name
        self.lost[name] = (*self.lost.get(name, ()), Attempt(one.child, cause or Cause.ERROR))

    async def explain(self) -> dict[str, tuple[Outcome, bool]]:
        """What is known of each that ended, by step, and whether it is to be expected again."""
        evidence = await self.evidence(self.ended.values())
        told: dict[str, tuple[Outcome, bool]] = {}
        for name, one in self.ended.items():
            outcome, next_one = await self.weigh(one, evidence[one.child.id])
            told[name] = outcome, next_one is not None or may_be_revived(one, outcome)
        return told

    async def weigh(self, one: EndedChild, known: Evidence) -> tuple[Outcome, NextAttempt | None]:
        """The outcome, should it be the last, with the attempts before it; and the next attempt, if there is one."""
        outcome = self._outcome(one, known)
        cause = outcome.cause or Cause.ERROR
        if one.is_revived:
            return self._counted(one, outcome), None
        attempts = (*self.lost.get(one.step.name, ()), Attempt(one.child, cause))
        effective: Mapping[str, JsonValue] = {}
        if rule(cause).change is AttemptChange.MEMORY:
            effective = await self.reads.job_variables(one.child.id)
        last_word = replace(outcome, earlier=attempts[:-1], tried=tried(attempts, effective, self.limits))
        return last_word, again(attempts, effective, self.limits)

    @staticmethod
    def _counted(one: EndedChild, outcome: Outcome) -> Outcome:
        """How often a pipeline was brought back, where that is why it is not once more."""
        count, crashed = one.child.run_count, one.child.state is StateType.CRASHED
        is_reason = crashed and rule(outcome.cause or Cause.ERROR).retries and count > MAX_RESTARTS
        return replace(outcome, tried=f"started {count} times") if is_reason else outcome

    async def evidence(self, ended: Iterable[EndedChild]) -> dict[UUID, Evidence]:
        """What is known of each; nothing is read for what needs no reading."""
        ended = list(ended)
        failed = [one.child.id for one in ended if one.child.state is StateType.FAILED]
        silent = [one.child.id for one in ended if one.child.has_job and one.child.state is not StateType.FAILED]
        reports = await self.reads.reports(failed)
        pods: dict[UUID, tuple[PodEvidence, ...]] = await self.reads.pods(silent)
        return {
            one.child.id: evidence_of(
                one.child,
                overdue=one.overdue,
                reported=reports[one.child.id].cause if one.child.id in reports else None,
                pods=pods.get(one.child.id),
            )
            for one in ended
        }

    def _past(self, child: ChildRun) -> EndedChild:
        step = self.pipeline.step(child.step)
        overdue = was_overdue(child, step.timeout, self.limits.pending)
        return EndedChild(step, child, overdue, child.ended or child.created)

    def _outcome(self, one: EndedChild, known: Evidence) -> Outcome:
        outcome = lost(one.step.name, one.step.policy, one.child, known)
        match one.overdue:
            case Overdue.RUNNING if one.child.run_count == 0:
                said = (
                    f"did not begin within {one.step.timeout}: no worker took it, or every slot was taken "
                    f"(`flows doctor` says which). {outcome.message}".strip()
                )
            case Overdue.RUNNING:
                said = f"took longer than {one.step.timeout}. {outcome.message}".strip()
            case Overdue.PENDING:
                said = f"did not start within {self.limits.pending}. {outcome.message}".strip()
            case None:
                return outcome
        return replace(outcome, message=said)


def may_be_revived(one: EndedChild, outcome: Outcome) -> bool:
    """Whether a pipeline that ended comes back to life under its own id. Pure."""
    retried = rule(outcome.cause or Cause.ERROR).retries > 0
    return one.is_revived and one.child.state is StateType.CRASHED and retried and one.child.run_count <= MAX_RESTARTS


logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Back:
    """The child is at work again under its own id."""

    child: ChildRun


Consequence = Outcome | NextAttempt | Back


@dataclass
class Aftermath(Losses):
    """The children of one pipeline run that did not complete, and what is done about them."""

    reads: RunsClient

    async def judge(self) -> dict[str, Consequence]:
        """What follows, by step, for each of which enough is known or waited for."""
        found: dict[str, Consequence] = {}
        evidence = await self.evidence(self.ended.values())
        for name, one in list(self.ended.items()):
            known = evidence[one.child.id]
            if not is_certain(known) and self.reads.now() < one.at + EVIDENCE_WAIT:
                continue
            if consequence := await self._judge(one, known):
                found[name] = consequence
                del self.ended[name]
        return found

    async def _judge(self, one: EndedChild, known: Evidence) -> Consequence | None:
        if await self._is_back(one.child):
            return Back(one.child)
        outcome, next_one = await self.weigh(one, known)
        cause = outcome.cause or Cause.ERROR
        if one.is_revived:
            return await self._revived(one, outcome, cause)
        self.remember(one, cause)
        if next_one is None:
            return outcome
        logger.warning("%s: attempt %d was lost (%s): %s", one.step.name, one.child.attempt, cause, outcome.message)
        return next_one

    async def _is_back(self, child: ChildRun) -> bool:
        """Whether a child that crashed is at work again: one attempt more would work beside it.

        A pod that is deleted may count as crashed for a moment, before it has handed its run back (1 of 14, measured).
        """
        if child.state is not StateType.CRASHED:
            return False
        run = await self.reads.read(child.id)
        return run.state is not None and not run.state.is_final()

    async def _revived(self, one: EndedChild, outcome: Outcome, cause: Cause) -> Consequence | None:
        """A pipeline goes on under its own id, so that it finds its children; None: it may still be revived."""
        if not may_be_revived(one, outcome):
            return outcome
        if self.reads.now() < one.at + AUTOMATION_WAIT:
            return None
        logger.warning("%s: reviving %s, which crashed (%s)", one.step.name, one.child.name, cause)
        await self.reads.revive(one.child.id)
        return Back(one.child)
