"""How a pipeline run stands, from its newest children."""

from __future__ import annotations

from dataclasses import replace

from prefect.client.schemas.objects import StateType

from flows.dispatch.evidence import Pod
from flows.dispatch.observe import explained, standing
from flows.dispatch.outcome import Outcome, StepState
from flows.dispatch.parameters import Parameters
from flows.dispatch.plan import Pipeline, Policy, Step
from flows.errors import Cause
from tests.child_runs import child_run

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


def test_a_step_whose_child_died_is_explained_by_what_was_told_of_its_pod() -> None:
    """So that `flows report` says what the run's own answers say; the others stay as they are."""
    child = replace(child_run("load", StateType.CRASHED, message="killed"), has_job=True, run_count=1)
    failed = Outcome("load", StepState.FAILED, Cause.CRASHED, "killed", child=child)
    told = {child.id: (Pod(reason="OOMKilled", exit_code="137"),)}
    assert explained(failed, told) == replace(failed, cause=Cause.OUT_OF_MEMORY)
    assert explained(failed, {}) is failed
