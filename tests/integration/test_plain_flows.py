"""Flows that know nothing of this package as steps: on a real Prefect server, each run a process of its own."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from uuid import UUID

import pytest
from prefect.client.orchestration import PrefectClient

from flow_of_flows.alerts.notification import of_summary
from flow_of_flows.dispatch.pipeline import declared
from flow_of_flows.dispatch.status import observe
from flow_of_flows.prefect_api.launch import RunsClient
from flow_of_flows.summary.run_summary import RunSummary
from tests import plain_pipelines
from tests.conditions import eventually
from tests.fixtures.runs import ended, overrides
from tests.fixtures.server import Embedded


def seen(embedded: Embedded, run: UUID, pipeline: str) -> RunSummary:
    """A run as `flows report` sees it."""
    plan = declared(getattr(plain_pipelines, pipeline))
    assert plan is not None

    async def read() -> RunSummary:
        async with PrefectClient(embedded.api) as client:
            api = RunsClient(client)
            return await observe(api, plan, await api.read(run))

    return asyncio.run(read())


def test_flows_that_return_data_or_a_state_complete_their_steps(embedded: Embedded, tmp_path: Path) -> None:
    """Sync, async, with tasks that are retried; the parameters arrive as their types say, and only they."""
    run = embedded.run("plain-well", overrides=overrides(score={"marks": str(tmp_path)}))
    assert ended(run) == ("Completed", "3 of 3 steps completed")
    assert embedded.states(run.id) == {"score/1": "Completed", "waits/1": "Completed", "says/1": "Completed"}
    assert (tmp_path / "seen").read_text() == "south [1, 2] 2026-11-29 2 1.0"
    child = embedded.children(run.id)["score", 1]
    assert set(child.parameters) == {"marks", "region", "day", "rows", "ratio"}
    assert set(child.tags) == {"pipeline:plain-well", "step:score"}
    assert "`says`: 3 models are new" in embedded.answers(run.id)


def test_how_another_team_s_flow_ends_is_how_its_step_ends(embedded: Embedded) -> None:
    """Each with its own message on the page and in the alert; no word of it is taken for a cause of this package."""
    run = embedded.run("plain-badly")
    failed = "failed (error), cancelled (cancelled), several (error), raises (error), slow (timeout)"
    assert ended(run) == ("Failed", f"0 of 6 steps completed; failed: {failed}; not run: behind")
    assert embedded.states(run.id) == {
        "failed/1": "Failed",
        "cancelled/1": "Cancelled",
        "several/1": "Failed",
        "raises/1": "Failed",
        "slow/1": "TimedOut",
    }
    raised = "Flow run encountered an exception: ValueError: no model for Rome"
    whys = {
        "failed": "platform: the model server answered 503",
        "cancelled": "out-of-memory: not today",
        "several": "1/2 states failed.",
        "raises": f"{raised} \\| see the registry",
        "slow": "Flow run exceeded timeout of 1.0 second(s)",
    }
    page, summary = embedded.answers(run.id), seen(embedded, run.id, "badly")
    for child in embedded.children(run.id).values():
        assert f"/runs/flow-run/{child.id})" in page
    for step, why in whys.items():
        assert f"## {step} failed: " in page
        assert f"- **Why:** {why}" in page
        assert f"- **Why:** {why}" in summary.markdown({})
    alert = of_summary(summary, "test", {}, tries=1)
    assert {failure.step: failure.why for failure in alert.failures} == whys | {
        "raises": f"{raised} | see the registry"
    }


def test_a_crashed_process_is_tried_again_as_a_child_is(embedded: Embedded, tmp_path: Path) -> None:
    """A flow that says Crashed itself counts as one; what it says of the cause does not."""
    (tmp_path / "once").touch()
    run = embedded.run("plain-crashed", overrides=overrides(once={"once": str(tmp_path / "once")}))
    assert ended(run) == (
        "Failed",
        "2 of 4 steps completed; failed: said (crashed; attempt 2 of 2), dies (crashed; attempt 2 of 2)",
    )
    assert embedded.states(run.id) == {
        "said/1": "Crashed",
        "said/2": "Crashed",
        "dies/1": "Crashed",
        "dies/2": "Crashed",
        "once/1": "Crashed",
        "once/2": "Completed",
        "behind/1": "Completed",
    }
    assert "status code: 3" in embedded.answers(run.id)


def test_a_flow_that_retries_by_itself_has_not_failed_in_between(embedded: Embedded, tmp_path: Path) -> None:
    """Prefect runs it again in the same process: one attempt, whatever its state is meanwhile."""
    marks = tmp_path / "marks"
    run = embedded.start("plain-patient", overrides=overrides(flaky={"marks": str(marks)}))
    eventually(lambda: embedded.states(run) == {"flaky/1": "AwaitingRetry"}, "the flow waits for its next try")
    between = {outcome.step: str(outcome.state) for outcome in seen(embedded, run, "patient").outcomes}
    assert between == {"flaky": "running", "behind": "waiting"}
    assert ended(embedded.end_of(run)) == ("Completed", "2 of 2 steps completed")
    assert embedded.states(run) == {"flaky/1": "Completed", "behind/1": "Completed"}
    tries = marks.read_text().split()
    assert len(tries) == 3
    assert len(set(tries)) == 1


def test_a_flow_whose_own_retries_are_used_up_has_failed_once(embedded: Embedded, tmp_path: Path) -> None:
    """The pipeline does not add attempts to them."""
    marks = tmp_path / "marks"
    run = embedded.run("plain-patient", overrides=overrides(flaky={"marks": str(marks), "good_try": 9}))
    assert ended(run) == ("Failed", "0 of 2 steps completed; failed: flaky (error); not run: behind")
    assert len(marks.read_text().split()) == 3
    assert "- **Why:** Flow run encountered an exception: ConnectionError: try 3 found nobody" in embedded.answers(
        run.id
    )


def test_a_pipeline_that_is_cancelled_cancels_a_plain_flow(embedded: Embedded, tmp_path: Path) -> None:
    """While it works, and while it waits for its own next try."""
    started, marks = tmp_path / "started", tmp_path / "marks"
    held = overrides(holds={"started": str(started), "until": str(tmp_path / "never")})
    holding = embedded.start("plain-held", overrides=held)
    patient = embedded.start("plain-patient", overrides=overrides(flaky={"marks": str(marks), "good_try": 9}))
    eventually(started.exists, "the flow works")
    eventually(lambda: embedded.states(patient) == {"flaky/1": "AwaitingRetry"}, "the flow waits for its next try")
    for run in (holding, patient):
        embedded.cancel(run)
    assert [embedded.end_of(run).state_name for run in (holding, patient)] == ["Cancelled", "Cancelled"]
    eventually(lambda: embedded.states(holding) == {"holds/1": "Cancelled"}, "the working flow is stopped")
    eventually(lambda: embedded.states(patient) == {"flaky/1": "Cancelled"}, "the waiting flow is stopped")
    tries = marks.read_text()
    pids = [int(pid) for pid in tries.split()]
    eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), "its process ends", within=30)
    assert marks.read_text() == tries


def test_a_plain_flow_is_cancelled_when_its_step_has_no_time_left(embedded: Embedded, tmp_path: Path) -> None:
    """The step's timeout, for the flow has none."""
    run = embedded.run(
        "plain-hasty", overrides=overrides(holds={"started": str(tmp_path / "on"), "until": str(tmp_path / "never")})
    )
    assert ended(run) == ("Failed", "0 of 1 steps completed; failed: holds (timeout)")
    assert embedded.states(run.id) == {"holds/1": "Cancelled"}
    assert "- **Why:** took longer than 0:00:06." in embedded.answers(run.id)


def test_a_flow_that_pauses_itself_goes_on_when_a_person_resumes_it(embedded: Embedded) -> None:
    """Its process waits, and so does the step: its timeout of 20 s does not count meanwhile."""
    run = embedded.start("plain-paused")
    eventually(lambda: embedded.states(run) == {"pauses/1": "Paused"}, "the flow pauses itself")
    time.sleep(22)
    embedded.client.resume_flow_run(embedded.children(run)["pauses", 1].id)
    assert ended(embedded.end_of(run)) == ("Completed", "1 of 1 steps completed")
    assert embedded.states(run) == {"pauses/1": "Completed"}


@pytest.mark.parametrize(
    ("parameters", "cause", "why"),
    [
        (
            {"seconds": 2},
            "timeout",
            " and never resumed.",
        ),
        (
            {"suspended": True},
            "error",
            "RuntimeError: Flow run cannot be suspended: Cannot suspend subflows.",
        ),
    ],
)
def test_a_flow_that_nobody_resumes_or_that_suspends_itself_has_failed(
    parameters: dict[str, object], cause: str, why: str, embedded: Embedded
) -> None:
    """In Prefect's words: it does not suspend a run that another run has started."""
    run = embedded.run("plain-paused", overrides=overrides(pauses=parameters))
    assert ended(run) == ("Failed", f"0 of 1 steps completed; failed: pauses ({cause})")
    assert f"{why}\n" in embedded.answers(run.id)


@pytest.mark.parametrize("retried", ["pipeline", "child"])
def test_a_resume_reuses_what_completed_and_starts_the_failed_flow_anew(
    retried: str, embedded: Embedded, tmp_path: Path
) -> None:
    """A new attempt of the flow; or none, where a person has retried the flow's own run before."""
    file = tmp_path / "mended"
    run = embedded.run("plain-resumed", overrides=overrides(raises={"unless": str(file)}))
    assert ended(run) == ("Failed", "1 of 3 steps completed; failed: raises (error); not run: behind")
    file.touch()
    if retried == "child":
        child = embedded.retry(embedded.children(run.id)["raises", 1].id)
        assert child.state_name == "Completed"
    again = embedded.retry(run.id)
    assert ended(again) == ("Completed", "3 of 3 steps completed")
    attempts = {"raises/1": "Failed", "raises/2": "Completed"} if retried == "pipeline" else {"raises/1": "Completed"}
    assert embedded.states(run.id) == {"waits/1": "Completed", "behind/1": "Completed"} | attempts
