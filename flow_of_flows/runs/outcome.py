"""The outcome of a step and the verdict of a whole run, from child runs. Pure.

A step whose child run the API refused to create has no child run: the parent writes one record per refused attempt,
which the terminal and the alerts read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING
from uuid import UUID

from prefect.client.schemas.objects import StateType
from pydantic import BaseModel, ConfigDict, JsonValue

from flow_of_flows.child_report import ChildReport
from flow_of_flows.errors import Cause
from flow_of_flows.runs.causes import Evidence, Overdue, PodEvidence, classify, own_cause

if TYPE_CHECKING:
    from flow_of_flows.dispatch.pipeline import Pipeline


DEGRADED, SKIPPED = "Degraded", "Skipped"
REFUSAL_TYPE = "flows-refused-start"


class Policy(StrEnum):
    """What a failed step means for its pipeline."""

    FAIL = "fail"
    WARN = "warn"


class StepState(StrEnum):
    """How a step ended, or where it is."""

    COMPLETED = "completed"
    FAILED = "failed"
    NOT_RUN = "not run"
    LEFT_OUT = "left out"
    RUNNING = "running"
    WAITING = "waiting"
    RETRYING = "retrying"


SETTLED = (StepState.COMPLETED, StepState.FAILED, StepState.LEFT_OUT)


class Verdict(StrEnum):
    """How a pipeline run ended, or that it has not."""

    COMPLETED = "completed"
    DEGRADED = "degraded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    RUNNING = "running"
    SUSPENDED = "suspended"
    SKIPPED = "skipped"

    @property
    def is_over(self) -> bool:
        """Return whether the run has ended."""
        return self not in (Verdict.RUNNING, Verdict.SUSPENDED)


@dataclass(frozen=True)
class ChildRun:
    """One run of a child, as the API returns it.

    Attributes:
        since: when it came into its state.
        run_count: how often it was Running.
        has_job: whether Kubernetes took a Job for it, by what its infrastructure is called.
        pool: name of its work pool; empty where it has none.
        job_variables: its own, over those of its deployment and of the pool.
    """

    id: UUID
    name: str
    step: str
    attempt: int
    created: datetime
    state: StateType
    state_name: str = ""
    message: str = ""
    started: datetime | None = None
    ended: datetime | None = None
    since: datetime | None = None
    run_count: int = 0
    has_job: bool = False
    pool: str = ""
    job_variables: Mapping[str, JsonValue] = field(default_factory=dict)

    @property
    def is_final(self) -> bool:
        """Return whether the run will not go on."""
        return self.state in (StateType.COMPLETED, StateType.FAILED, StateType.CRASHED, StateType.CANCELLED)

    @property
    def is_completed(self) -> bool:
        """Return whether the run did all its work."""
        return self.state is StateType.COMPLETED


@dataclass(frozen=True)
class Attempt:
    """A child run that did not complete, and why."""

    child: ChildRun
    cause: Cause


@dataclass(frozen=True)
class Outcome:
    """One step, classified.

    Attributes:
        message: of the child's state; for a step that is left out by the settings: why.
        held_up_by: for a step that was not run: the failed steps before it.
        reused: the child completed before this run was retried, or in the run it resumes.
        earlier: the attempts of this step before the child, oldest first.
        tried: for a step that failed: how many attempts there were, and what ended them.
    """

    step: str
    state: StepState
    cause: Cause | None = None
    message: str = ""
    policy: Policy = Policy.FAIL
    child: ChildRun | None = None
    report: ChildReport | None = None
    held_up_by: tuple[str, ...] = ()
    reused: bool = False
    earlier: tuple[Attempt, ...] = ()
    tried: str = ""

    @property
    def holds_up(self) -> bool:
        """Return whether the steps behind this one must not run."""
        return self.state is StepState.NOT_RUN or (self.state is StepState.FAILED and self.policy is Policy.FAIL)


def of_child(step: str, policy: Policy, child: ChildRun, *, reused: bool = False) -> Outcome:
    """Classify a child run that is over, from itself alone.

    Args:
        step: name of the step.
        policy: of the step.
        child: a child run that is over.
        reused: whether it completed before this run was retried, or in the run it resumes.
    """
    if child.is_completed:
        return Outcome(step, StepState.COMPLETED, policy=policy, child=child, message=child.message, reused=reused)
    return lost(step, policy, child, evidence_of(child))


def lost(step: str, policy: Policy, child: ChildRun, evidence: Evidence) -> Outcome:
    """Return the outcome of a step whose child did not complete, or did not stop; its pod's message is added.

    Args:
        step: name of the step.
        policy: of the step.
        child: the child run.
        evidence: what is known of its end.
    """
    messages = [pod.message for pod in evidence.pods or () if pod.message]
    message = f"{child.message} {messages[-1]}".strip() if messages else child.message
    return Outcome(step, StepState.FAILED, classify(evidence), message, policy, child)


def evidence_of(
    child: ChildRun,
    *,
    overdue: Overdue | None = None,
    reported: Cause | None = None,
    pods: tuple[PodEvidence, ...] | None = None,
) -> Evidence:
    """Return what is known of a child that did not complete.

    Args:
        child: the child run.
        overdue: the time limit that had passed, if it was cancelled for that.
        reported: the cause in its own report.
        pods: what the events of its pods say; None if they were not read.
    """
    return Evidence(
        child.state,
        child.message,
        reported,
        overdue,
        started=child.run_count > 0,
        has_job=child.has_job,
        pods=pods,
        state_name=child.state_name,
        from_flow=own_cause(child.state, child.message) is None,
    )


def with_report(outcome: Outcome, report: ChildReport | None) -> Outcome:
    """Add the report of a child; a failed child's own cause is more precise than its state.

    Args:
        outcome: of its step.
        report: None where there is none.
    """
    if report is None:
        return outcome
    if outcome.cause is Cause.ERROR and report.cause is not None:
        return replace(outcome, report=report, cause=report.cause)
    return replace(outcome, report=report)


def blockers(before: Iterable[Outcome]) -> tuple[str, ...]:
    """Return the failed steps that hold one up, directly or through others."""
    names: dict[str, None] = {}
    for outcome in before:
        if outcome.holds_up:
            names.update(dict.fromkeys(outcome.held_up_by or (outcome.step,)))
    return tuple(names)


def verdict(outcomes: Iterable[Outcome]) -> Verdict:
    """Return the verdict: failed if a step failed for good, degraded if only steps with the policy `warn` did."""
    known = tuple(outcomes)
    if any(outcome.holds_up for outcome in known):
        return Verdict.FAILED
    degraded = any(
        outcome.state is StepState.FAILED or (outcome.child is not None and outcome.child.state_name == DEGRADED)
        for outcome in known
    )
    return Verdict.DEGRADED if degraded else Verdict.COMPLETED


def sentence(outcomes: Iterable[Outcome]) -> str:
    """Return the state message of a run: failed steps with causes, steps not run, steps that settings leave out."""
    known = tuple(outcomes)
    failed = [f"{o.step} ({_because(o)})" for o in known if o.state is StepState.FAILED]
    held = [o.step for o in known if o.state is StepState.NOT_RUN]
    completed = sum(o.state is StepState.COMPLETED for o in known)
    parts = [f"{completed} of {len(known)} steps completed"]
    if failed:
        parts.append("failed: " + ", ".join(failed))
    if held:
        parts.append("not run: " + ", ".join(held))
    if absent := [o.step for o in known if o.state is StepState.LEFT_OUT and o.message]:
        parts.append("left out: " + ", ".join(absent))
    return "; ".join(parts)


def _because(outcome: Outcome) -> str:
    return f"{outcome.cause}; {outcome.tried}" if outcome.tried else str(outcome.cause)


class Refusal(BaseModel):
    """One attempt of a step that has no child run.

    Attributes:
        message: what the API said, as a whole sentence with what to do next.
    """

    model_config = ConfigDict(frozen=True)

    step: str
    attempt: int
    cause: Cause
    message: str

    def outcome(self, pipeline: Pipeline) -> Outcome:
        """Return the outcome of its step."""
        return Outcome(self.step, StepState.FAILED, self.cause, self.message, pipeline.step(self.step).policy)


def outcomes_of(refusals: Iterable[Refusal], pipeline: Pipeline, children: Sequence[ChildRun]) -> dict[str, Outcome]:
    """Return the failed steps of a run whose newest attempt was refused.

    Args:
        refusals: those of the run since it began or was retried, in any order.
        pipeline: the plan.
        children: child runs of the run.
    """
    newest = {child.step: child.attempt for child in sorted(children, key=lambda child: child.attempt)}
    return {
        refusal.step: refusal.outcome(pipeline)
        for refusal in refusals
        if refusal.step in pipeline.order and refusal.attempt > newest.get(refusal.step, 0)
    }


def may_be_refused(outcomes: Iterable[Outcome], pipeline: Pipeline) -> bool:
    """Return whether a step waits although nothing before it is left to wait for.

    Args:
        outcomes: of all steps of the run.
        pipeline: the plan.
    """
    known = {outcome.step: outcome for outcome in outcomes}
    waiting = [name for name, outcome in known.items() if outcome.state is StepState.WAITING]
    return any(all(known[other].state in SETTLED for other in pipeline.step(name).upstream) for name in waiting)
