"""What a sweep can find and what it can do about it: two closed enums, and the finding that joins them. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from uuid import UUID

from flow_of_flows.errors import Cause
from flow_of_flows.sweeper.snapshot import KubernetesJob


class FindingKind(StrEnum):
    """What is wrong. `ACTIONS` has what may be done about each."""

    NEVER_STARTED = "never-started"
    CANNOT_START = "cannot-start"
    GONE = "gone"
    ORPHAN = "orphan"
    LEFTOVER = "leftover"
    STUCK_CANCELLING = "stuck-cancelling"
    DEAD_SLOTS = "dead-slots"
    CRASHED_EARLY = "crashed-early"
    STRANGE_JOB = "strange-job"
    LATE = "late"
    PAUSED = "paused"
    ELSEWHERE = "elsewhere"


class SweepAction(StrEnum):
    """What is done."""

    RETRY = "starts again"
    CRASH = "ends as Crashed"
    CANCEL = "is asked to stop"
    END = "ends as Cancelled"
    DELETE = "Job is deleted"
    FREE = "slots are freed"
    REPORT = "a person decides"


ACTIONS: dict[FindingKind, frozenset[SweepAction]] = {
    FindingKind.NEVER_STARTED: frozenset({SweepAction.RETRY, SweepAction.CRASH}),
    FindingKind.CANNOT_START: frozenset({SweepAction.CRASH}),
    FindingKind.GONE: frozenset({SweepAction.RETRY, SweepAction.CRASH}),
    FindingKind.ORPHAN: frozenset({SweepAction.CANCEL}),
    FindingKind.LEFTOVER: frozenset({SweepAction.DELETE}),
    FindingKind.STUCK_CANCELLING: frozenset({SweepAction.END}),
    FindingKind.DEAD_SLOTS: frozenset({SweepAction.FREE}),
    FindingKind.CRASHED_EARLY: frozenset({SweepAction.RETRY}),
    FindingKind.STRANGE_JOB: frozenset({SweepAction.REPORT}),
    FindingKind.LATE: frozenset({SweepAction.REPORT}),
    FindingKind.PAUSED: frozenset({SweepAction.REPORT}),
    FindingKind.ELSEWHERE: frozenset({SweepAction.REPORT}),
}


@dataclass(frozen=True)
class SweepFinding:
    """One thing that is wrong.

    Attributes:
        subject: the run, Job or limit, by its name.
        why: a sentence without its full stop.
        run: the run that it is about, and the id of the state that was judged.
        cause: what the run's state message begins with, where it ends.
        jobs: the Jobs that go with it.
        limit: the limit whose slots are freed, and how many remain taken.
    """

    kind: FindingKind
    action: SweepAction
    subject: str
    why: str
    run: UUID | None = None
    state: UUID | None = None
    cause: Cause | None = None
    jobs: tuple[KubernetesJob, ...] = field(default=())
    limit: UUID | None = None
    remain: int = 0

    @property
    def message(self) -> str:
        """Return the state message that the run gets."""
        text = f"{self.why} (found by the sweeper)"
        return self.cause.say(text) if self.cause else text

    def __str__(self) -> str:
        return f"{self.kind}: {self.subject}: {self.why}; {self.action}"


def minutes(seconds: float) -> str:
    """Return an age as people say it."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"  # noqa: PLR2004 - two minutes
