"""What earlier attempts mean for a step that is about to start."""

from __future__ import annotations

from uuid import UUID

import pytest
from prefect.client.schemas.objects import TERMINAL_STATES, StateType

from flow_of_flows.runs.outcome import ChildRun, Outcome, StepState
from flow_of_flows.runs.resume import Adopt, Decision, Reuse, Start, decide, key, parse_key
from tests.child_runs import child_run

RUN = UUID("00000000-0000-4000-8000-00000000000b")
DONE = child_run("build", begin=100)
FAILED = child_run("build", StateType.FAILED, begin=100)
ACTIVE = child_run("build", StateType.RUNNING, begin=100)


def completed(child: ChildRun) -> Outcome:
    """The outcome of a step whose child completed."""
    return Outcome(child.step, StepState.COMPLETED, child=child)


@pytest.mark.parametrize(
    ("own", "inherited", "before", "decision"),
    [
        ([], [], [], Start(1)),
        ([child_run("other", StateType.FAILED)], [], [], Start(1)),
        ([ACTIVE], [], [], Adopt(ACTIVE)),
        ([DONE], [], [], Reuse(DONE)),
        ([DONE], [], [completed(child_run("load", begin=99))], Reuse(DONE)),
        ([DONE], [], [completed(child_run("load", begin=101))], Start(2)),
        ([DONE], [], [Outcome("load", StepState.LEFT_OUT)], Reuse(DONE)),
        ([FAILED], [], [], Start(2, continues=FAILED)),
        ([], [DONE], [], Reuse(DONE)),
        ([], [FAILED], [], Start(1, continues=FAILED)),
        ([], [ACTIVE], [], Adopt(ACTIVE)),
        ([], [DONE], [completed(child_run("load", begin=101))], Start(1)),
    ],
    ids=[
        "nothing yet",
        "only another step's",
        "active",
        "completed",
        "completed, input older",
        "completed, input newer",
        "completed, input left out",
        "failed",
        "inherited completed",
        "inherited failed",
        "inherited active",
        "inherited completed, input newer",
    ],
)
def test_decision(own: list[ChildRun], inherited: list[ChildRun], before: list[Outcome], decision: Decision) -> None:
    """Completed is reused unless its input is newer, active is adopted, anything else gets the next attempt."""
    assert decide("build", own, inherited, before) == decision


def test_the_newest_attempt_counts_in_whatever_order_the_api_gives_them() -> None:
    """Attempt 3 follows attempt 2, which is continued."""
    second = child_run("build", StateType.CRASHED, attempt=2, begin=200)
    assert decide("build", [second, FAILED], [], []) == Start(3, continues=second)


def test_an_own_attempt_is_newer_than_an_inherited_one() -> None:
    """Attempts are numbered within a run; what the run before left is continued only by the first."""
    own = child_run("build", StateType.FAILED, begin=300)
    assert decide("build", [own], [DONE, FAILED], []) == Start(2, continues=own)


def test_of_several_inherited_attempts_the_last_counts() -> None:
    """The runs it resumes come oldest first."""
    newer = child_run("build", StateType.COMPLETED, begin=400)
    assert decide("build", [], [FAILED, newer], []) == Reuse(newer)


@pytest.mark.parametrize("state", list(StateType))
def test_every_state_of_prefect_is_decided(state: StateType) -> None:
    """Completeness: only Completed is reused, and a state that is not final is adopted."""
    child = child_run("build", state)
    expected: Decision = Adopt(child)
    if state is StateType.COMPLETED:
        expected = Reuse(child)
    elif state in TERMINAL_STATES:
        expected = Start(2, continues=child)
    assert decide("build", [child], [], []) == expected


def test_a_key_is_read_back() -> None:
    """The key carries run, step and attempt."""
    text = key(RUN, "dbt-build", 12)
    assert text == "00000000-0000-4000-8000-00000000000b/dbt-build/12"
    assert parse_key(text) == (RUN, "dbt-build", 12)


@pytest.mark.parametrize(
    "text",
    [None, "", "scheduled 2026-01-01", f"{RUN}/dbt-build", f"{RUN}/dbt-build/one", f"{RUN}/a/b/1", "run/dbt-build/1"],
)
def test_a_key_of_somebody_else_is_none_of_ours(text: str | None) -> None:
    """A run of the UI, of a schedule or of another tool is not taken for a child."""
    assert parse_key(text) is None
