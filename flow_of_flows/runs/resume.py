"""What earlier attempts mean for a step that is about to start: child runs in, a decision out. Pure.

Keys are `{pipeline run id}/{step}/{attempt}`, so a parent that starts again finds what it has started before.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from uuid import UUID

from prefect.client.schemas.objects import TERMINAL_STATES, State, StateType

from flow_of_flows.runs.outcome import ChildRun, Outcome


def key(pipeline_run: UUID, step: str, attempt: int) -> str:
    """Return the idempotency key of one attempt.

    Args:
        pipeline_run: id of the pipeline run.
        step: name of the step.
        attempt: number of the attempt, from 1.
    """
    return f"{pipeline_run}/{step}/{attempt}"


def parse_key(text: str | None) -> tuple[UUID, str, int] | None:
    """Return pipeline run, step and attempt of a key; None for another kind of key."""
    parts = (text or "").split("/")
    try:
        run, step, attempt = parts
        return UUID(run), step, int(attempt)
    except ValueError:
        return None


@dataclass(frozen=True)
class Reuse:
    """The step's child completed; nothing to do."""

    child: ChildRun


@dataclass(frozen=True)
class Adopt:
    """The step's child is still at work; wait for it."""

    child: ChildRun


@dataclass(frozen=True)
class Start:
    """A new child run is needed.

    Attributes:
        attempt: its number within this pipeline run.
        continues: the attempt before, in this run or in the one it resumes.
    """

    attempt: int
    continues: ChildRun | None = None


Decision = Reuse | Adopt | Start


def decide(step: str, own: Iterable[ChildRun], inherited: Sequence[ChildRun], before: Iterable[Outcome]) -> Decision:
    """Decide what to do with a step whose turn it is.

    Args:
        step: its name.
        own: children of this pipeline run.
        inherited: children of the runs it resumes, those of the newest run last.
        before: outcomes of the steps it comes after.

    A completed child is used again unless a step before it has been started anew since: then its input has changed.
    """
    own_attempts = sorted((child for child in own if child.step == step), key=lambda child: child.attempt)
    inherited_attempts = [child for child in inherited if child.step == step]
    latest = (inherited_attempts + own_attempts)[-1] if inherited_attempts or own_attempts else None
    attempt = own_attempts[-1].attempt + 1 if own_attempts else 1
    if latest is None:
        return Start(attempt)
    if not latest.is_final:
        return Adopt(latest)
    if latest.is_completed:
        stale = any(outcome.child and outcome.child.created > latest.created for outcome in before)
        return Start(attempt) if stale else Reuse(latest)
    return Start(attempt, continues=latest)


# Begins the message of the state that restarts a run whose process or pod died; stored, so it keeps this word.
RESTARTED = "Revived"
# Message of a run that crashed with the session on this machine: nothing restarts it.
ORPHANED = "Its process ended with the session that it ran in."


def began(states: Iterable[State]) -> datetime:
    """Return when the present generation of a run began; the earliest time where it was never retried."""
    begins = [
        state.timestamp
        for before, state in pairwise(ordered(states))
        if before.type in TERMINAL_STATES and state.type is StateType.SCHEDULED and not is_restart(state)
    ]
    return begins[-1] if begins else datetime.min.replace(tzinfo=UTC)


def restarts(states: Iterable[State]) -> int:
    """Return how often the present generation was restarted because its process or pod died; resumes do not count."""
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


def is_restart(state: State) -> bool:
    """Return whether a state restarts a run whose process or pod died."""
    return (state.message or "").startswith(RESTARTED)


def ordered(states: Iterable[State]) -> list[State]:
    """Return the states of a run, oldest first."""
    return sorted(states, key=_when)


def _when(state: State) -> datetime:
    return state.timestamp
