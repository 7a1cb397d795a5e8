"""What earlier attempts mean for a step that is about to start, and what the run's own state means. Pure.

Keys are `{pipeline run id}/{step}/{attempt}`, so a parent that starts again finds what it has started before.

Prefect knows two ways to hold a run. Suspended ends its process and starts a new one when somebody resumes it; Paused
keeps the process. The children that run finish in both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from itertools import pairwise
from typing import Any, cast
from uuid import UUID

from prefect.client.schemas.objects import TERMINAL_STATES, State, StateType
from prefect.context import FlowRunContext
from prefect.states import Suspended

from flow_of_flows.runs.outcome import ChildRun, Outcome

# Name of the state of a run that waits for an earlier run of its pipeline; of Prefect's type Paused.
WAITING = "Waiting"


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


class Stance(Enum):
    """What a dispatcher does about the state of its own run."""

    GO = "start what can start"
    HOLD = "start nothing, keep the process"
    SUSPEND = "end the process, for a resume starts another one"
    YIELD = "end the process, for another one has the run"
    STOP = "the run is over"


def stance(state: State[Any] | None) -> Stance:
    """Return what a state of the pipeline's own run asks for."""
    if state is None or state.is_running() or is_waiting(state):
        return Stance.GO
    if state.is_paused():
        return Stance.SUSPEND if state.state_details.pause_reschedule else Stance.HOLD
    if state.is_final():
        return Stance.STOP
    return Stance.HOLD if state.is_cancelling() else Stance.YIELD


def is_waiting(state: State[Any] | None) -> bool:
    """Return whether a run waits for an earlier one: nobody has paused it."""
    return state is not None and state.is_paused() and state.name == WAITING


def is_pause(state: State[Any] | None) -> bool:
    """Return whether somebody has suspended or paused a run."""
    return state is not None and state.is_paused() and state.name != WAITING


def suspended(state: State[Any]) -> State[Any]:
    """Return a Paused state as one that needs no process, with the same message and the same time limit."""
    expires = state.state_details.pause_timeout
    # A time of its own, for Prefect counts a timeout from now.
    return Suspended(message=state.message, pause_expiration_time=expires)


def is_held(states: Iterable[State[Any]]) -> bool:
    """Return whether a run was paused, lost its process and was restarted, but never resumed."""
    held = False
    for before, state in pairwise([None, *ordered(states)]):
        if state is None:
            continue
        if is_pause(state):
            held = True
        elif state.is_running():
            held = held and not (before is not None and before.is_paused())
        elif state.is_scheduled():
            held = held and is_restart(state)
        elif state.is_final():
            held = held and state.is_crashed()
    return held


def time_paused(states: Iterable[State[Any]], now: datetime) -> timedelta:
    """Return how long a run has been paused or suspended in all; it does not count against its step's timeout.

    Args:
        states: those of the run, in any order.
        now: the time.
    """
    known = ordered(states)
    ends = [*(state.timestamp for state in known[1:]), now]
    spans = (end - state.timestamp for state, end in zip(known, ends, strict=False) if is_pause(state))
    return sum(spans, timedelta())


def forget_request() -> None:
    """Clear Prefect's own note that this process has to end.

    Prefect takes every state named Suspended for one that a new process follows. Where the state does not say so
    (`pause_reschedule`), a resume goes on in this process, which Prefect would end with the run still Running.
    """
    context = FlowRunContext.get()
    if context is not None:
        context.flow_run_suspension_request.mark_requested(cast("State[Any]", None))
