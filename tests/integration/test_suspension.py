"""A pipeline run that somebody suspends or pauses starts nothing until it is resumed, on a real server."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.schemas.objects import State, StateType
from prefect.states import AwaitingRetry, Paused, Suspended

from flow_of_flows.runs.resume import RESTARTED
from tests.conditions import eventually
from tests.fixtures.pods import Pod, gone
from tests.fixtures.runs import ended, overrides
from tests.fixtures.server import Embedded

BY_NAME: State[Any] = State(type=StateType.PAUSED, name="Suspended")
DONE = ("Completed", "4 of 4 steps completed")
ALL_ONCE = {"left/1": "Completed", "right/1": "Completed", "alone/1": "Completed", "join/1": "Completed"}


def at_work(embedded: Embedded, gate: Path, **more: dict[str, Any]) -> UUID:
    """A run of the diamond whose left step waits for a file, while the others are done."""
    run = embedded.start("diamond", overrides=overrides(left={"await_file": str(gate)}, **more))
    done = {"left/1": "Running", "right/1": "Completed", "alone/1": "Completed"}
    eventually(lambda: embedded.states(run) == done, "only left is at work")
    return run


def hold(embedded: Embedded, run: UUID, state: State[Any], *, force: bool = False) -> None:
    """Press Suspend or Pause; Prefect suspends a run within another one only by force."""
    embedded.client.set_flow_run_state(run, state, force=force)
    assert state_of(embedded, run) == state.name


def state_of(embedded: Embedded, run: UUID) -> str | None:
    """Name of a run's state."""
    read = embedded.client.read_flow_run(run)
    return read.state.name if read.state else None


@pytest.mark.parametrize("state", [Suspended(), Paused(), BY_NAME], ids=["suspended", "paused", "suspended by name"])
def test_a_run_that_is_held_finishes_its_children_and_goes_on_when_it_is_resumed(
    embedded: Embedded, tmp_path: Path, state: State[Any]
) -> None:
    """The step behind them starts once, after the resume; no loss of a process is reported."""
    run = at_work(embedded, tmp_path / "gate")
    process = embedded.process_of(embedded.client.read_flow_run(run))
    hold(embedded, run, state)
    said = f"{state.name}: no step starts until the run is resumed; the children that run finish"
    eventually(lambda: said in embedded.log(run), "it says that it is held")
    (tmp_path / "gate").touch()
    eventually(lambda: embedded.states(run)["left/1"] == "Completed", "the child finishes")
    if state.state_details.pause_reschedule:
        eventually(lambda: gone(process), "a suspended run has no process")
    assert "join/1" not in embedded.states(run)
    assert state_of(embedded, run) == state.name
    embedded.client.resume_flow_run(run)
    assert ended(embedded.end_of(run)) == DONE
    assert embedded.states(run) == ALL_ONCE
    assert "lost" not in embedded.answers(run)
    assert "(reused)" not in embedded.answers(run)


def test_a_suspended_run_adopts_the_child_that_still_runs_when_it_is_resumed(
    embedded: Embedded, tmp_path: Path
) -> None:
    """Nothing runs twice."""
    note = tmp_path / "note"
    run = at_work(embedded, tmp_path / "gate", join={"note": str(note)})
    process = embedded.process_of(embedded.client.read_flow_run(run))
    hold(embedded, run, Suspended())
    eventually(lambda: gone(process), "it has no process")
    embedded.client.resume_flow_run(run)
    eventually(lambda: state_of(embedded, run) == "Running", "another process has it")
    (tmp_path / "gate").touch()
    assert ended(embedded.end_of(run)) == DONE
    assert embedded.states(run) == ALL_ONCE
    assert len(note.read_text().splitlines()) == 1


def test_a_pipeline_above_waits_for_a_suspended_one_past_its_steps_time(embedded: Embedded, tmp_path: Path) -> None:
    """The time of a pause does not count; the time before and after it does."""
    gate = tmp_path / "gate"
    run = embedded.start(
        "hasty_outer", overrides=overrides(lenient={"overrides": overrides(optional={"await_file": str(gate)})})
    )
    inner = eventually(lambda: embedded.children(run).get(("lenient", 1)), "the inner pipeline is created").id
    eventually(lambda: embedded.states(inner).get("optional/1") == "Running", "its child runs")
    hold(embedded, inner, Paused())
    eventually(lambda: "lenient: suspended; its time does not run" in "\n".join(embedded.log(run)), "its time passes")
    gate.touch()
    embedded.client.resume_flow_run(inner)
    assert ended(embedded.end_of(run)) == ("Completed", "1 of 1 steps completed")


@pytest.mark.parametrize("state", [Suspended(), Paused()], ids=["suspended", "paused"])
def test_a_held_run_that_is_cancelled_takes_its_children_with_it(
    embedded: Embedded, tmp_path: Path, state: State[Any]
) -> None:
    """Prefect ends a suspended run at once, without its hooks; the pipeline above hands the cancellation on."""
    never = tmp_path / "never"
    inner = {"overrides": overrides(left={"await_file": str(never)})}
    run = embedded.start("outer", overrides=overrides(diamond=inner))
    child = eventually(lambda: embedded.children(run).get(("diamond", 1)), "the inner pipeline is created").id
    eventually(lambda: embedded.states(child).get("left/1") == "Running", "the innermost child runs")
    hold(embedded, child, state, force=True)
    embedded.cancel(run)
    assert ended(embedded.end_of(run))[0] == "Cancelled"
    assert ended(embedded.end_of(child))[0] == "Cancelled"
    assert ended(embedded.end_of(embedded.children(child)["left", 1].id))[0] == "Cancelled"


def test_a_run_that_is_never_resumed_fails_and_its_children_are_asked_to_stop(
    embedded: Embedded, tmp_path: Path
) -> None:
    """Prefect fails it when its pause has lasted for as long as it may."""
    run = at_work(embedded, tmp_path / "never")
    hold(embedded, run, Paused(timeout_seconds=1))
    assert ended(embedded.end_of(run)) == ("Failed", "The flow was paused and never resumed.")
    assert ended(embedded.end_of(embedded.children(run)["left", 1].id))[0] == "Cancelled"


def test_a_run_that_loses_its_process_while_it_is_paused_stays_paused(embedded: Embedded, tmp_path: Path) -> None:
    """A revival is not a resume."""
    run = at_work(embedded, tmp_path / "gate")
    hold(embedded, run, Paused())
    os.kill(embedded.process_of(embedded.client.read_flow_run(run)), signal.SIGKILL)
    assert ended(embedded.end_of(run))[0] == "Crashed"
    embedded.client.set_flow_run_state(run, AwaitingRetry(message=f"{RESTARTED} by a test"))
    eventually(lambda: state_of(embedded, run) == "Suspended", "it is suspended")
    (tmp_path / "gate").touch()
    eventually(lambda: embedded.states(run)["left/1"] == "Completed", "the child finishes")
    assert "join/1" not in embedded.states(run)
    embedded.client.resume_flow_run(run)
    assert ended(embedded.end_of(run)) == DONE


def test_a_pod_that_is_taken_away_while_its_run_is_paused_leaves_it_suspended(pod: Pod, tmp_path: Path) -> None:
    """A drained node does not resume a run; another pod goes on when a person does."""
    began, go = tmp_path / "began", tmp_path / "go"
    run = pod.run_of("tests.children.diamond", overrides=overrides(left={"touch": str(began), "await_file": str(go)}))
    process = pod.start(run, PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR="reschedule")
    eventually(began.exists, "a child is at work")
    pod.embedded.client.set_flow_run_state(run, Paused())
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    assert pod.state(run)[0] == "Suspended"
    go.touch()
    pod.embedded.client.resume_flow_run(run)
    assert pod.start(run).wait(60) == 0
    assert pod.state(run) == DONE


def test_the_pod_of_a_suspended_run_ends_well(pod: Pod, tmp_path: Path) -> None:
    """It does not wait for the resume, and its run is left as it is."""
    began, go = tmp_path / "began", tmp_path / "go"
    run = pod.run_of("tests.children.diamond", overrides=overrides(left={"touch": str(began), "await_file": str(go)}))
    process = pod.start(run)
    eventually(began.exists, "a child is at work")
    pod.embedded.client.set_flow_run_state(run, Suspended())
    assert process.wait(60) == 0
    assert pod.state(run)[0] == "Suspended"
    assert pod.claims(run) == {"1": "Completed"}
    go.touch()
    pod.embedded.client.resume_flow_run(run)
    assert pod.start(run).wait(60) == 0
    assert pod.state(run) == DONE
