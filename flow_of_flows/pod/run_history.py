"""What the states of a run say to a new pod: its epoch, whether it was started too often, when its Job began. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise

from prefect.client.schemas.objects import State, StateType

from flow_of_flows.child_report import WAITING_FOR_SCHEMA
from flow_of_flows.errors import Cause
from flow_of_flows.runs.suspension import is_waiting

STARTS = 10
CRASHES = 3
# Time for an end in order before Kubernetes ends the pod: a quarter of the deadline, but not more than this.
MARGIN = 45.0
# Somebody who starts the run again after one of these has decided so; counting begins anew.
DECIDED = {StateType.FAILED, StateType.COMPLETED, StateType.CANCELLED, StateType.PAUSED}


def epoch_of(history: Sequence[State]) -> int:
    """How often the run was scheduled: the same for each pod of one submission, more with each reschedule."""
    return sum(state.type is StateType.SCHEDULED for state in history)


def exhausted(history: Sequence[State]) -> str | None:
    """The message of a run that was started too often since somebody last decided so; None if it may start."""
    recent: list[State] = []
    for state in history:
        recent = [] if state.type in DECIDED and not is_waiting(state) else [*recent, state]
    crashes = [state for state in recent if state.type is StateType.CRASHED]
    count = starts(recent)
    if len(crashes) > CRASHES:
        last = crashes[-1].message or ""
        return (Cause.said_in(last) or Cause.CRASHED).say(
            f"the run crashed {len(crashes)} times and is not started again; see its log, correct the cause, retry it. "
            f"The last crash: {last}"
        )
    if count >= STARTS:
        return Cause.CRASHED.say(
            f"the run was started {count} times without an end and is not started again; "
            "see what ends its pods, then retry it"
        )
    return None


def starts(history: Sequence[State]) -> int:
    """Return how often a process began to work on a run."""
    return sum(_is_start(before, state) for before, state in pairwise([None, *history]))


def _is_start(before: State | None, state: State | None) -> bool:
    """Whether a process began with this state; a build that waits for a schema changes its own state twice."""
    if state is None or state.type is not StateType.RUNNING:
        return False
    return WAITING_FOR_SCHEMA not in (state.name, before.name if before else None)


def submitted(history: Sequence[State]) -> datetime | None:
    """When the worker began with this submission, just before it made the Job; None where no worker did."""
    first: datetime | None = None
    for state in history:
        if state.type is StateType.SCHEDULED:
            first = None
        elif state.type is StateType.PENDING:
            first = first or state.timestamp
    return first


def seconds_left(deadline: int | None, history: Sequence[State], taken: datetime | None) -> float | None:
    """Time until the run has to end: somewhat before Kubernetes ends the Job, which began when it was submitted.

    Args:
        deadline: the Job's, seconds.
        history: states of the run.
        taken: when the pod claimed it, by the server's clock, as the states are: this machine's may be wrong.
    """
    if deadline is None:
        return None
    begun = submitted(history)
    past = max((taken - begun).total_seconds(), 0) if begun and taken else 0
    return deadline - min(MARGIN, deadline / 4) - past
