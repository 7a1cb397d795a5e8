"""Recovery of children that did not complete: collects evidence, then decides on another attempt, a restart or an end.

`FailedAttempts` reads and records; `status` uses it alone. `Recovery` decides, and restarts nested pipelines.
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
from flow_of_flows.runs.causes import AttemptChange, Evidence, Overdue, PodEvidence, is_certain, rule
from flow_of_flows.runs.outcome import Attempt, ChildRun, Outcome, evidence_of, lost
from flow_of_flows.runs.resume import began, restarts

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EndedChild:
    """A child that ended without completing.

    Attributes:
        overdue: the time limit that had passed, if it was cancelled for that.
        at: when it ended.
    """

    step: Step
    child: ChildRun
    overdue: Overdue | None
    at: datetime

    @property
    def keeps_id(self) -> bool:
        """Return whether a restart keeps its id: a pipeline that has begun finds its own children that way."""
        return self.step.nested is not None and self.child.run_count > 0


@dataclass
class FailedAttempts:
    """The children of one pipeline run that did not complete.

    Attributes:
        undecided: children that ended and for which nothing has been decided yet, by step.
        attempts: attempts of this generation that did not complete, by step, oldest first.
        initial: children that the run had when its process began.
        began: when this generation began; earlier failures are settled by the retry of the run.
        restarts: how often this generation was restarted because its process or pod was gone.
    """

    pipeline: Pipeline
    reads: RunsReader
    limits: RetryLimits
    undecided: dict[str, EndedChild] = field(default_factory=dict)
    attempts: dict[str, tuple[Attempt, ...]] = field(default_factory=dict)
    initial: set[UUID] = field(default_factory=set)
    began: datetime | None = None
    restarts: int = 0

    def add(self, child: ChildRun, overdue: Overdue | None) -> None:
        """Add a child that ended, or that did not stop in time.

        Args:
            child: a child of this run.
            overdue: the time limit that had passed, if it was cancelled for that.
        """
        now = self.reads.now()
        self.undecided[child.step] = EndedChild(
            self.pipeline.step(child.step), child, overdue, min(child.ended or now, now)
        )

    def add_earlier(self, child: ChildRun) -> None:
        """Add a child that ended while this run had no process."""
        self.undecided[child.step] = self._earlier(child)

    def includes(self, child: ChildRun) -> bool:
        """Return whether a child is an attempt of this generation that ended without completing."""
        return child.is_final and not child.is_completed and self.is_of_this_generation(child)

    def is_of_this_generation(self, child: ChildRun) -> bool:
        """Return whether a child ended in this generation, before this process of the run began."""
        return self.began is not None and (child.ended or child.created) >= self.began and child.id in self.initial

    async def load(self, run: UUID, children: Sequence[ChildRun]) -> None:
        """Load the attempts that failed before this process began; without children nothing is read.

        Args:
            run: the pipeline run.
            children: its own, oldest attempt first.
        """
        if not children:
            return
        self.initial = {child.id for child in children}
        states = await self.reads.states(run)
        self.began, self.restarts = began(states), restarts(states)
        latest = {child.step: child.id for child in children}
        earlier = [self._earlier(each) for each in children if self.includes(each) and each.id != latest[each.step]]
        evidence = await self.evidence(earlier)
        for ended in earlier:
            outcome = lost(ended.step.name, ended.step.policy, ended.child, evidence[ended.child.id])
            self.record(ended, outcome.cause)

    def record(self, ended: EndedChild, cause: Cause | None) -> None:
        """Record a child among the failed attempts of its step.

        Args:
            ended: the child.
            cause: why it ended; None counts as an error of its code.
        """
        name = ended.step.name
        self.attempts[name] = (*self.attempts.get(name, ()), Attempt(ended.child, cause or Cause.ERROR))

    async def explain(self) -> dict[str, tuple[Outcome, bool]]:
        """Return the outcome of each undecided child, by step, and whether another attempt or restart is expected."""
        evidence = await self.evidence(self.undecided.values())
        explained: dict[str, tuple[Outcome, bool]] = {}
        for name, ended in self.undecided.items():
            outcome, following = await self.assess(ended, evidence[ended.child.id])
            explained[name] = outcome, following is not None or may_be_restarted(ended, outcome)
        return explained

    async def assess(self, ended: EndedChild, evidence: Evidence) -> tuple[Outcome, NextAttempt | None]:
        """Assess a child that ended.

        Args:
            ended: the child.
            evidence: what is known of its end.

        Returns:
            The outcome of the step if this attempt is its last one, and the next attempt if there is one.
        """
        outcome = self._outcome(ended, evidence)
        cause = outcome.cause or Cause.ERROR
        if ended.keeps_id:
            return self._with_starts(ended, outcome), None
        attempts = (*self.attempts.get(ended.step.name, ()), Attempt(ended.child, cause))
        effective: Mapping[str, JsonValue] = {}
        if rule(cause).change is AttemptChange.MEMORY:
            effective = await self.reads.job_variables(ended.child.id)
        final = replace(outcome, earlier=attempts[:-1], tried=tried(attempts, effective, self.limits))
        return final, again(attempts, effective, self.limits)

    @staticmethod
    def _with_starts(ended: EndedChild, outcome: Outcome) -> Outcome:
        """Add how often a pipeline was started, if that is why it is not started once more."""
        count, crashed = ended.child.run_count, ended.child.state is StateType.CRASHED
        is_reason = crashed and rule(outcome.cause or Cause.ERROR).retries and count > MAX_RESTARTS
        return replace(outcome, tried=f"started {count} times") if is_reason else outcome

    async def evidence(self, children: Iterable[EndedChild]) -> dict[UUID, Evidence]:
        """Return what is known of the end of each child; reads only what its state does not say."""
        children = [await self._with_infrastructure(each) for each in children]
        failed = [each.child.id for each in children if each.child.state is StateType.FAILED]
        silent = [each.child.id for each in children if each.child.has_job and each.child.state is not StateType.FAILED]
        reports = await self.reads.reports(failed)
        pods: dict[UUID, tuple[PodEvidence, ...]] = await self.reads.pods(silent)
        return {
            each.child.id: evidence_of(
                each.child,
                overdue=each.overdue,
                reported=reports[each.child.id].cause if each.child.id in reports else None,
                pods=pods.get(each.child.id),
            )
            for each in children
        }

    async def _with_infrastructure(self, ended: EndedChild) -> EndedChild:
        """Return the same; only a run of a Kubernetes pool has pods that could say more."""
        return replace(ended, child=replace(ended.child, has_job=await self.reads.has_job(ended.child)))

    def _earlier(self, child: ChildRun) -> EndedChild:
        step = self.pipeline.step(child.step)
        overdue = was_overdue(child, step.timeout, self.limits.pending)
        return EndedChild(step, child, overdue, child.ended or child.created)

    def _outcome(self, ended: EndedChild, evidence: Evidence) -> Outcome:
        outcome = lost(ended.step.name, ended.step.policy, ended.child, evidence)
        match ended.overdue:
            case Overdue.RUNNING if ended.child.run_count == 0:
                message = (
                    f"did not begin within {ended.step.timeout}: no worker took it, or every slot was taken "
                    f"(`flows doctor` says which). {outcome.message}".strip()
                )
            case Overdue.RUNNING:
                message = f"took longer than {ended.step.timeout}. {outcome.message}".strip()
            case Overdue.PENDING:
                message = f"did not start within {self.limits.pending}. {outcome.message}".strip()
            case None:
                return outcome
        return replace(outcome, message=message)


def may_be_restarted(ended: EndedChild, outcome: Outcome) -> bool:
    """Return whether a pipeline that ended may be restarted under its own id. Pure.

    Args:
        ended: the child.
        outcome: what is known of its end.
    """
    retried = rule(outcome.cause or Cause.ERROR).retries > 0
    return (
        ended.keeps_id and ended.child.state is StateType.CRASHED and retried and ended.child.run_count <= MAX_RESTARTS
    )


@dataclass(frozen=True)
class Restarted:
    """A child that is at work again under its own id."""

    child: ChildRun


Consequence = Outcome | NextAttempt | Restarted


@dataclass(frozen=True)
class Recovery:
    """Decides what follows the failed attempts of one pipeline run.

    Attributes:
        failed: the attempts.
        client: restarts nested pipelines.
    """

    failed: FailedAttempts
    client: RunsClient

    async def decide(self) -> dict[str, Consequence]:
        """Return what follows for each child of which enough is known or waited for, by step."""
        consequences: dict[str, Consequence] = {}
        evidence = await self.failed.evidence(self.failed.undecided.values())
        for name, ended in list(self.failed.undecided.items()):
            known = evidence[ended.child.id]
            if not is_certain(known) and self.client.now() < ended.at + EVIDENCE_WAIT:
                continue
            if consequence := await self._decide(ended, known):
                consequences[name] = consequence
                del self.failed.undecided[name]
        return consequences

    async def _decide(self, ended: EndedChild, evidence: Evidence) -> Consequence | None:
        if await self._is_active_again(ended.child):
            return Restarted(ended.child)
        outcome, following = await self.failed.assess(ended, evidence)
        cause = outcome.cause or Cause.ERROR
        if ended.keeps_id:
            return await self._restart(ended, outcome, cause)
        self.failed.record(ended, cause)
        if following is None:
            return outcome
        name, attempt = ended.step.name, ended.child.attempt
        logger.warning("%s: attempt %d was lost (%s): %s", name, attempt, cause, outcome.message)
        return following

    async def _is_active_again(self, child: ChildRun) -> bool:
        """Return whether a child that crashed is at work again: another attempt would run at the same time.

        A pod that is deleted may count as crashed for a moment, before it has rescheduled its run (1 of 14, measured).
        """
        if child.state is not StateType.CRASHED:
            return False
        run = await self.client.read(child.id)
        return run.state is not None and not run.state.is_final()

    async def _restart(self, ended: EndedChild, outcome: Outcome, cause: Cause) -> Consequence | None:
        """Restart a pipeline under its own id, so that it finds its children; None while the automation may do so."""
        if not may_be_restarted(ended, outcome):
            return outcome
        if self.client.now() < ended.at + AUTOMATION_WAIT:
            return None
        logger.warning("%s: reviving %s, which crashed (%s)", ended.step.name, ended.child.name, cause)
        await self.client.restart(ended.child.id)
        return Restarted(ended.child)
