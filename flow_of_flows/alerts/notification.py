"""The notification of one pipeline run, redacted and of bounded length, and who receives it. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from flow_of_flows.alerts.redact import redact_line
from flow_of_flows.errors import Cause, FlowsError
from flow_of_flows.runs.causes import rule
from flow_of_flows.runs.outcome import Outcome, StepState, Verdict, sentence
from flow_of_flows.settings import Finished
from flow_of_flows.summary.run_summary import RunSummary, todo, warnings, why
from flow_of_flows.summary.terminal import PLAIN, Terminal

BAD = (Verdict.FAILED, Verdict.CANCELLED)
MOST_STEPS, MOST_NODES, MOST_WARNINGS = 8, 10, 10


@dataclass(frozen=True)
class Part:
    """A part of a failed step: a dbt node, or a step of an inner pipeline."""

    name: str
    status: str
    message: str
    owner: str | None = None


@dataclass(frozen=True)
class Failure:
    """A failed step.

    Attributes:
        url: address of the child run; empty if unknown.
        more: how many parts are left out.
    """

    step: str
    cause: str
    why: str
    todo: str
    url: str = ""
    parts: tuple[Part, ...] = ()
    more: int = 0


@dataclass(frozen=True)
class Notification:
    """The end of one pipeline run.

    Attributes:
        evidence: identifies this end of the run, so that it is notified once.
        recovered_from: how the previous run ended, if it failed and this one did not.
        terminal: where the readers run commands.
    """

    pipeline: str
    environment: str
    verdict: Verdict
    run: UUID
    name: str
    summary: str
    evidence: str
    url: str = ""
    failures: tuple[Failure, ...] = ()
    more_failures: int = 0
    warnings: tuple[str, ...] = ()
    recovered_from: str = ""
    terminal: Terminal = PLAIN

    @property
    def resume(self) -> str:
        """Return the command that resumes the run."""
        return self.terminal.command(f"flows resume {self.run}")

    @property
    def dedup_key(self) -> str:
        """Return the key of the pipeline's incident, at most 255 characters."""
        return f"flow-of-flows/{self.environment}/{self.pipeline}"[:255]

    @property
    def bad(self) -> bool:
        """Return whether somebody has to act before the pipeline can complete."""
        return self.verdict in BAD


def of_summary(
    run_summary: RunSummary,
    environment: str,
    links: Mapping[UUID, str],
    *,
    tries: int,
    error: BaseException | None = None,
) -> Notification:
    """Return the notification of a run.

    Args:
        run_summary: the summary of the run.
        environment: name of the installation.
        links: known addresses of the run and of its children.
        tries: how often the run has been started.
        error: what ended the run before its steps could.
    """
    failed = run_summary.failed
    warning_texts = [redact_line(text.replace("`", "")) for text in warnings(run_summary.outcomes)]
    more = [f"and {len(warning_texts) - MOST_WARNINGS} more"] if len(warning_texts) > MOST_WARNINGS else []
    return Notification(
        pipeline=run_summary.pipeline,
        environment=environment,
        verdict=run_summary.verdict,
        run=run_summary.run,
        name=run_summary.name,
        summary="The run itself failed, not one of its steps" if error else sentence(run_summary.outcomes),
        evidence=evidence(run_summary.verdict, run_summary.outcomes, tries),
        url=links.get(run_summary.run, ""),
        failures=(
            *([_of_error(run_summary.pipeline, error)] if error else []),
            *(_failure(outcome, links) for outcome in failed[:MOST_STEPS]),
        ),
        more_failures=max(len(failed) - MOST_STEPS, 0),
        warnings=(*warning_texts[:MOST_WARNINGS], *more),
    )


def _of_error(pipeline: str, error: BaseException) -> Failure:
    """Return the failure that ended a run; of a bug only the type, since its message may contain data."""
    if isinstance(error, FlowsError):
        return Failure(
            pipeline,
            str(error.cause),
            redact_line(error.fact),
            _sentence(redact_line(error.hint or rule(error.cause).advice)),
        )
    why = f"The parent ended with {type(error).__name__}"
    return Failure(pipeline, str(Cause.ERROR), why, "Read the traceback in the run's log.")


def evidence(verdict: Verdict, outcomes: tuple[Outcome, ...], tries: int) -> str:
    """Return a digest of the verdict and the failed children: a new failed attempt is notified, a new pod is not.

    Args:
        verdict: the end of the run.
        outcomes: outcomes of its steps.
        tries: how often the run has been started.
    """
    failed = sorted(f"{o.step}:{o.child.id}" for o in outcomes if o.state is StepState.FAILED and o.child)
    # Without a failed child, only the number of starts distinguishes a person's Retry from the first run.
    bad = verdict in BAD
    basis = failed or ([f"start {tries}"] if bad else [])
    return hashlib.sha256("\n".join([str(verdict), *basis]).encode()).hexdigest()[:16]


def _failure(outcome: Outcome, links: Mapping[UUID, str]) -> Failure:
    problems = outcome.report.problems if outcome.report else ()
    return Failure(
        step=outcome.step,
        cause=str(outcome.cause),
        why=redact_line(why(outcome).replace("\\|", "|")),
        todo=redact_line(todo(outcome)),
        url=links.get(outcome.child.id, "") if outcome.child else "",
        parts=tuple(
            Part(
                redact_line(p.name, 120),
                redact_line(p.status, 40),
                redact_line(p.message),
                redact_line(p.owner, 80) if p.owner else None,
            )
            for p in problems[:MOST_NODES]
        ),
        more=max(len(problems) - MOST_NODES, 0),
    )


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


class IncidentAction(StrEnum):
    """What happens to the pipeline's incident."""

    TRIGGER = "trigger"
    RESOLVE = "resolve"


# Ends of the previous run that make this one a recovery.
FAILING = frozenset({"failed", "cancelled", "crashed"})


def recovered_from(verdict: Verdict, before: str | None, *, partial: bool) -> str:
    """Return how the previous run ended, if this one recovers from it; a partial run does not.

    Args:
        verdict: the end of this run.
        before: how the previous run ended; None if there was none.
        partial: whether steps of this run were left out.
    """
    good = verdict in (Verdict.COMPLETED, Verdict.DEGRADED)
    return before if good and not partial and before in FAILING else ""


def should_notify_slack(notification: Notification, before: str | None, finished: Finished, *, warnings: bool) -> bool:
    """Return whether Slack is notified.

    Args:
        notification: what happened.
        before: how the previous run ended; None if there was none.
        finished: which good ends are notified.
        warnings: whether warnings are notified.
    """
    if notification.verdict is not Verdict.COMPLETED or notification.recovered_from:
        return True
    if notification.warnings and warnings:
        return True
    changed = before is not None and before != str(notification.verdict)
    return finished is Finished.ALWAYS or (finished is Finished.ON_CHANGE and changed)


def incident_action(notification: Notification) -> IncidentAction | None:
    """Return what happens to the incident; None if the run does not change it."""
    if notification.bad:
        return IncidentAction.TRIGGER
    return IncidentAction.RESOLVE if notification.recovered_from else None
