"""What a run's states say to a new pod."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from prefect.client.schemas.objects import State, StateType

from flow_of_flows.limits import MAX_POD_CRASHES, MAX_POD_STARTS
from flow_of_flows.pod.acquisition import exhausted, submission_of, submitted
from flow_of_flows.pod.lease import FencingToken

BEGIN = datetime(2026, 11, 25, tzinfo=UTC)


def history(text: str, crash: str = "gone") -> list[State]:
    """States by their first letters (X is Cancelled), a second apart."""
    types = {kind.value[0]: kind for kind in StateType if kind.value[0] in "SPRF"} | {
        "P": StateType.PENDING,
        "C": StateType.CRASHED,
        "D": StateType.COMPLETED,
        "X": StateType.CANCELLED,
    }
    return [
        State(type=types[letter], timestamp=BEGIN + timedelta(seconds=second), message=crash if letter == "C" else None)
        for second, letter in enumerate(text)
    ]


def test_the_submission_is_the_number_of_times_that_the_run_was_scheduled() -> None:
    """The same at each pod of one submission, and more for a later one."""
    assert [submission_of(history(text)) for text in ("P", "SP", "SSPR", "SPRSP")] == [0, 1, 2, 2]


@pytest.mark.parametrize("decided", ["F", "D", "X"])
def test_crashes_are_counted_since_somebody_last_decided_to_start_it(decided: str) -> None:
    """So that Retry works on a run that was stopped for them."""
    loop = "SPRC" * (MAX_POD_CRASHES + 1) + "SP"
    assert exhausted(history("SPRC" * MAX_POD_CRASHES + "SP")) is None
    assert exhausted(history(loop)) == (
        "crashed: the run crashed 4 times and is not started again; see its log, correct the cause, retry it. "
        "The last crash: gone"
    )
    assert exhausted(history(loop + decided + "SP")) is None


def test_the_cause_of_the_last_crash_is_that_of_the_run() -> None:
    """Its rule then says what to do."""
    message = exhausted(history("SPRC" * (MAX_POD_CRASHES + 1), "out-of-memory: at its limit"))
    assert message is not None
    assert message.startswith("out-of-memory: the run crashed 4 times")


def test_a_run_that_is_handed_back_over_and_over_is_stopped_as_well() -> None:
    """By its starts."""
    assert exhausted(history("SPR" * (MAX_POD_STARTS - 1))) is None
    assert exhausted(history("SPR" * MAX_POD_STARTS)) == (
        "crashed: the run was started 10 times without an end and is not started again; "
        "see what ends its pods, then retry it"
    )


def test_a_submission_begins_with_its_first_pending_state() -> None:
    """That is when the Job was made; nothing where no worker submitted the run."""
    assert submitted(history("SPRSPPR")) == BEGIN + timedelta(seconds=4)
    assert submitted(history("SPRS")) is None


def test_fencing_tokens_are_in_the_order_of_submissions_and_pods() -> None:
    """And a token is read as it is written."""
    tokens = [FencingToken(1), FencingToken(1, 1), FencingToken(1, 2), FencingToken(2), FencingToken(10)]
    assert [FencingToken.parse(str(token)) for token in reversed(tokens)] == sorted(tokens, reverse=True)


def test_a_build_that_waits_for_a_schema_has_started_once() -> None:
    """Though its state changes twice more; its type stays Running."""
    waiting = State(type=StateType.RUNNING, name="WaitingForSchema", timestamp=BEGIN)
    waited = [*history("SPR"), waiting, *history("R")]
    assert exhausted(waited * (MAX_POD_STARTS - 1)) is None
    assert exhausted(waited * MAX_POD_STARTS) is not None
