"""Runs of one pipeline that would overlap, on a real server: they wait, are skipped, or run side by side."""

from __future__ import annotations

import os
import re
import signal
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.states import AwaitingRetry, Suspended

from flow_of_flows.runs.resume import RESTARTED
from tests.conditions import eventually
from tests.fixtures.pods import Pod
from tests.fixtures.runs import ended, overrides
from tests.fixtures.server import Embedded

DONE = ("Completed", "2 of 2 steps completed")


def read(embedded: Embedded, run: UUID) -> FlowRun:
    """The run."""
    return embedded.client.read_flow_run(run)


def at_work(embedded: Embedded, pipeline: str, gate: Path, **parameters: Any) -> UUID:
    """A run whose first child waits for a file."""
    run = embedded.start(pipeline, overrides=overrides(load={"await_file": str(gate)}), **parameters)
    eventually(lambda: embedded.states(run) == {"load/1": "Running"}, "its child is at work")
    return run


def waits(embedded: Embedded, run: UUID, earlier: UUID) -> None:
    """See that a run waits for another one, and says so in its state."""
    said = f"Waits for the earlier run {read(embedded, earlier).name} "

    def shown() -> bool:
        state = read(embedded, run).state
        return bool(state and state.name == "Waiting" and str(state.message).startswith(said))

    eventually(shown, f"it says {said}")
    assert embedded.states(run) == {}


def one_after_the_other(embedded: Embedded, *runs: UUID) -> None:
    """See that no two of these runs had children at work at the same time, in this order."""
    spans = []
    for run in runs:
        children = embedded.children(run).values()
        starts, ends = [child.start_time for child in children], [child.end_time for child in children]
        spans.append((min(filter(None, starts)), max(filter(None, ends))))
    assert all(first[1] <= second[0] for first, second in pairwise(spans)), spans


def test_a_second_run_waits_visibly_until_the_first_is_over(embedded: Embedded, tmp_path: Path) -> None:
    """Its state names the run that it waits for; it then runs as if it had been started later."""
    first = at_work(embedded, "queued", tmp_path / "gate")
    second = embedded.start("queued")
    waits(embedded, second, first)
    (tmp_path / "gate").touch()
    assert ended(embedded.end_of(first)) == DONE
    assert ended(embedded.end_of(second)) == DONE
    one_after_the_other(embedded, first, second)


def test_runs_that_start_at_the_same_moment_go_one_after_the_other(embedded: Embedded) -> None:
    """Exactly one goes first."""
    runs = [embedded.start("queued") for _ in range(4)]
    assert [ended(embedded.end_of(run)) for run in runs] == [DONE] * 4
    starts = {run: min(filter(None, (one.start_time for one in embedded.children(run).values()))) for run in runs}
    one_after_the_other(embedded, *sorted(runs, key=lambda run: starts[run]))


def test_a_waiting_run_can_be_cancelled_or_let_go_ahead(embedded: Embedded, tmp_path: Path) -> None:
    """Neither changes anything for the first; a person's Resume is what lets one go ahead."""
    first = at_work(embedded, "queued", tmp_path / "gate")
    second, third = embedded.start("queued"), embedded.start("queued")
    eventually(lambda: ended(read(embedded, second))[0] == "Waiting", "the second waits")
    eventually(lambda: ended(read(embedded, third))[0] == "Waiting", "the third waits")
    embedded.cancel(second)
    assert ended(embedded.end_of(second))[0] == "Cancelled"
    assert embedded.children(second) == {}
    embedded.client.resume_flow_run(third)
    assert ended(embedded.end_of(third)) == DONE
    assert embedded.states(first) == {"load/1": "Running"}
    (tmp_path / "gate").touch()
    assert ended(embedded.end_of(first)) == DONE


def test_a_suspended_run_keeps_its_place(embedded: Embedded, tmp_path: Path) -> None:
    """The one that waits for it says that it is suspended."""
    first = at_work(embedded, "queued", tmp_path / "gate")
    second = embedded.start("queued")
    waits(embedded, second, first)
    embedded.client.set_flow_run_state(first, Suspended())
    eventually(lambda: "Suspended" in ended(read(embedded, second))[1], "it says that the first is suspended")
    (tmp_path / "gate").touch()
    eventually(lambda: embedded.states(first) == {"load/1": "Completed"}, "the first one's child finishes")
    assert ended(read(embedded, second))[0] == "Waiting"
    embedded.client.resume_flow_run(first)
    assert ended(embedded.end_of(first)) == DONE
    assert ended(embedded.end_of(second)) == DONE
    one_after_the_other(embedded, first, second)


@pytest.mark.parametrize("revived", [True, False], ids=["revived", "dead"])
def test_a_run_that_crashed_keeps_its_place_for_as_long_as_a_revival_takes(
    embedded: Embedded, tmp_path: Path, *, revived: bool
) -> None:
    """A dead one is waited for no longer."""
    first = at_work(embedded, "queued", tmp_path / "gate")
    second = embedded.start("queued")
    waits(embedded, second, first)
    os.kill(embedded.process_of(read(embedded, first)), signal.SIGKILL)
    assert ended(embedded.end_of(first))[0] == "Crashed"
    (tmp_path / "gate").touch()
    if revived:
        eventually(lambda: "Crashed" in ended(read(embedded, second))[1], "the second still waits")
        embedded.client.set_flow_run_state(first, AwaitingRetry(message=f"{RESTARTED} by a test"))
    assert ended(embedded.end_of(second)) == DONE
    if revived:
        assert ended(read(embedded, first)) == DONE
        one_after_the_other(embedded, first, second)
    else:
        assert ended(read(embedded, first))[0] == "Crashed"


def test_an_older_run_that_is_retried_waits_for_the_one_that_has_begun_since(
    embedded: Embedded, tmp_path: Path
) -> None:
    """Its place is that of its retry."""
    bad = tmp_path / "bad"
    bad.touch()
    old = embedded.run("queued", overrides=overrides(build={"fail_if": str(bad)}))
    bad.unlink()
    new = at_work(embedded, "queued", tmp_path / "gate")
    embedded.client.set_flow_run_state(old.id, AwaitingRetry())
    eventually(lambda: ended(read(embedded, old.id))[0] == "Waiting", "the older run waits")
    assert embedded.states(old.id) == {"load/1": "Completed", "build/1": "Failed"}
    (tmp_path / "gate").touch()
    assert ended(embedded.end_of(new)) == DONE
    assert ended(embedded.end_of(old.id)) == DONE


def test_a_run_that_is_to_be_skipped_ends_at_once_and_starts_nothing(embedded: Embedded, tmp_path: Path) -> None:
    """Completed by another name, with the run that was in its way; the next one runs."""
    first = at_work(embedded, "alone", tmp_path / "gate")
    skipped = embedded.run("alone")
    (name, message), other = ended(skipped), read(embedded, first).name
    assert (name, re.sub(r"begun [-0-9: ]+ UTC", "begun T", message)) == (
        "Skipped",
        f"Skipped, and nothing was started: the earlier run {other} (begun T, Running) is not over",
    )
    assert embedded.children(skipped.id) == {}
    (tmp_path / "gate").touch()
    assert ended(embedded.end_of(first)) == DONE
    assert ended(embedded.run("alone")) == DONE


def test_a_run_may_differ_from_what_its_pipeline_declares(embedded: Embedded, tmp_path: Path) -> None:
    """One that allows the overlap runs at the same time as the first, though others would wait."""
    first = at_work(embedded, "queued", tmp_path / "gate")
    assert ended(embedded.run("queued", overlap="allow")) == DONE
    assert ended(embedded.run("queued", overlap="skip"))[0] == "Skipped"
    (tmp_path / "gate").touch()
    assert ended(embedded.end_of(first)) == DONE


def test_a_waiting_run_whose_pod_is_taken_away_waits_on_in_another(pod: Pod, tmp_path: Path) -> None:
    """It is not taken for one that a person has paused."""
    began, gate = tmp_path / "began", tmp_path / "gate"
    steps = overrides(load={"touch": str(began), "await_file": str(gate)})
    first = pod.run_of("tests.children.queued", overrides=steps)
    working = pod.start(first)
    eventually(began.exists, "the first is at work")
    deployment = pod.embedded.client.read_flow_run(first).deployment_id
    assert deployment is not None
    second = pod.embedded.client.create_flow_run_from_deployment(deployment).id
    waiting = pod.start(second, PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR="reschedule")
    eventually(lambda: pod.state(second)[0] == "Waiting", "the second waits")
    waiting.send_signal(signal.SIGTERM)
    assert waiting.wait(60) == 0
    assert pod.state(second)[0] == "AwaitingRetry"
    again = pod.start(second)
    eventually(lambda: pod.state(second)[0] == "Waiting", "the second waits again")
    gate.touch()
    assert (working.wait(60), again.wait(60)) == (0, 0)
    assert (pod.state(first), pod.state(second)) == (DONE, DONE)
