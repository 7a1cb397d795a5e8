"""What the states of a pipeline's own run ask of its dispatcher."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from prefect.client.schemas.objects import State, StateType
from prefect.states import Cancelling, Completed, Failed, Paused, Pending, Running, Scheduled, Suspended

from flow_of_flows.runs.resume import RESTARTED, Stance, is_held, restarts, stance, suspended, time_paused
from tests.child_runs import MINUTE, SIX


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (None, Stance.GO),
        (Running(), Stance.GO),
        (Suspended(), Stance.SUSPEND),
        (Paused(), Stance.HOLD),
        (State(type=StateType.PAUSED, name="Suspended"), Stance.HOLD),
        (Cancelling(), Stance.HOLD),
        (Scheduled(name="Resuming"), Stance.YIELD),
        (Pending(), Stance.YIELD),
        (Failed(), Stance.STOP),
        (Completed(), Stance.STOP),
    ],
    ids=lambda value: value.name if isinstance(value, State) else None,
)
def test_each_state_of_the_own_run_asks_for_one_thing(state: State[Any] | None, expected: Stance) -> None:
    """Suspended by name alone keeps its process: a resume would start no other."""
    assert stance(state) is expected


def test_a_paused_run_becomes_a_suspended_one_with_its_message_and_its_time() -> None:
    """A resume then starts a process."""
    made = suspended(Paused(message="until noon", pause_expiration_time=SIX))
    assert (made.name, made.message, made.state_details.pause_timeout) == ("Suspended", "until noon", SIX)
    assert stance(made) is Stance.SUSPEND
    assert suspended(Paused()).state_details.pause_timeout is None


def history(*words: str) -> list[State[Any]]:
    """States in a row, a minute apart, newest first, as no reader may expect them."""
    kinds: dict[str, tuple[StateType, str, str]] = {
        "scheduled": (StateType.SCHEDULED, "Scheduled", ""),
        "resuming": (StateType.SCHEDULED, "Resuming", ""),
        "revived": (StateType.SCHEDULED, "AwaitingRetry", f"{RESTARTED} by a test"),
        "retried": (StateType.SCHEDULED, "AwaitingRetry", ""),
    }
    states = []
    for number, word in enumerate(words):
        kind, name, message = kinds[word] if word in kinds else (StateType(word.upper()), word.capitalize(), "")
        states.append(State(type=kind, name=name, message=message, timestamp=SIX + number * MINUTE))
    return states[::-1]


BEGAN = ("scheduled", "pending", "running")
BACK = ("revived", "pending", "running")


@pytest.mark.parametrize(
    ("words", "held"),
    [
        (BEGAN, False),
        ((*BEGAN, "paused"), True),
        ((*BEGAN, "paused", "running"), False),
        ((*BEGAN, "paused", "resuming", "pending", "running"), False),
        ((*BEGAN, "paused", "crashed", *BACK), True),
        ((*BEGAN, "paused", "running", "crashed", *BACK), False),
        ((*BEGAN, "paused", "crashed", "retried", "pending", "running"), False),
        ((*BEGAN, "paused", "failed", *BACK), False),
    ],
    ids=["began", "paused", "resumed", "resumed anew", "revived", "lost later", "retried", "expired"],
)
def test_a_run_that_lost_its_process_while_it_was_paused_is_still_paused(words: tuple[str, ...], *, held: bool) -> None:
    """Until a person resumes or retries it; a revival is not a decision of a person."""
    assert is_held(history(*words)) is held


def test_the_time_of_all_pauses_is_added() -> None:
    """One that goes on is counted up to now."""
    known = history(*BEGAN, "paused", "running", "paused", "resuming", "pending", "running")
    assert time_paused(known, SIX + 60 * MINUTE) == 2 * MINUTE
    assert time_paused(history(*BEGAN, "paused"), SIX + 60 * MINUTE) == 57 * MINUTE
    assert time_paused(history(*BEGAN), SIX + 60 * MINUTE) == timedelta()


@pytest.mark.parametrize(
    ("words", "count"),
    [
        ((*BEGAN, "paused", "running"), 0),
        ((*BEGAN, "paused", "resuming", "pending", "running", "paused", "running"), 0),
        ((*BEGAN, "crashed", *BACK), 1),
        ((*BEGAN, "paused", "crashed", *BACK), 1),
        ((*BEGAN, "paused", "running", "crashed", *BACK), 1),
    ],
    ids=["paused", "suspended and paused", "lost", "lost in a pause", "lost after a pause"],
)
def test_a_resume_is_no_loss_of_the_process(words: tuple[str, ...], count: int) -> None:
    """The answers count only processes and pods that were lost."""
    assert restarts(history(*words)) == count
