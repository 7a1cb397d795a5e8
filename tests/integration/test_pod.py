"""What a job pod runs (`python -m flows.pod`), on a real server: it ends runs as Prefect's own command does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.conditions import eventually
from tests.fixtures.server import REPOSITORY, Embedded

PULL = [{"prefect.deployments.steps.set_working_directory": {"directory": str(REPOSITORY)}}]


class Pod:
    """Starts pods: processes of this machine, each for one run of a deployment that nothing else looks after."""

    def __init__(self, embedded: Embedded, folder: Path) -> None:
        self.embedded = embedded
        self.log = folder / "pod.log"
        self.started: list[subprocess.Popen[bytes]] = []

    def run_of(self, entrypoint: str, **parameters: Any) -> UUID:
        """A run that waits for its pod."""
        client = self.embedded.client
        flow = client.create_flow_from_name(entrypoint.rpartition(".")[2])
        deployment = client.create_deployment(
            flow_id=flow, name=f"pod-{uuid4()}", entrypoint=entrypoint, path=str(REPOSITORY), pull_steps=PULL
        )
        return client.create_flow_run_from_deployment(deployment, parameters=parameters).id

    def start(self, run: object, **environment: str) -> subprocess.Popen[bytes]:
        """The pod of a run."""
        environment |= {"PREFECT_API_URL": self.embedded.api, "PREFECT__FLOW_RUN_ID": str(run)}
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "flows.pod"],
                env={**os.environ, "PYTHONPATH": str(REPOSITORY), **environment},
                stdout=log,
                stderr=log,
            )
        self.started.append(process)
        return process

    def engine(self, process: subprocess.Popen[bytes]) -> int:
        """Process id of the engine."""
        (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        return int(child)

    def state(self, run: UUID) -> tuple[str, str]:
        """Name and message of a run's state."""
        state = self.embedded.client.read_flow_run(run).state
        return (str(state.name), str(state.message)) if state else ("", "")

    def text(self) -> str:
        """What the pods have printed."""
        return self.log.read_text()


@pytest.fixture
def pod(embedded: Embedded, tmp_path: Path) -> Iterator[Pod]:
    """Pods that are ended with the test."""
    pods = Pod(embedded, tmp_path)
    yield pods
    for process in pods.started:
        process.kill()
        process.wait()


def begun(pod: Pod, file: Path) -> None:
    """Wait until the child's code runs."""
    eventually(file.exists, f"{file} is made; the pod printed: {pod.text()}", within=60)


def gone(pid: int) -> bool:
    """Whether a process is over (a zombie is)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_a_run_completes_with_its_report_and_its_log(pod: Pod) -> None:
    """The exit code is 0, the log is on the container's output and at the API."""
    run = pod.run_of("flows.smoke.smoke", message="hello")
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
    begun(pod, tmp_path / "began")
    engine = pod.engine(process)
    pod.embedded.cancel(run)
    assert process.wait(60) == 0
    assert pod.state(run)[0] == "Cancelled"
    assert gone(engine)


def test_sigterm_hands_the_run_back_when_the_worker_has_asked_for_it(pod: Pod, tmp_path: Path) -> None:
    """AwaitingRetry, exit code 0; the next pod of the same run completes it."""
    began, go = tmp_path / "began", tmp_path / "go"
    run = pod.run_of("tests.children.work", touch=str(began), await_file=str(go))
    process = pod.start(run, PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR="reschedule")
    begun(pod, began)
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
    begun(pod, tmp_path / "began")
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 1
    assert pod.state(run)[0] == "Running"


def test_an_engine_that_is_killed_is_a_crash_that_names_the_signal(pod: Pod, tmp_path: Path) -> None:
    """As the kernel would when memory runs out."""
    run = pod.run_of("tests.children.work", touch=str(tmp_path / "began"), await_file=str(tmp_path / "never"))
    process = pod.start(run)
    begun(pod, tmp_path / "began")
    os.kill(pod.engine(process), signal.SIGKILL)
    assert process.wait(60) == 0
    name, message = pod.state(run)
    assert name == "Crashed"
    assert "Process exited with status code: -9" in message


def test_the_engine_does_not_outlive_its_supervisor(pod: Pod, tmp_path: Path) -> None:
    """Nobody would look after it."""
    run = pod.run_of("tests.children.work", touch=str(tmp_path / "began"), await_file=str(tmp_path / "never"))
    process = pod.start(run)
    begun(pod, tmp_path / "began")
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
                "error: 'none' is no id of a flow run. Where: PREFECT__FLOW_RUN_ID. "
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
