"""Stopping the hubspot child in its pod: a cancelled run cancels its sync, a pod that has to go does not."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator

import pytest

from tests.conditions import eventually
from tests.fixtures.airbyte import Airbyte, serving
from tests.fixtures.pods import Pod

CHILD = "flows.ingest.hubspot.hubspot"
RESCHEDULE = {"PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR": "reschedule"}
QUICK = {"FLOWS_AIRBYTE_POLL_SECONDS": "0.1", "FLOWS_AIRBYTE_POLL_MAX_SECONDS": "0.2"}


@pytest.fixture
def airbyte() -> Iterator[Airbyte]:
    """Airbyte, whose syncs do not end by themselves."""
    with serving(Airbyte(script=("pending", "running"))) as server:
        yield server


def variables(airbyte: Airbyte) -> dict[str, str]:
    """What the pod is configured with."""
    return {**QUICK, "AIRBYTE_API_CREDENTIALS": json.dumps(airbyte.credentials)}


def begun(airbyte: Airbyte, pod: Pod) -> None:
    """Wait until the child waits for its sync."""
    eventually(lambda: airbyte.asked.count("GET /jobs/") > 1, f"it looks at the job; {pod.text()}", within=60)


def test_a_cancelled_run_cancels_its_sync(airbyte: Airbyte, pod: Pod) -> None:
    """And ends as cancelled."""
    run = pod.run_of(CHILD)
    process = pod.start(run, **variables(airbyte))
    begun(airbyte, pod)
    pod.embedded.cancel(run)
    process.wait(60)
    assert pod.state(run)[0] == "Cancelled", pod.text()
    assert [job.status for job in airbyte.jobs] == ["cancelled"]
    assert airbyte.asked.count("DELETE /jobs/") == 1


def test_a_process_that_is_told_to_end_for_good_cancels_its_sync(airbyte: Airbyte, pod: Pod) -> None:
    """A SIGTERM that nobody has explained: who sent it will not start this run again."""
    run = pod.run_of(CHILD)
    process = pod.start(run, **variables(airbyte))
    begun(airbyte, pod)
    os.kill(pod.engine(process), signal.SIGTERM)
    assert process.wait(60) == 0
    assert pod.state(run)[0] == "Crashed"
    assert [job.status for job in airbyte.jobs] == ["cancelled"]


@pytest.mark.parametrize("meanwhile", ["running", "succeeded"])
def test_a_pod_that_has_to_go_leaves_the_sync_and_the_next_one_finds_it(
    airbyte: Airbyte, pod: Pod, meanwhile: str
) -> None:
    """Whether it still runs by then, or is over: there is no second one."""
    run = pod.run_of(CHILD)
    process = pod.start(run, **variables(airbyte), **RESCHEDULE)
    begun(airbyte, pod)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    assert pod.state(run)[0] == "AwaitingRetry", pod.text()
    assert [job.status for job in airbyte.jobs] == ["running"]
    assert "DELETE /jobs/" not in airbyte.asked

    airbyte.jobs[0].script = [meanwhile, "succeeded"]
    if meanwhile == "succeeded":
        airbyte.jobs[0].status, airbyte.jobs[0].script = meanwhile, []
    assert pod.start(run, **variables(airbyte)).wait(60) == 0
    assert pod.state(run)[0] == "Completed", pod.text()
    assert pod.embedded.report(run).facts["job"] == 1
    assert len(airbyte.jobs) == 1
