"""What the state of a pipeline's own run means for its dispatcher: start steps, hold them, or leave the run alone.

Prefect knows two ways to hold a run. Suspended ends its process and starts a new one when somebody resumes it; Paused
keeps the process. The children that run finish in both. Pure, except `forget_request`.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import Enum
from itertools import pairwise
from typing import Any, cast

from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.states import Suspended

from flow_of_flows.runs.resume import is_restart, ordered

# Name of the state of a run that waits for an earlier run of its pipeline; of Prefect's type Paused.
WAITING = "Waiting"


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
