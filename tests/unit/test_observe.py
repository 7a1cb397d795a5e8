"""How a pipeline run stands, from its newest children."""

from __future__ import annotations

from datetime import timedelta

from prefect.client.schemas.objects import StateType

from flow_of_flows.child_report import ChildReport
from flow_of_flows.dispatch.parameters import Parameters
from flow_of_flows.dispatch.pipeline import Pipeline, Step
from flow_of_flows.dispatch.status import expected, standing
from flow_of_flows.errors import Cause
from flow_of_flows.runs.outcome import Outcome, Policy, StepState
from tests.child_runs import SIX, child_run

# Declared out of order: outcomes come as declared.
PIPELINE = Pipeline(
    "shop",
    (
        Step(name="serve", after=("build", "extra")),
        Step(name="build", after=("load",)),
        Step(name="extra", policy=Policy.WARN),
        Step(name="load"),
    ),
)
LOADED = child_run("load", message="3 rows")
NO_LOAD = child_run("load", StateType.FAILED, message="no rows")
BUILDING = child_run("build", StateType.RUNNING, begin=60)


def test_a_run_that_has_just_begun_waits() -> None:
    """No child, nothing over: every step waits, with its policy."""
    assert standing(PIPELINE, Parameters(), [], over=False) == (
        Outcome("serve", StepState.WAITING),
        Outcome("build", StepState.WAITING),
        Outcome("extra", StepState.WAITING, policy=Policy.WARN),
        Outcome("load", StepState.WAITING),
    )


def test_a_run_at_work_shows_what_completed_what_runs_and_what_waits() -> None:
    """A child that runs says the name of its state."""
    assert standing(PIPELINE, Parameters(), [LOADED, BUILDING], over=False) == (
        Outcome("serve", StepState.WAITING),
        Outcome("build", StepState.RUNNING, child=BUILDING, message="Running"),
        Outcome("extra", StepState.WAITING, policy=Policy.WARN),
        Outcome("load", StepState.COMPLETED, child=LOADED, message="3 rows"),
    )


def test_a_failed_step_holds_up_everything_behind_it_at_once() -> None:
    """The root is named also where another held-up step stands between; a warn-policy step holds up nothing."""
    warned = child_run("extra", StateType.CRASHED, message="killed")
    assert standing(PIPELINE, Parameters(), [NO_LOAD, warned], over=False) == (
        Outcome("serve", StepState.NOT_RUN, Cause.UPSTREAM, held_up_by=("load",)),
        Outcome("build", StepState.NOT_RUN, Cause.UPSTREAM, held_up_by=("load",)),
        Outcome("extra", StepState.FAILED, Cause.CRASHED, "killed", Policy.WARN, warned),
        Outcome("load", StepState.FAILED, Cause.ERROR, "no rows", child=NO_LOAD),
    )


def test_what_waits_when_the_run_is_over_was_not_run() -> None:
    """A parent that died leaves steps that no failed step held up; a child may still be at work."""
    assert standing(PIPELINE, Parameters(), [LOADED, BUILDING], over=True) == (
        Outcome("serve", StepState.NOT_RUN, Cause.UPSTREAM, held_up_by=("extra",)),
        Outcome("build", StepState.RUNNING, child=BUILDING, message="Running"),
        Outcome("extra", StepState.NOT_RUN, policy=Policy.WARN),
        Outcome("load", StepState.COMPLETED, child=LOADED, message="3 rows"),
    )


def test_what_is_left_out_is_left_out_and_holds_up_nothing() -> None:
    """Also when an earlier run of the same steps left a child."""
    assert standing(PIPELINE, Parameters(skip=("load", "extra")), [NO_LOAD], over=False) == (
        Outcome("serve", StepState.WAITING),
        Outcome("build", StepState.WAITING),
        Outcome("extra", StepState.LEFT_OUT),
        Outcome("load", StepState.LEFT_OUT),
    )


def test_what_the_settings_leave_out_says_why_unless_it_has_run() -> None:
    """The settings here may be others than those of the run: a child that is there is shown."""
    pipeline = Pipeline("shop", (Step(name="load", absent="no source"), Step(name="build", after=("load",))))
    waiting = Outcome("build", StepState.WAITING)
    assert standing(pipeline, Parameters(), [], over=False) == (
        Outcome("load", StepState.LEFT_OUT, message="no source"),
        waiting,
    )
    assert standing(pipeline, Parameters(), [LOADED], over=False) == (
        Outcome("load", StepState.COMPLETED, child=LOADED, message="3 rows"),
        waiting,
    )


def test_of_a_resumed_run_the_newest_child_of_each_step_counts() -> None:
    """What the run before completed stands; what failed there has a new attempt."""
    again = child_run("build", attempt=2, begin=300)
    broken = child_run("build", StateType.FAILED, begin=60)
    assert standing(PIPELINE, Parameters(only=("load", "build")), [broken, LOADED, again], over=True) == (
        Outcome("serve", StepState.LEFT_OUT),
        Outcome("build", StepState.COMPLETED, child=again),
        Outcome("extra", StepState.LEFT_OUT),
        Outcome("load", StepState.COMPLETED, child=LOADED, message="3 rows"),
    )


LOST = child_run("load", StateType.CRASHED, message="killed")
ENDED = SIX + timedelta(seconds=60)


def test_a_step_that_is_about_to_be_tried_again_has_not_failed_for_good() -> None:
    """By its cause's rule, for as long as the next attempt may take to be there; what is behind it waits."""
    known = expected(PIPELINE, [LOST], {}, ENDED + timedelta(seconds=35))
    assert known == {"load": Outcome("load", StepState.RETRYING, Cause.CRASHED, "killed", child=LOST)}
    assert standing(PIPELINE, Parameters(), [LOST], over=False, known=known) == (
        Outcome("serve", StepState.WAITING),
        Outcome("build", StepState.WAITING),
        Outcome("extra", StepState.WAITING, policy=Policy.WARN),
        known["load"],
    )
    assert expected(PIPELINE, [LOST], {}, ENDED + timedelta(seconds=37)) == {}


def test_the_causes_of_all_attempts_count_and_those_that_children_handed_back() -> None:
    """A second crash is the last; a platform that does not answer is given its pauses."""
    again = child_run("load", StateType.CRASHED, attempt=2, begin=70)
    assert expected(PIPELINE, [LOST, again], {}, ENDED + timedelta(seconds=70)) == {}
    assert expected(PIPELINE, [NO_LOAD], {}, ENDED) == {}
    platform = ChildReport(summary="no answer", cause=Cause.PLATFORM)
    told = expected(PIPELINE, [NO_LOAD], {NO_LOAD.id: platform}, ENDED + timedelta(seconds=50))
    assert told["load"].state is StepState.RETRYING
    assert told["load"].cause is Cause.PLATFORM
    late = ENDED + timedelta(seconds=50)
    assert expected(PIPELINE, [NO_LOAD], {NO_LOAD.id: platform}, late, pause_factor=0) == {}


def test_what_completed_or_goes_on_is_not_expected_again() -> None:
    """Whatever was lost before it."""
    more = [child_run("load", attempt=2, begin=70), child_run("build", StateType.CRASHED), BUILDING]
    assert expected(PIPELINE, [LOST, *more], {}, ENDED) == {}
