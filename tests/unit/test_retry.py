"""Whether, when and how a lost child is tried again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from prefect.client.schemas.objects import State, StateType
from pydantic import JsonValue

from flow_of_flows.dispatch import retries
from flow_of_flows.dispatch.retries import NextAttempt, RetryLimits, again, tried
from flow_of_flows.errors import Cause
from flow_of_flows.runs.causes import POLICY
from flow_of_flows.runs.outcome import Attempt
from flow_of_flows.runs.resume import RESTARTED, Start, began, restarts
from tests.child_runs import SIX, child_run

LIMITS = RetryLimits(nodes={"node_selector": {"lifecycle": "on-demand"}})
SMALL: Mapping[str, JsonValue] = {"memory_request": "512Mi", "memory_limit": "1Gi"}


def attempts(*causes: Cause, **variables: JsonValue) -> list[Attempt]:
    """Attempts that ended by these causes, the last one with job variables of its own."""
    made = [
        Attempt(child_run("load", StateType.CRASHED, attempt=number, begin=100 * number), cause)
        for number, cause in enumerate(causes, 1)
    ]
    made[-1] = replace(made[-1], child=replace(made[-1].child, job_variables=variables))
    return made


@pytest.mark.parametrize("cause", list(Cause))
def test_each_cause_is_retried_as_often_as_its_rule_says(cause: Cause) -> None:
    """Whatever the cause, the next attempt has the next number, and there is a last one."""
    retries = POLICY[cause].retries
    for count in range(1, retries + 1):
        lost = attempts(*[cause] * count)
        found = again(lost, SMALL, LIMITS)
        assert found is not None
        assert found.start == Start(count + 1, continues=lost[-1].child)
    assert again(attempts(*[cause] * (retries + 1)), SMALL, LIMITS) is None


def test_causes_are_counted_each_by_itself() -> None:
    """A pod that was preempted and then ran out of memory has its first retry for that."""
    lost = attempts(Cause.PREEMPTED, Cause.PREEMPTED, Cause.OUT_OF_MEMORY)
    assert again(lost, SMALL, LIMITS) == NextAttempt(
        Start(4, continues=lost[-1].child), 0.0, {"memory_request": "1Gi", "memory_limit": "2Gi"}
    )


def test_pauses_are_those_of_the_rule() -> None:
    """A platform that does not answer is given more time each time."""
    pauses = [again(attempts(*[Cause.PLATFORM] * count), {}, LIMITS) for count in (1, 2)]
    assert [found.pause for found in pauses if found] == [15.0, 60.0]


def test_a_factor_makes_pauses_longer_or_none() -> None:
    """A setting; tests use 0."""
    lost = attempts(Cause.PLATFORM, Cause.PLATFORM)
    pauses = [again(lost, {}, RetryLimits(pause_factor=factor)) for factor in (0, 0.5, 2)]
    assert [found.pause for found in pauses if found] == [0.0, 30.0, 120.0]


def test_other_nodes_are_asked_for_over_what_the_attempt_had() -> None:
    """Memory that an earlier retry has raised stays."""
    found = again(attempts(Cause.PREEMPTED, memory_limit="2Gi"), {}, LIMITS)
    assert found is not None
    assert found.job_variables == {"memory_limit": "2Gi", "node_selector": {"lifecycle": "on-demand"}}


def test_a_child_that_was_given_up_is_not_started_again() -> None:
    """It may still be at work; two at a time is worse than none."""
    lost = [Attempt(child_run("load", StateType.CANCELLING), Cause.NEVER_STARTED)]
    assert again(lost, {}, LIMITS) is None


@pytest.mark.parametrize(
    ("had", "most", "then"),
    [
        ({"memory_limit": "1Gi"}, "16Gi", {"memory_limit": "2Gi"}),
        (
            {"memory_limit": "1.5Gi", "memory_request": "300Mi"},
            "16Gi",
            {"memory_limit": "3Gi", "memory_request": "600Mi"},
        ),
        (
            {"memory_limit": "12Gi", "memory_request": "12Gi"},
            "16Gi",
            {"memory_limit": "16Gi", "memory_request": "16Gi"},
        ),
        ({"memory_limit": "500M"}, "16Gi", {"memory_limit": "1000000000"}),
        ({"memory_limit": "16Gi"}, "16Gi", None),
        ({"memory_limit": "32Gi"}, "16Gi", None),
        ({"memory_request": "1Gi"}, "16Gi", None),
        ({"memory_limit": "much"}, "16Gi", None),
        ({}, "16Gi", None),
    ],
)
def test_memory_is_doubled_up_to_a_bound(
    had: dict[str, JsonValue], most: str, then: dict[str, JsonValue] | None
) -> None:
    """None: nothing can be raised, so the same again would end the same."""
    assert retries.doubled(had, most) == then


@pytest.mark.parametrize(
    ("causes", "had", "text"),
    [
        ([Cause.ERROR], {}, ""),
        ([Cause.CRASHED, Cause.CRASHED], {}, "attempt 2 of 2"),
        ([Cause.OUT_OF_MEMORY] * 3, {"memory_limit": "2Gi"}, "attempt 3 of 3; out of memory at 2Gi"),
        (
            [Cause.OUT_OF_MEMORY],
            {"memory_limit": "16Gi"},
            "out of memory at 16Gi, which is FLOWS_RETRY_MEMORY_MAX",
        ),
        ([Cause.OUT_OF_MEMORY], {}, ""),
    ],
)
def test_the_reader_is_told_what_was_tried(causes: list[Cause], had: dict[str, JsonValue], text: str) -> None:
    """How many attempts, and for memory how much there was."""
    assert tried(attempts(*causes), had, LIMITS) == text


def states(*kinds: tuple[StateType, str]) -> list[State]:
    """A history, a minute between each two."""
    return [
        State(type=kind, message=message, timestamp=SIX + timedelta(minutes=number))
        for number, (kind, message) in enumerate(kinds)
    ]


SCHEDULED, RUNNING, CRASHED = (StateType.SCHEDULED, ""), (StateType.RUNNING, ""), (StateType.CRASHED, "killed")
BACK = (StateType.SCHEDULED, f"{RESTARTED} by the server")
NEVER = datetime.min.replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("history", "begins"),
    [
        ([SCHEDULED, RUNNING], NEVER),
        ([SCHEDULED, RUNNING, SCHEDULED, RUNNING], NEVER),
        ([SCHEDULED, RUNNING, CRASHED, BACK, RUNNING], NEVER),
        ([SCHEDULED, RUNNING, CRASHED, SCHEDULED, RUNNING], SIX + timedelta(minutes=3)),
        ([SCHEDULED, RUNNING, (StateType.FAILED, "bad"), SCHEDULED, RUNNING], SIX + timedelta(minutes=3)),
        (
            [SCHEDULED, RUNNING, (StateType.FAILED, "bad"), SCHEDULED, RUNNING, CRASHED, BACK],
            SIX + timedelta(minutes=3),
        ),
    ],
    ids=["first", "rescheduled", "revived", "retried after a crash", "retried", "retried, then revived"],
)
def test_a_pass_begins_when_somebody_retries_the_run(history: list[tuple[StateType, str]], begins: datetime) -> None:
    """A pod that was lost begins none, in whatever order the API tells the states."""
    assert began(reversed(states(*history))) == begins


@pytest.mark.parametrize(
    ("history", "times"),
    [
        ([SCHEDULED], 0),
        ([SCHEDULED, RUNNING], 0),
        ([SCHEDULED, RUNNING, SCHEDULED, RUNNING], 1),
        ([SCHEDULED, RUNNING, CRASHED, BACK, RUNNING, CRASHED, BACK, RUNNING], 2),
        ([SCHEDULED, RUNNING, CRASHED, BACK, RUNNING, CRASHED, SCHEDULED, RUNNING], 0),
    ],
    ids=["not begun", "first", "rescheduled", "revived twice", "retried"],
)
def test_restarts_are_those_of_the_present_pass(history: list[tuple[StateType, str]], times: int) -> None:
    """What somebody decided is none."""
    assert restarts(states(*history)) == times
