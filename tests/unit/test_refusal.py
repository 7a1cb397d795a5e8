"""A step whose child run the API refused: what readers of its pipeline run see."""

from __future__ import annotations

from uuid import UUID

import pytest
from prefect.client.schemas.objects import StateType

from flow_of_flows.alerts.notification import of_summary
from flow_of_flows.dispatch.parameters import Parameters
from flow_of_flows.dispatch.pipeline import Pipeline, Step
from flow_of_flows.dispatch.status import standing
from flow_of_flows.errors import Cause, ConfigurationError
from flow_of_flows.runs.outcome import Outcome, Refusal, StepState, Verdict, may_be_refused, outcomes_of
from flow_of_flows.summary.run_summary import RunSummary
from tests.child_runs import child_run

PIPELINE = Pipeline("shop", (Step(name="load"), Step(name="build", after=("load",)), Step(name="alone")))
WORDS = "Step load cannot start: 7 is not a string. Where: load/load. Next: correct its parameters."
REFUSED = Refusal(step="load", attempt=1, cause=Cause.CONFIGURATION, message=WORDS)
FAILED = Outcome("load", StepState.FAILED, Cause.CONFIGURATION, WORDS)


def test_a_refused_step_has_failed_and_holds_up_what_is_behind_it() -> None:
    """Also while the run goes on; a step that has nothing to do with it waits for its turn."""
    known = outcomes_of([REFUSED], PIPELINE, [])
    assert standing(PIPELINE, Parameters(), [], over=False, known=known) == (
        FAILED,
        Outcome("build", StepState.NOT_RUN, Cause.UPSTREAM, held_up_by=("load",)),
        Outcome("alone", StepState.WAITING),
    )


def test_a_step_that_is_no_more_says_nothing() -> None:
    """The run may have begun with another version."""
    assert outcomes_of([REFUSED.model_copy(update={"step": "gone"})], PIPELINE, []) == {}


def test_the_newest_attempt_counts() -> None:
    """A second attempt that was refused counts more than the child of the first, and less than that of its own."""
    lost = child_run("load", StateType.CRASHED)
    again = REFUSED.model_copy(update={"attempt": 2})
    assert outcomes_of([REFUSED], PIPELINE, [lost]) == {}
    known = outcomes_of([again], PIPELINE, [lost])
    assert standing(PIPELINE, Parameters(), [lost], over=True, known=known)[0] == FAILED


@pytest.mark.parametrize(
    ("children", "expected"),
    [
        ([], True),
        ([child_run("load", StateType.RUNNING), child_run("alone")], False),
        ([child_run("load"), child_run("alone")], True),
        ([child_run("load", StateType.FAILED), child_run("alone")], False),
    ],
    ids=["nothing has begun", "behind one that runs", "it is its turn", "held up"],
)
def test_only_a_step_whose_turn_it_is_can_have_been_refused(children: list[object], *, expected: bool) -> None:
    """So that whoever looks again and again does not read in vain."""
    outcomes = standing(PIPELINE, Parameters(), children, over=False)  # type: ignore[arg-type]
    assert may_be_refused(outcomes, PIPELINE) is expected


def test_an_alert_has_the_apis_words() -> None:
    """Though there is no child run to link."""
    outcomes = (FAILED, Outcome("build", StepState.NOT_RUN, Cause.UPSTREAM, held_up_by=("load",)))
    answer = RunSummary("shop", UUID(int=1), "keen-owl", Verdict.FAILED, outcomes)
    (failure,) = of_summary(answer, "test", {}, tries=1).failures
    assert (failure.step, failure.cause, failure.why) == ("load", "configuration", WORDS)


@pytest.mark.parametrize("name", ["load", "load/", "/load", "a/b/c", " / "])
def test_a_step_names_a_flow_and_a_deployment(name: str) -> None:
    """Prefect's client would raise a ValueError in the middle of a run."""
    with pytest.raises(ConfigurationError) as caught:
        Step(name="load", deployment=name)
    assert str(caught.value) == (
        f"Step load names no deployment: {name!r}. Where: pipeline. Next: write `flow name/deployment name`."
    )
