"""Whether anybody is told: a notice, the end of the run before and the settings in, yes or no out. Pure."""

from __future__ import annotations

from enum import StrEnum

from flow_of_flows.alerts.notification import Notice
from flow_of_flows.runs.outcome import Verdict
from flow_of_flows.settings import Finished


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
