"""What became of a step and of a whole run."""

from __future__ import annotations

from dataclasses import replace

import pytest
from prefect.client.schemas.objects import StateType

from flow_of_flows.child_report import ChildReport
from flow_of_flows.errors import Cause
from flow_of_flows.runs.causes import Overdue, PodEvidence
from flow_of_flows.runs.outcome import (
    ChildRun,
    Outcome,
    Policy,
    StepState,
    Verdict,
    evidence_of,
    lost,
    of_child,
    sentence,
    verdict,
    with_report,
)
from tests.child_runs import child_run

FINAL = {StateType.COMPLETED, StateType.FAILED, StateType.CRASHED, StateType.CANCELLED}


@pytest.mark.parametrize(
    ("state", "step_state", "cause"),
    [
        (StateType.COMPLETED, StepState.COMPLETED, None),
        (StateType.FAILED, StepState.FAILED, Cause.ERROR),
        (StateType.CRASHED, StepState.FAILED, Cause.CRASHED),
        (StateType.CANCELLED, StepState.FAILED, Cause.CANCELLED),
        (StateType.CANCELLING, StepState.FAILED, Cause.TIMEOUT),
        (StateType.RUNNING, StepState.FAILED, Cause.TIMEOUT),
    ],
)
def test_a_child_is_classified_by_its_state(state: StateType, step_state: StepState, cause: Cause | None) -> None:
    """Nothing but Completed is success."""
    child = child_run("load", state, message="said so")
    assert of_child("load", Policy.WARN, child) == Outcome("load", step_state, cause, "said so", Policy.WARN, child)


def test_what_the_pod_said_of_itself_is_in_the_message() -> None:
    """The newest word of it, behind the state's."""
    child = child_run("load", StateType.CANCELLED, message="cancelled")
    pods = (
        PodEvidence(reason="Unschedulable", message="0/3 nodes"),
        PodEvidence(reason="Unschedulable", message="0/4 nodes"),
        PodEvidence(),
    )
    evidence = evidence_of(child, overdue=Overdue.PENDING, pods=pods)
    assert lost("load", Policy.FAIL, child, evidence) == Outcome(
        "load", StepState.FAILED, Cause.UNSCHEDULABLE, "cancelled 0/4 nodes", child=child
    )


def test_a_child_of_an_earlier_part_of_the_run_is_reused() -> None:
    """The outcome says so, for the report."""
    child = child_run("load")
    assert of_child("load", Policy.FAIL, child, reused=True) == Outcome(
        "load", StepState.COMPLETED, child=child, reused=True
    )


@pytest.mark.parametrize("state", list(StateType))
def test_a_run_is_final_in_four_states_and_completed_in_one(state: StateType) -> None:
    """Completeness: a state that Prefect adds is at least not taken for an end."""
    child = child_run("load", state)
    assert (child.is_final, child.is_completed) == (state in FINAL, state is StateType.COMPLETED)


def test_a_report_makes_the_cause_of_a_failed_child_sharper() -> None:
    """Failed alone is a bug in the code; a report tells whose turn it is."""
    failed = of_child("load", Policy.FAIL, child_run("load", StateType.FAILED))
    report = ChildReport(summary="a row is bad", cause=Cause.DATA)
    assert with_report(failed, report) == replace(failed, cause=Cause.DATA, report=report)


@pytest.mark.parametrize("state", [StateType.CRASHED, StateType.CANCELLED, StateType.COMPLETED])
def test_a_report_does_not_change_what_the_state_says(state: StateType) -> None:
    """A child that was killed after it had reported an error is crashed all the same."""
    outcome = of_child("load", Policy.FAIL, child_run("load", state))
    report = ChildReport(summary="a row is bad", cause=Cause.DATA)
    assert with_report(outcome, report) == replace(outcome, report=report)


def test_an_outcome_without_report_stays_as_it_is() -> None:
    """So does a failed one whose report names no cause."""
    failed = of_child("load", Policy.FAIL, child_run("load", StateType.FAILED))
    assert with_report(failed, None) is failed
    report = ChildReport(summary="half done")
    assert with_report(failed, report) == replace(failed, report=report)


def failed(policy: Policy = Policy.FAIL) -> Outcome:
    """A step that failed."""
    return Outcome("load", StepState.FAILED, Cause.DATA, policy=policy)


def completed(child: ChildRun | None = None) -> Outcome:
    """A step that completed."""
    return Outcome("build", StepState.COMPLETED, child=child)


NOT_RUN = Outcome("serve", StepState.NOT_RUN, Cause.UPSTREAM, held_up_by=("load",))
LEFT_OUT = Outcome("extra", StepState.LEFT_OUT)
DEGRADED_CHILD = child_run("build", state_name="Degraded")


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ([], Verdict.COMPLETED),
        ([completed(), LEFT_OUT], Verdict.COMPLETED),
        ([completed(), failed()], Verdict.FAILED),
        ([failed(Policy.WARN), failed()], Verdict.FAILED),
        ([completed(), NOT_RUN], Verdict.FAILED),
        ([completed(), failed(Policy.WARN)], Verdict.DEGRADED),
        ([completed(DEGRADED_CHILD)], Verdict.DEGRADED),
        ([completed(child_run("build"))], Verdict.COMPLETED),
    ],
    ids=["none", "completed", "failed", "both", "not run", "warned", "degraded below", "completed child"],
)
def test_verdict_of_a_run(outcomes: list[Outcome], expected: Verdict) -> None:
    """Failed beats degraded beats completed."""
    assert verdict(outcomes) == expected


@pytest.mark.parametrize(
    ("outcome", "holds_up"),
    [
        (failed(), True),
        (failed(Policy.WARN), False),
        (NOT_RUN, True),
        (LEFT_OUT, False),
        (completed(), False),
        (Outcome("a", StepState.RUNNING), False),
        (Outcome("a", StepState.WAITING), False),
    ],
)
def test_what_holds_up_the_steps_behind(outcome: Outcome, holds_up: bool) -> None:  # noqa: FBT001 - a column of the table
    """A failed step does, unless its policy is to warn; one that is left out does not."""
    assert outcome.holds_up is holds_up


@pytest.mark.parametrize(
    ("outcomes", "text"),
    [
        ([completed(), LEFT_OUT], "1 of 2 steps completed"),
        (
            [completed(), Outcome("hubspot", StepState.LEFT_OUT, message="no Airbyte is configured")],
            "1 of 2 steps completed; left out: hubspot",
        ),
        ([failed(), completed()], "1 of 2 steps completed; failed: load (data)"),
        ([failed(), NOT_RUN], "0 of 2 steps completed; failed: load (data); not run: serve"),
        (
            [failed(), Outcome("b", StepState.FAILED, Cause.TIMEOUT), NOT_RUN, replace(NOT_RUN, step="mail")],
            "0 of 4 steps completed; failed: load (data), b (timeout); not run: serve, mail",
        ),
        (
            [replace(failed(), cause=Cause.OUT_OF_MEMORY, tried="attempt 3 of 3; out of memory at 2Gi")],
            "0 of 1 steps completed; failed: load (out-of-memory; attempt 3 of 3; out of memory at 2Gi)",
        ),
    ],
)
def test_sentence_of_a_run(outcomes: list[Outcome], text: str) -> None:
    """The state message names each failed step with its cause, then what was not run."""
    assert sentence(outcomes) == text
