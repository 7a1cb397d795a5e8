"""What people are told of one pipeline run: its answer in, a frozen notice out, scrubbed and bounded. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from flow_of_flows.alerts.redact import scrub
from flow_of_flows.errors import Cause, FlowsError
from flow_of_flows.runs.outcome import Outcome, StepState, Verdict, sentence
from flow_of_flows.runs.retry_policy import rule
from flow_of_flows.settings import Finished
from flow_of_flows.summary.run_summary import RunSummary, todo, warnings, why
from flow_of_flows.summary.terminal import PLAIN, Terminal

BAD = (Verdict.FAILED, Verdict.CANCELLED)
MOST_STEPS, MOST_NODES, MOST_WARNINGS = 8, 10, 10


@dataclass(frozen=True)
class Part:
    """A part of a step that failed: a dbt node, a step of a pipeline within."""

    name: str
    status: str
    message: str
    owner: str | None = None


@dataclass(frozen=True)
class Failure:
    """A failed step.

    Attributes:
        url: address of the child run, empty where it is not known.
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
class Notice:
    """The end of one pipeline run.

    Attributes:
        evidence: the same for the same end of the same run: what was sent of it is not sent again.
        recovered_from: how the run before ended, if it failed and this one did not.
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
        """The command that runs the rest of the run."""
        return self.terminal.command(f"flows resume {self.run}")

    @property
    def dedup_key(self) -> str:
        """The pipeline's own incident, at most 255 characters."""
        return f"flow-of-flows/{self.environment}/{self.pipeline}"[:255]

    @property
    def bad(self) -> bool:
        """Whether somebody has to act before the pipeline has done its work."""
        return self.verdict in BAD


def of_answer(
    answer: RunSummary, environment: str, links: Mapping[UUID, str], *, tries: int, error: BaseException | None = None
) -> Notice:
    """The notice of a run.

    Args:
        answer: what is known about it.
        environment: name of the installation.
        links: addresses of the run and of its children, as far as known.
        tries: how often the run has been started.
        error: what ended the run before its steps could.
    """
    failed = answer.failed
    found = [scrub(text.replace("`", "")) for text in warnings(answer.outcomes)]
    more = [f"and {len(found) - MOST_WARNINGS} more"] if len(found) > MOST_WARNINGS else []
    return Notice(
        pipeline=answer.pipeline,
        environment=environment,
        verdict=answer.verdict,
        run=answer.run,
        name=answer.name,
        summary="The run itself failed, not one of its steps" if error else sentence(answer.outcomes),
        evidence=evidence(answer.verdict, answer.outcomes, tries),
        url=links.get(answer.run, ""),
        failures=(
            *([_of_error(answer.pipeline, error)] if error else []),
            *(_failure(outcome, links) for outcome in failed[:MOST_STEPS]),
        ),
        more_failures=max(len(failed) - MOST_STEPS, 0),
        warnings=(*found[:MOST_WARNINGS], *more),
    )


def _of_error(pipeline: str, error: BaseException) -> Failure:
    """What ended a run; of a bug only its kind, for its words may be data."""
    if isinstance(error, FlowsError):
        return Failure(
            pipeline, str(error.cause), scrub(error.fact), _sentence(scrub(error.hint or rule(error.cause).advice))
        )
    why = f"The parent ended with {type(error).__name__}"
    return Failure(pipeline, str(Cause.ERROR), why, "Read the traceback in the run's log.")


def evidence(verdict: Verdict, outcomes: tuple[Outcome, ...], tries: int) -> str:
    """What a verdict rests on: the children that failed. A new attempt that fails is news, a new pod is not."""
    failed = sorted(f"{o.step}:{o.child.id}" for o in outcomes if o.state is StepState.FAILED and o.child)
    # Without a child that failed only the number of starts tells a person's Retry from the first time.
    bad = verdict in BAD
    basis = failed or ([f"start {tries}"] if bad else [])
    return hashlib.sha256("\n".join([str(verdict), *basis]).encode()).hexdigest()[:16]


def _failure(outcome: Outcome, links: Mapping[UUID, str]) -> Failure:
    problems = outcome.report.problems if outcome.report else ()
    return Failure(
        step=outcome.step,
        cause=str(outcome.cause),
        why=scrub(why(outcome).replace("\\|", "|")),
        todo=scrub(todo(outcome)),
        url=links.get(outcome.child.id, "") if outcome.child else "",
        parts=tuple(
            Part(scrub(p.name, 120), scrub(p.status, 40), scrub(p.message), scrub(p.owner, 80) if p.owner else None)
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


# How the run before may have ended so that this one is a recovery.
FAILING = frozenset({"failed", "cancelled", "crashed"})


def recovered_from(verdict: Verdict, before: str | None, *, partial: bool) -> str:
    """How the run before ended, if this one makes good for it; a run of some steps only does not."""
    good = verdict in (Verdict.COMPLETED, Verdict.DEGRADED)
    return before if good and not partial and before in FAILING else ""


def slack(notice: Notice, before: str | None, finished: Finished, *, warnings: bool) -> bool:
    """Whether Slack gets a message.

    Args:
        notice: what happened.
        before: how the run before ended, None if there was none.
        finished: which good ends are told.
        warnings: whether warnings are.
    """
    if notice.verdict is not Verdict.COMPLETED or notice.recovered_from:
        return True
    if notice.warnings and warnings:
        return True
    changed = before is not None and before != str(notice.verdict)
    return finished is Finished.ALWAYS or (finished is Finished.ON_CHANGE and changed)


def incident(notice: Notice) -> IncidentAction | None:
    """What happens to the incident; None for a run that changes nothing about it."""
    if notice.bad:
        return IncidentAction.TRIGGER
    return IncidentAction.RESOLVE if notice.recovered_from else None
