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
    ordered = sorted(states, key=_when)
    begins = [
        state.timestamp
        for before, state in pairwise(ordered)
        if before.type in TERMINAL_STATES
        and state.type is StateType.SCHEDULED
        and not (state.message or "").startswith(REVIVED)
    ]
    return begins[-1] if begins else datetime.min.replace(tzinfo=UTC)


def restarts(states: Iterable[State]) -> int:
    """How often the present pass was begun again, because its process or pod was gone."""
    known = list(states)
    since = began(known)
    return max(0, sum(state.type is StateType.RUNNING and state.timestamp >= since for state in known) - 1)


def _is_revival(state: State) -> bool:
    return (state.message or "").startswith(REVIVED)


def _when(state: State) -> datetime:
    return state.timestamp
