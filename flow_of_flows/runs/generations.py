"""Which part of a run's history is its present pass: states in, a time out. Pure; called by the dispatcher.

A pass begins with the run, and again when somebody retries it. A run that is revived, because its pod died, goes on
with the pass that it was in: what failed in it is not tried more often because the parent was lost.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import pairwise

from prefect.client.schemas.objects import TERMINAL_STATES, State, StateType

# Begins the message of a state that brings back a run whose process or pod died.
REVIVED = "Revived"


def began(states: Iterable[State]) -> datetime:
    """When the present pass began; before everything where the run was never retried."""
    begins = [
        state.timestamp
        for before, state in pairwise(ordered(states))
        if before.type in TERMINAL_STATES and state.type is StateType.SCHEDULED and not is_revival(state)
    ]
    return begins[-1] if begins else datetime.min.replace(tzinfo=UTC)


def restarts(states: Iterable[State]) -> int:
    """How often the present pass was begun again, because its process or pod was gone; a resumed pause is none."""
    known = ordered(states)
    since = began(known)
    starts, resumed = 0, False
    for state in known:
        if state.timestamp < since:
            continue
        if state.type is StateType.RUNNING:
            starts, resumed = starts + (not resumed), False
        elif state.type in (StateType.PAUSED, StateType.CRASHED):
            resumed = state.type is StateType.PAUSED
    return max(0, starts - 1)


def is_revival(state: State) -> bool:
    """Whether a state brings back a run whose process or pod died."""
    return (state.message or "").startswith(REVIVED)


def ordered(states: Iterable[State]) -> list[State]:
    """The states of a run, oldest first."""
    return sorted(states, key=_when)


def _when(state: State) -> datetime:
    return state.timestamp
