"""Which time of a child has passed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from prefect.client.schemas.objects import StateType

from flow_of_flows.dispatch.watcher import Waiting, was_overdue
from flow_of_flows.limits import CANCEL_GRACE
from flow_of_flows.runs.causes import Overdue
from flow_of_flows.runs.outcome import ChildRun
from tests.child_runs import MINUTE, SIX, child_run

PENDING = 15 * MINUTE
NEW = child_run("load", StateType.SCHEDULED)


def begun(minute: int, state: StateType = StateType.PENDING) -> ChildRun:
    """The child, since so many minutes in a state."""
    return replace(child_run("load", state), since=SIX + minute * MINUTE)


def test_the_time_of_pending_begins_with_the_state_and_goes_on_while_kubernetes_looks_for_a_place() -> None:
    """InfrastructurePending is a later state of the same kind."""
    waiting = Waiting(NEW, SIX + 120 * MINUTE).updated(begun(2)).updated(begun(3))
    assert waiting.pending_since == SIX + 2 * MINUTE
    assert waiting.passed(SIX + 16 * MINUTE, PENDING) is None
    assert waiting.passed(SIX + 17 * MINUTE, PENDING) is Overdue.PENDING


@pytest.mark.parametrize("seen", [None, begun(4, StateType.SCHEDULED)], ids=["runs", "waits for a worker"])
def test_a_child_that_runs_or_that_no_worker_has_taken_is_not_pending(seen: ChildRun | None) -> None:
    """What is left is the step's own time."""
    waiting = Waiting(NEW, SIX + 120 * MINUTE).updated(begun(2)).updated(seen)
    assert waiting.passed(SIX + 119 * MINUTE, PENDING) is None
    assert waiting.passed(SIX + 120 * MINUTE, PENDING) is Overdue.RUNNING


def test_a_child_that_was_asked_to_stop_is_not_asked_again() -> None:
    """It has its grace, from then on."""
    now = SIX + 20 * MINUTE
    waiting = Waiting(NEW, SIX + 120 * MINUTE).cancelled(Overdue.PENDING, now)
    assert (waiting.overdue, waiting.deadline) == (Overdue.PENDING, now + CANCEL_GRACE)
    assert waiting.passed(now + 2 * CANCEL_GRACE, PENDING) is None


@pytest.mark.parametrize(
    ("state", "minutes", "run_count", "overdue"),
    [
        (StateType.CANCELLED, 121, 1, Overdue.RUNNING),
        (StateType.CANCELLED, 16, 0, Overdue.PENDING),
        (StateType.CANCELLED, 16, 1, None),
        (StateType.CANCELLED, 5, 0, None),
        (StateType.CRASHED, 121, 1, None),
    ],
)
def test_a_parent_that_was_started_again_knows_which_time_had_passed(
    state: StateType, minutes: int, run_count: int, overdue: Overdue | None
) -> None:
    """By the times that the API tells."""
    child = replace(child_run("load", state, seconds=60 * minutes), run_count=run_count)
    assert was_overdue(child, 120 * MINUTE, PENDING) is overdue
