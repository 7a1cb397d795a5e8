"""What a job pod runs (`python -m flow_of_flows.pod`), on a real server: it ends runs as Prefect's own command does."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.conditions import eventually
from tests.fixtures.pods import Pod, gone, made


def test_a_run_completes_with_its_report_and_its_log(pod: Pod) -> None:
    """The exit code is 0, the log is on the container's output and at the API."""
    run = pod.run_of("flow_of_flows.smoke.smoke", message="hello")
    assert pod.start(run).wait(60) == 0
    assert pod.state(run) == ("Completed", "hello")
    assert pod.embedded.report(run).summary == "hello"
    assert "Finished in state Completed('hello')" in pod.text()


def test_a_failed_child_is_failed_and_the_pod_still_ends_well(pod: Pod, tmp_path: Path) -> None:
    """As with Prefect's own command: the state tells, not the exit code."""
    (tmp_path / "bad").touch()
    run = pod.run_of("tests.children.work", fail_if=str(tmp_path / "bad"))
    assert pod.start(run).wait(60) == 0
    assert pod.state(run) == ("Failed", "A row is bad. Where: orders.csv, line 7. Next: correct the row.")


def test_cancelling_ends_the_engine_and_the_run_is_cancelled(pod: Pod, tmp_path: Path) -> None:
    """No process is left."""
    run = pod.run_of("tests.children.work", touch=str(tmp_path / "began"), await_file=str(tmp_path / "never"))
    process = pod.start(run)
    made(pod, tmp_path / "began")
    engine = pod.engine(process)
    pod.embedded.cancel(run)
    assert process.wait(60) == 0
    assert pod.state(run)[0] == "Cancelled"
    assert gone(engine)


def test_cancelling_asks_the_children_to_stop_though_the_flow_has_no_hook(pod: Pod, tmp_path: Path) -> None:
    """The pod itself hands it on: a pipeline's own hook comes only after its flow is imported once more."""
    run = pod.run_of("tests.children.work", touch=str(tmp_path / "began"), await_file=str(tmp_path / "never"))
    process = pod.start(run)
    made(pod, tmp_path / "began")
    child = pod.child_of(run)
    pod.embedded.cancel(run)
    assert process.wait(60) == 0
    assert pod.state(run)[0] == "Cancelled"
    assert pod.state(child)[0] == "Cancelling"


def test_sigterm_hands_the_run_back_when_the_worker_has_asked_for_it(pod: Pod, tmp_path: Path) -> None:
    """AwaitingRetry, exit code 0; the next pod of the same run completes it."""
    began, go = tmp_path / "began", tmp_path / "go"
    run = pod.run_of("tests.children.work", touch=str(began), await_file=str(go))
    process = pod.start(run, PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR="reschedule")
    made(pod, began)
    engine = pod.engine(process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    assert pod.state(run)[0] == "AwaitingRetry"
    assert gone(engine)
    go.touch()
    assert pod.start(run).wait(60) == 0
    assert pod.state(run) == ("Completed", "did its work")
    assert pod.embedded.client.read_flow_run(run).run_count == 2


def test_sigterm_leaves_the_run_to_the_job_when_kubernetes_retries(pod: Pod, tmp_path: Path) -> None:
    """The exit code is 1, so that the Job starts another pod; the state stays Running."""
    run = pod.run_of("tests.children.work", touch=str(tmp_path / "began"), await_file=str(tmp_path / "never"))
    process = pod.start(run, PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR="relinquish")
    made(pod, tmp_path / "began")
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 1
    assert pod.state(run)[0] == "Running"


def test_an_engine_that_is_killed_is_a_crash_that_names_the_signal(pod: Pod, tmp_path: Path) -> None:
    """As the kernel would when memory runs out."""
    run = pod.run_of("tests.children.work", touch=str(tmp_path / "began"), await_file=str(tmp_path / "never"))
    process = pod.start(run)
    made(pod, tmp_path / "began")
    os.kill(pod.engine(process), signal.SIGKILL)
    assert process.wait(60) == 0
    name, message = pod.state(run)
    assert name == "Crashed"
    assert "Process exited with status code: -9" in message


def test_the_engine_does_not_outlive_its_supervisor(pod: Pod, tmp_path: Path) -> None:
    """Nothing would manage it."""
    run = pod.run_of("tests.children.work", touch=str(tmp_path / "began"), await_file=str(tmp_path / "never"))
    process = pod.start(run)
    made(pod, tmp_path / "began")
    engine = pod.engine(process)
    process.kill()
    eventually(lambda: gone(engine), "the engine is gone", within=10)


def test_a_run_that_is_cancelled_before_its_pod_starts_never_starts(pod: Pod, tmp_path: Path) -> None:
    """The child's code does not run."""
    run = pod.run_of("tests.children.work", touch=str(tmp_path / "began"))
    pod.embedded.cancel(run)
    assert pod.start(run).wait(60) == 0
    assert pod.state(run)[0] == "Cancelled"
    assert not (tmp_path / "began").exists()


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        (
            {"PREFECT__FLOW_RUN_ID": "none"},
            (
                "error: 'none' is not the id of a flow run. Where: PREFECT__FLOW_RUN_ID. "
                "Next: let a worker start this pod, or set it.\n"
            ),
        ),
        (
            {"PREFECT__FLOW_RUN_ID": "00000000-0000-4000-8000-000000000000"},
            (
                "error: There is no flow run 00000000-0000-4000-8000-000000000000. Where: {api}. "
                "Next: see whether this is the API that it was made on.\n"
            ),
        ),
    ],
    ids=["no id", "unknown"],
)
def test_a_pod_without_a_run_says_so_in_a_line(pod: Pod, environment: dict[str, str], message: str) -> None:
    """And ends with 1."""
    assert pod.start(environment["PREFECT__FLOW_RUN_ID"]).wait(60) == 1
    assert message.format(api=f"{pod.embedded.api}/") in pod.text()
