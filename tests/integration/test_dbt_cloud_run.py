"""The dbt Cloud child as Prefect runs in pods: stopped, rescheduled and retried, with its run in dbt Cloud."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect.states import AwaitingRetry

from tests.conditions import eventually
from tests.fixtures import dbt_cloud_runs as cloud
from tests.fixtures.dbt_cloud import TOKEN, Fault, StandIn
from tests.fixtures.dbt_cloud_runs import FAILING, Frame, Script
from tests.fixtures.pods import Pod

ENTRYPOINT = "flow_of_flows.dbt_cloud.child.dbt_cloud"
START, CANCEL = "/jobs/345/run/", "/runs/1000/cancel/"
RESCHEDULE = {"PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR": "reschedule"}


def waiting(pod: Pod, api: StandIn, **environment: str) -> tuple[UUID, subprocess.Popen[bytes]]:
    """A run whose job in dbt Cloud does not end, once the child has read it twice."""
    api.scripts = [cloud.ENDLESS]
    run = pod.run_of(ENTRYPOINT)
    process = pod.start(run, **environment)
    eventually(lambda: 1000 in api.runs and api.runs[1000].reads > 1, "the run in dbt Cloud is followed", within=60)
    return run, process


def said(pod: Pod, run: UUID, line: str) -> None:
    """Wait until a line is in the log of a run."""
    eventually(lambda: line in pod.embedded.log(run), f"{line!r} is in the log", within=30)


def finish(api: StandIn) -> None:
    """Let the job end well."""
    with api.lock:
        api.runs[1000].script = Script(cloud.GOOD.frames[-1:], cloud.GOOD.artifacts)


def test_cancelling_the_run_cancels_the_job(pod: Pod, dbt_cloud_api: StandIn) -> None:
    """In dbt Cloud, before the process ends."""
    run, process = waiting(pod, dbt_cloud_api)
    pod.embedded.cancel(run)
    assert process.wait(60) == 0
    assert pod.state(run)[0] == "Cancelled"
    assert dbt_cloud_api.posts() == [START, CANCEL]
    said(pod, run, "Cancelled run 1000 in dbt Cloud")


def test_a_run_that_is_handed_back_leaves_the_job_alone_and_attaches_to_it_again(
    pod: Pod, dbt_cloud_api: StandIn
) -> None:
    """A node that is drained costs no job: started once, reported by the second pod."""
    run, process = waiting(pod, dbt_cloud_api, **RESCHEDULE)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    assert pod.state(run)[0] == "AwaitingRetry"
    assert dbt_cloud_api.posts() == [START]
    again = pod.start(run, **RESCHEDULE)
    said(pod, run, "Attached to run 1000 in dbt Cloud, which is still at work")
    finish(dbt_cloud_api)
    assert again.wait(60) == 0
    assert pod.state(run) == ("Completed", "2 dbt nodes: 1 pass, 1 success (run 1000 in dbt Cloud)")
    assert dbt_cloud_api.posts() == [START]


def test_a_process_that_is_told_to_end_for_good_cancels_the_job(pod: Pod, dbt_cloud_api: StandIn) -> None:
    """A SIGTERM that nobody has explained: who sent it will not start this run again."""
    run, process = waiting(pod, dbt_cloud_api)
    os.kill(pod.engine(process), signal.SIGTERM)
    assert process.wait(60) == 0
    assert pod.state(run)[0] == "Crashed"
    assert dbt_cloud_api.posts() == [START, CANCEL]


def test_a_pod_that_is_killed_leaves_a_job_that_the_next_attempt_goes_on_with(pod: Pod, dbt_cloud_api: StandIn) -> None:
    """As dispatch starts one: a new run, with `retry_of`; the job has ended meanwhile, and is not started again."""
    run, process = waiting(pod, dbt_cloud_api)
    os.kill(pod.engine(process), signal.SIGKILL)
    assert process.wait(60) == 0
    assert pod.state(run)[0] == "Crashed"
    finish(dbt_cloud_api)
    again = pod.run_of(ENTRYPOINT, retry_of=str(run))
    assert pod.start(again).wait(60) == 0
    assert pod.state(again) == ("Completed", "2 dbt nodes: 1 pass, 1 success (run 1000 in dbt Cloud)")
    assert dbt_cloud_api.posts() == [START]
    said(pod, again, "Run 1000 in dbt Cloud has succeeded already")


def failed(pod: Pod, api: StandIn) -> UUID:
    """A run whose job has failed."""
    api.scripts = [FAILING]
    run = pod.run_of(ENTRYPOINT)
    assert pod.start(run).wait(60) == 0
    assert pod.state(run)[0] == "Failed"
    return run


def test_retrying_a_failed_run_retries_the_job_from_its_failure(pod: Pod, dbt_cloud_api: StandIn) -> None:
    """The Retry button on the child's page; a second failure is retried from there, not from the first."""
    run = failed(pod, dbt_cloud_api)
    dbt_cloud_api.scripts = [FAILING, cloud.GOOD]
    for state in ("Failed", "Completed"):
        pod.embedded.client.set_flow_run_state(run, AwaitingRetry())
        assert pod.start(run).wait(60) == 0
        assert pod.state(run)[0] == state
    assert pod.state(run)[1] == "2 dbt nodes: 1 pass, 1 success (run 1002 in dbt Cloud)"
    assert dbt_cloud_api.posts() == [START, "/runs/1000/retry/", "/runs/1001/retry/"]


@pytest.mark.parametrize("fault", [None, Fault("POST /runs/1000/retry", lose=True)], ids=["answered", "lost"])
def test_the_next_attempt_of_a_step_retries_the_job_once(pod: Pod, dbt_cloud_api: StandIn, fault: Fault | None) -> None:
    """Also when the answer to the retry is lost."""
    run = failed(pod, dbt_cloud_api)
    dbt_cloud_api.faults = [fault] if fault else []
    again = pod.run_of(ENTRYPOINT, retry_of=str(run))
    assert pod.start(again).wait(60) == 0
    assert pod.state(again) == ("Completed", "2 dbt nodes: 1 pass, 1 success (run 1001 in dbt Cloud)")
    assert dbt_cloud_api.posts() == [START, "/runs/1000/retry/"]


@pytest.mark.parametrize("why", ["another run since", "cancelled", "unknown"])
def test_what_dbt_cloud_cannot_retry_is_run_in_full_and_said(pod: Pod, dbt_cloud_api: StandIn, why: str) -> None:
    """It retries the newest run of a job only; a cancelled one is started anew without a word."""
    run = failed(pod, dbt_cloud_api)
    if why == "another run since":
        dbt_cloud_api.begin("Scheduled", cloud.GOOD)
    if why == "cancelled":
        dbt_cloud_api.runs[1000].cancelled = True
    again = pod.run_of(ENTRYPOINT, retry_of=str(uuid4() if why == "unknown" else run))
    assert pod.start(again).wait(60) == 0
    name, message = pod.state(again)
    newest = max(dbt_cloud_api.runs)
    assert (name, message) == ("Completed", f"2 dbt nodes: 1 pass, 1 success (run {newest} in dbt Cloud)")
    warnings = pod.embedded.report(again).warnings
    assert [warning.partition(":")[0] for warning in warnings] == (
        [] if why == "cancelled" else ["Full run instead of a retry"]
    )
    assert dbt_cloud_api.posts().count(START) == 2


def test_the_runs_page_has_the_picture_the_nodes_and_the_log(pod: Pod, dbt_cloud_api: StandIn) -> None:
    """And not the token, anywhere."""
    run = pod.run_of(ENTRYPOINT)
    assert pod.start(run).wait(60) == 0
    found = pod.embedded.artifacts(run)
    assert set(found) == {"dbt-cloud-run", "dbt-nodes", "flows-dbt-cloud-run", "flows-handback"}
    picture: Any = found["dbt-cloud-run"]
    assert "in dbt Cloud: **success**" in picture
    assert "| Invoke dbt with `dbt build` | success |" in picture
    said(pod, run, "2 Invoke dbt with `dbt build`: 1 of 2 OK created sql table model analytics.customers")
    (one,) = dbt_cloud_api.runs.values()
    name = pod.embedded.client.read_flow_run(run).name
    assert one.cause == f"flow-of-flows {name} {run} attempt 1"
    assert one.frame == Frame(*vars(cloud.GOOD.frames[-1]).values())
    assert TOKEN not in f"{found} {pod.embedded.log(run)} {pod.text()}"


def test_a_run_that_loses_dbt_cloud_fails_and_attaches_to_the_job_when_it_is_retried(
    pod: Pod, dbt_cloud_api: StandIn
) -> None:
    """The job goes on meanwhile: it is neither cancelled nor started again."""
    dbt_cloud_api.scripts = [cloud.ENDLESS]
    dbt_cloud_api.faults = [Fault("GET /runs/1000", times=99, status=503)]
    run = pod.run_of(ENTRYPOINT)
    assert pod.start(run).wait(60) == 0
    name, message = pod.state(run)
    assert name == "Failed"
    assert message.startswith("dbt Cloud fails with HTTP 503. ")
    assert message.endswith("then run again later; it goes on with its run in dbt Cloud.")
    dbt_cloud_api.faults = []
    finish(dbt_cloud_api)
    pod.embedded.client.set_flow_run_state(run, AwaitingRetry())
    assert pod.start(run).wait(60) == 0
    assert pod.state(run) == ("Completed", "2 dbt nodes: 1 pass, 1 success (run 1000 in dbt Cloud)")
    assert dbt_cloud_api.posts() == [START]
