"""A parent and its children on a real Prefect server, each child a process of its own."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from prefect.states import AwaitingRetry

from flow_of_flows.runs.resume import RESTARTED
from tests.conditions import eventually
from tests.fixtures.runs import ended, overrides
from tests.fixtures.server import Embedded


def test_steps_with_nothing_between_them_run_at_once_and_the_step_behind_them_after(
    embedded: Embedded, tmp_path: Path
) -> None:
    """Left and right each wait for the other's file, so they complete only side by side; join starts after both."""
    one, two = str(tmp_path / "one"), str(tmp_path / "two")
    run = embedded.run(
        "diamond", overrides=overrides(left={"touch": one, "await_file": two}, right={"touch": two, "await_file": one})
    )
    assert ended(run) == ("Completed", "4 of 4 steps completed")
    children = {step: child for (step, _), child in embedded.children(run.id).items()}
    assert set(children) == {"left", "right", "join", "alone"}
    join = children["join"].start_time
    assert join is not None
    assert all(ended is not None and ended <= join for ended in (children["left"].end_time, children["right"].end_time))
    pids = {embedded.report(child.id).facts["pid"] for child in children.values()}
    assert len(pids) == 4


def test_a_failed_child_fails_the_run_and_holds_up_what_comes_after_but_not_what_does_not(
    embedded: Embedded, tmp_path: Path
) -> None:
    """The state message names the step and its cause; the answers say why, what did not run, and what to do."""
    (tmp_path / "bad").touch()
    run = embedded.run("diamond", overrides=overrides(left={"fail_if": str(tmp_path / "bad")}))
    assert ended(run) == ("Failed", "2 of 4 steps completed; failed: left (data); not run: join")
    assert embedded.states(run.id) == {"left/1": "Failed", "right/1": "Completed", "alone/1": "Completed"}
    answers = embedded.answers(run.id)
    assert "## left failed: data" in answers
    assert "- **Why:** A row is bad. Where: orders.csv, line 7." in answers
    assert "**What to do:** Correct the row" in answers
    assert "- `join`: held up by `left`" in answers
    assert f"flows resume {run.id}" in answers


def test_a_failed_step_of_warn_policy_is_reported_and_the_steps_behind_it_run(
    embedded: Embedded, tmp_path: Path
) -> None:
    """The run completes as Degraded."""
    (tmp_path / "bad").touch()
    run = embedded.run("lenient", overrides=overrides(optional={"fail_if": str(tmp_path / "bad")}))
    assert ended(run) == ("Degraded", "1 of 2 steps completed; failed: optional (data)")
    assert embedded.states(run.id) == {"optional/1": "Failed", "after/1": "Completed"}
    assert "# lenient degraded" in embedded.answers(run.id)


def test_a_child_whose_process_is_killed_is_tried_once_more_and_not_taken_for_success(
    embedded: Embedded, tmp_path: Path
) -> None:
    """The cause is crashed, the message tells the signal, and the answers show both attempts."""
    (tmp_path / "crash").touch()
    run = embedded.run("diamond", overrides=overrides(right={"crash_if": str(tmp_path / "crash")}))
    assert ended(run) == (
        "Failed",
        "2 of 4 steps completed; failed: right (crashed; attempt 2 of 2); not run: join",
    )
    assert embedded.states(run.id) == {
        "left/1": "Completed",
        "alone/1": "Completed",
        "right/1": "Crashed",
        "right/2": "Crashed",
    }
    answers = embedded.answers(run.id)
    assert "status code: -9" in answers
    assert "- **Tried:** attempt 2 of 2" in answers
    assert "| right | lost: crashed |" in answers
    assert "| right | failed: crashed |" in answers


def test_a_child_that_is_lost_once_completes_with_its_second_attempt(embedded: Embedded, tmp_path: Path) -> None:
    """The second attempt continues the first, the step behind it runs, and the answers keep the loss."""
    crash = tmp_path / "crash"
    crash.touch()
    run = embedded.run("diamond", overrides=overrides(left={"crash_once": str(crash)}))
    assert ended(run) == ("Completed", "4 of 4 steps completed")
    children = embedded.children(run.id)
    assert embedded.report(children["left", 2].id).facts["retry_of"] == str(children["left", 1].id)
    assert "| left | lost: crashed |" in embedded.answers(run.id)


def test_a_step_that_takes_longer_than_its_timeout_is_cancelled(embedded: Embedded, tmp_path: Path) -> None:
    """The child ends Cancelled, and the step's cause is timeout."""
    run = embedded.run("hasty", overrides=overrides(slow={"await_file": str(tmp_path / "never")}))
    assert ended(run) == ("Failed", "0 of 2 steps completed; failed: slow (timeout); not run: after")
    assert embedded.states(run.id) == {"slow/1": "Cancelled"}
    assert "took longer than 0:00:03" in embedded.answers(run.id)


def test_a_step_can_be_a_pipeline_whose_failure_reaches_the_top_with_its_cause(
    embedded: Embedded, tmp_path: Path
) -> None:
    """The outer answers name the inner step and its message; Retry resumes the inner run where it stopped."""
    bad = tmp_path / "bad"
    bad.touch()
    inner = {"overrides": overrides(right={"fail_if": str(bad)})}
    run = embedded.run("outer", overrides=overrides(diamond=inner))
    assert ended(run) == ("Failed", "0 of 2 steps completed; failed: diamond (data); not run: last")
    assert "`right` (data): A row is bad. Where: orders.csv, line 7." in embedded.answers(run.id)
    bad.unlink()
    again = embedded.retry(run.id)
    assert ended(again) == ("Completed", "2 of 2 steps completed")
    second = embedded.children(run.id)["diamond", 2]
    assert embedded.states(second.id) == {"right/1": "Completed", "join/1": "Completed"}


def test_a_pipeline_in_a_pipeline_that_crashes_goes_on_under_its_own_id(embedded: Embedded, tmp_path: Path) -> None:
    """No second run of it is started; the child that ran on is adopted, and is done once."""
    gate = tmp_path / "gate"
    inner = {"overrides": overrides(left={"await_file": str(gate)})}
    run = embedded.start("outer", overrides=overrides(diamond=inner))
    child = eventually(lambda: embedded.children(run).get(("diamond", 1)), "the inner pipeline is created")
    eventually(lambda: embedded.states(child.id).get("left/1") == "Running", "the innermost child runs")
    os.kill(embedded.process_of(embedded.client.read_flow_run(child.id)), signal.SIGKILL)
    eventually(lambda: embedded.client.read_flow_run(child.id).run_count == 2, "it is revived", within=60)
    gate.touch()
    assert ended(embedded.end_of(run)) == ("Completed", "2 of 2 steps completed")
    assert set(embedded.children(run)) == {("diamond", 1), ("last", 1)}
    assert {key: one.run_count for key, one in embedded.children(child.id).items()} == dict.fromkeys(
        [("left", 1), ("right", 1), ("alone", 1), ("join", 1)], 1
    )


def test_a_parent_that_is_revived_does_not_retry_more_often_than_one_that_was_not(
    embedded: Embedded, tmp_path: Path
) -> None:
    """Left was lost twice, which is what its cause allows, before the parent itself; it is not tried a third time."""
    gate, crash = tmp_path / "gate", tmp_path / "crash"
    crash.touch()
    run = embedded.start("diamond", overrides=overrides(left={"crash_if": str(crash)}, right={"await_file": str(gate)}))
    eventually(lambda: embedded.states(run).get("left/2") == "Crashed", "left is lost twice", within=60)
    os.kill(embedded.process_of(embedded.client.read_flow_run(run)), signal.SIGKILL)
    embedded.end_of(run)
    embedded.client.set_flow_run_state(run, AwaitingRetry(message=f"{RESTARTED} by a test"))
    eventually(lambda: embedded.client.read_flow_run(run).run_count == 2, "the parent runs again")
    gate.touch()
    assert ended(embedded.end_of(run))[1] == (
        "2 of 4 steps completed; failed: left (crashed; attempt 2 of 2); not run: join"
    )
    crash.unlink()
    assert ended(embedded.retry(run)) == ("Completed", "4 of 4 steps completed")
    assert embedded.states(run)["left/3"] == "Completed"


def test_overrides_reach_one_child_as_parameters_and_job_variables(embedded: Embedded) -> None:
    """The child sees the environment variable that the run's overrides give its step, and no other does."""
    run = embedded.run(
        "diamond",
        overrides={
            "left": {"parameters": {"show": "COLOUR"}, "job_variables": {"env": {"COLOUR": "green"}}},
            "right": {"parameters": {"show": "COLOUR"}},
        },
    )
    children = embedded.children(run.id)
    assert embedded.report(children["left", 1].id).facts["shown"] == "green"
    assert embedded.report(children["right", 1].id).facts["shown"] == ""
    assert children["left", 1].job_variables == {"env": {"COLOUR": "green"}}


def test_only_and_skip_leave_steps_out_and_the_answers_say_so(embedded: Embedded) -> None:
    """A step left out does not hold up the steps behind it."""
    run = embedded.run("diamond", skip=["left", "alone"])
    assert ended(run) == ("Completed", "2 of 4 steps completed")
    assert embedded.states(run.id) == {"right/1": "Completed", "join/1": "Completed"}
    assert "- `left`: by `only` or `skip` of this run" in embedded.answers(run.id)
    run = embedded.run("diamond", only=["join"])
    assert embedded.states(run.id) == {"join/1": "Completed"}


def test_a_step_that_the_settings_leave_out_is_not_run_and_the_run_says_why(embedded: Embedded) -> None:
    """In its state and in its answers; the step behind it runs, and selecting only that step is refused."""
    run = embedded.run("sparse")
    assert ended(run) == ("Completed", "1 of 2 steps completed; left out: absent")
    assert embedded.states(run.id) == {"after/1": "Completed"}
    assert "- `absent`: no source is configured" in embedded.answers(run.id)
    refused = ended(embedded.run("sparse", only=["absent"]))
    assert refused[0] == "Failed"
    assert refused[1].startswith("Nothing is left to run; absent: no source is configured. ")


def test_a_parent_that_is_killed_and_run_again_adopts_its_children(embedded: Embedded, tmp_path: Path) -> None:
    """The children that ran on are waited for under their first attempt; no second one is started."""
    gate = tmp_path / "gate"
    run = embedded.start(
        "diamond", overrides=overrides(left={"await_file": str(gate)}, right={"await_file": str(gate)})
    )
    eventually(lambda: list(embedded.states(run).values()).count("Running") == 2, "both children run")
    parent = embedded.client.read_flow_run(run)
    os.kill(embedded.process_of(parent), signal.SIGKILL)
    assert ended(embedded.end_of(run))[0] == "Crashed"
    before = embedded.children(run)
    eventually(lambda: embedded.states(run)["alone/1"] == "Completed", "the child nobody waits for completes")
    embedded.client.set_flow_run_state(run, AwaitingRetry(message=f"{RESTARTED} by a test"))
    eventually(lambda: embedded.client.read_flow_run(run).run_count == 2, "the parent runs again")
    gate.touch()
    assert ended(embedded.end_of(run)) == ("Completed", "4 of 4 steps completed")
    answers = embedded.answers(run)
    assert "own process or pod was lost once" in answers
    assert "(reused)" not in answers
    assert all(f"\n{step} " in answers.partition("## Timeline")[2] for step in ("left", "right", "join", "alone"))
    after = embedded.children(run)
    assert set(after) == {("left", 1), ("right", 1), ("alone", 1), ("join", 1)}
    assert {key: after[key].id for key in before} == {key: child.id for key, child in before.items()}
    assert {after[key].run_count for key in before} == {1}


def test_retry_of_a_failed_run_reuses_what_completed_and_continues_what_failed(
    embedded: Embedded, tmp_path: Path
) -> None:
    """Same run id; the failed step gets attempt 2, which gets the id of attempt 1."""
    bad = tmp_path / "bad"
    bad.touch()
    first = embedded.run("diamond", overrides=overrides(left={"fail_if": str(bad)}))
    bad.unlink()
    second = embedded.retry(first.id)
    assert ended(second) == ("Completed", "4 of 4 steps completed")
    children = embedded.children(first.id)
    assert set(children) == {("left", 1), ("left", 2), ("right", 1), ("alone", 1), ("join", 1)}
    assert embedded.report(children["left", 2].id).facts["retry_of"] == str(children["left", 1].id)
    assert "completed (reused)" in embedded.answers(first.id)


def test_resume_from_starts_a_new_run_from_an_old_one(embedded: Embedded, tmp_path: Path) -> None:
    """What completed in the old run has no child in the new one; what failed continues there."""
    bad = tmp_path / "bad"
    bad.touch()
    old = embedded.run("diamond", overrides=overrides(left={"fail_if": str(bad)}))
    new = embedded.run("diamond", resume_from=str(old.id))
    assert ended(new) == ("Completed", "4 of 4 steps completed")
    children = embedded.children(new.id)
    assert set(children) == {("left", 1), ("join", 1)}
    assert embedded.report(children["left", 1].id).facts["retry_of"] == str(embedded.children(old.id)["left", 1].id)


def test_cancelling_a_pipeline_run_cancels_its_children_and_theirs(embedded: Embedded, tmp_path: Path) -> None:
    """No process of the tree is left."""
    never = str(tmp_path / "never")
    inner = {"overrides": overrides(left={"await_file": never})}
    run = embedded.start("outer", overrides=overrides(diamond=inner))
    child = eventually(lambda: embedded.children(run).get(("diamond", 1)), "the inner pipeline is created")
    eventually(lambda: embedded.states(child.id).get("left/1") == "Running", "the innermost child runs")
    embedded.cancel(run)
    assert ended(embedded.end_of(run))[0] == "Cancelled"
    assert ended(embedded.end_of(child.id))[0] == "Cancelled"
    assert ended(embedded.end_of(embedded.children(child.id)["left", 1].id))[0] == "Cancelled"


def test_a_missing_deployment_and_a_bug_in_a_child_are_told_apart(embedded: Embedded) -> None:
    """The first is configuration, with what to do; the second is an error with its message."""
    run = embedded.run("mistaken")
    assert ended(run) == ("Failed", "0 of 2 steps completed; failed: nowhere (configuration), broken (error)")
    answers = embedded.answers(run.id)
    assert "Step nowhere has no child: the deployment nowhere/nowhere does not exist" in answers
    assert "ZeroDivisionError: nothing divides by zero" in answers


def test_a_run_that_cannot_be_resumed_says_so(embedded: Embedded) -> None:
    """An unknown run in resume_from fails the run in a sentence."""
    run = embedded.run("diamond", resume_from="00000000-0000-4000-8000-000000000000")
    name, message = ended(run)
    assert name == "Failed"
    assert message.startswith("There is no run 00000000-0000-4000-8000-000000000000. Where: ")
    assert message.endswith("Next: copy the id from the run's page.")
