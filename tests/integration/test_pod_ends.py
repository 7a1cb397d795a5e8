"""How a pod ends when it is stopped early, late or asleep, on a real server; and what lets its successor begin."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import State
from prefect.events.schemas.events import Event
from prefect.states import AwaitingRetry, Cancelled, Cancelling, Crashed, Pending, Running

from flow_of_flows.pod.engine import Engine, Reporter
from tests.conditions import eventually
from tests.fixtures.pods import RELINQUISH, RESCHEDULE, SHORT, Pod, begun, gone, held, pause, status
from tests.fixtures.proxy import CountingProxy

TERM = 1 << signal.SIGTERM - 1


def keeps_sigterm_back(process: subprocess.Popen[bytes]) -> bool:
    """Whether a process blocks SIGTERM."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    blocked = next(line.split()[1] for line in lines if line.startswith("SigBlk:"))
    return bool(int(blocked, 16) & TERM)


def test_a_successor_begins_when_kubernetes_says_that_the_pod_before_is_over(pod: Pod, tmp_path: Path) -> None:
    """It does not wait for the rest of a lease of an hour, and says of the claim that nobody released what it knows."""
    long = {"FLOWS_POD_LEASE_SECONDS": "3600"}
    run = held(pod, tmp_path)
    dead = pod.start(run, **long)
    begun(pod, tmp_path)
    for each in pause(dead):
        os.kill(each, signal.SIGKILL)
    pod.set(run, AwaitingRetry())
    successor = pod.start(run, **long)
    eventually(lambda: "has not said that it is over" in pod.logged(run), "it waits")
    # As the worker's observer tells it; the pod's name is the host's, as in a pod.
    over = Event(
        event="prefect.kubernetes.pod.failed",
        resource={"prefect.resource.id": "prefect.kubernetes.pod.1", "prefect.resource.name": os.uname().nodename},
        related=[{"prefect.resource.id": f"prefect.flow-run.{run}", "prefect.resource.role": "flow-run"}],
    )
    pod.embedded.client.request("POST", "/events", json=[over.model_dump(mode="json")])
    begun(pod, tmp_path, 2)
    (tmp_path / "go").touch()
    assert successor.wait(60) == 0
    assert pod.states(run) == ["Scheduled", "Running", "AwaitingRetry", "Running", "Completed"]
    assert pod.claims(run) == {"1": "Crashed", "2": "Completed"}


def test_a_pod_that_the_api_leaves_alone_for_too_long_ends_frozen(
    pod: Pod, tmp_path: Path, proxy: CountingProxy
) -> None:
    """The engine does nothing any more, the exit code is that of a failure, and the run's state is not touched."""
    run = held(pod, tmp_path)
    lonely = pod.start(run, **SHORT, FLOWS_POD_PATIENCE_SECONDS="2", PREFECT_API_URL=proxy.api)
    begun(pod, tmp_path)
    engine = pod.engine(lonely)
    proxy.fail()
    eventually(lambda: status(engine) == "T", "it is frozen", within=60)
    eventually(lambda: gone(engine), "it is ended", within=60)
    assert lonely.wait(90) == 1
    assert "the API has not answered for too long" in pod.text()
    assert pod.states(run) == ["Scheduled", "Running"]


def test_a_frozen_pod_whose_run_was_ended_meanwhile_does_nothing_more(
    pod: Pod, tmp_path: Path, proxy: CountingProxy
) -> None:
    """Its engine is not woken up for a moment: it would do its work, and complete the run."""
    run = held(pod, tmp_path)
    cut_off = pod.start(run, **SHORT, PREFECT_API_URL=proxy.api)
    begun(pod, tmp_path)
    engine = pod.engine(cut_off)
    proxy.fail()
    eventually(lambda: status(engine) == "T", "it is frozen", within=60)
    pod.set(run, Crashed(message="No heartbeat"))
    (tmp_path / "go").touch()
    proxy.mend()
    assert cut_off.wait(60) == 0
    assert gone(engine)
    assert "the run was ended by somebody else" in pod.text()
    assert pod.states(run) == ["Scheduled", "Running", "Crashed"]


def test_sigterm_while_a_pod_starts_hands_the_run_back(pod: Pod, tmp_path: Path) -> None:
    """It is kept back until the supervisor listens; nothing of the run begins."""
    run = held(pod, tmp_path)
    process = pod.start(run, **RESCHEDULE)
    eventually(lambda: keeps_sigterm_back(process), "the pod has begun to start")
    process.send_signal(signal.SIGTERM)
    assert process.wait(90) == 0
    assert pod.states(run) == ["Scheduled", "AwaitingRetry"]
    assert not (tmp_path / "begun").exists()
    assert pod.claims(run) == {"1": "Completed"}


def test_sigterm_before_the_claim_hands_the_run_back(pod: Pod, tmp_path: Path, proxy: CountingProxy) -> None:
    """The API answers slowly, and the pod is stopped meanwhile."""
    run = held(pod, tmp_path)
    proxy.partition()
    process = pod.start(run, **RESCHEDULE, PREFECT_API_URL=proxy.api)
    eventually(proxy.requests.total, "the pod asks for something")
    process.send_signal(signal.SIGTERM)
    proxy.passing.set()
    assert process.wait(90) == 0
    assert pod.states(run) == ["Scheduled", "AwaitingRetry"]
    assert not (tmp_path / "begun").exists()


def test_a_pod_that_waits_leaves_the_run_to_its_job_on_sigterm(pod: Pod, tmp_path: Path) -> None:
    """Where Kubernetes retries: exit code 1, and no state is set."""
    run = held(pod, tmp_path)
    stopped = pod.start(run)
    begun(pod, tmp_path)
    pause(stopped)
    pod.set(run, AwaitingRetry())
    waiting = pod.start(run, **RELINQUISH)
    eventually(lambda: "has not said that it is over" in pod.logged(run), "it waits")
    waiting.send_signal(signal.SIGTERM)
    assert waiting.wait(60) == 1
    assert pod.states(run) == ["Scheduled", "Running", "AwaitingRetry"]
    assert pod.claims(run) == {"1": "Running", "2": "Completed"}


@pytest.mark.parametrize("ended", [Cancelled(), Cancelling()], ids=["Cancelled", "Cancelling"])
def test_a_run_that_is_cancelled_while_its_engine_imports_never_begins(
    pod: Pod, tmp_path: Path, ended: State[Any]
) -> None:
    """The pod has claimed it by then, and read it as one that may run."""
    run = held(pod, tmp_path)
    process = pod.start(run)
    engine = eventually(lambda: next(iter(children(process)), None), "the engine is forked")
    os.kill(engine, signal.SIGSTOP)
    eventually(lambda: pod.claims(run) == {"1": "Running"}, "it is claimed")
    # As it is once the worker has made its Job: what is asked to stop then is Cancelling until its pod says more.
    pod.set(run, Pending())
    pod.embedded.client.update_flow_run(run, infrastructure_pid="job")
    pod.set(run, ended)
    os.kill(engine, signal.SIGCONT)
    assert process.wait(60) == 0
    assert pod.states(run)[-1] == "Cancelled"
    assert "Running" not in pod.states(run)
    assert not (tmp_path / "begun").exists()
    assert gone(engine)
    assert pod.claims(run) == {"1": "Completed"}


def test_sigterm_after_the_deadline_does_not_start_the_run_again(
    pod: Pod, tmp_path: Path, proxy: CountingProxy
) -> None:
    """The engine has been ended for it, and the API is slow to hear of it: the run is TimedOut, once."""
    run = held(pod, tmp_path)
    late = {"FLOWS_POD_DEADLINE_SECONDS": "24", "PREFECT_API_URL": proxy.api}
    process = pod.start(run, **RESCHEDULE, **late)
    begun(pod, tmp_path)
    engine = pod.engine(process)
    proxy.partition()
    eventually(lambda: gone(engine), "the engine is ended", within=60)
    process.send_signal(signal.SIGTERM)
    proxy.passing.set()
    assert process.wait(60) == 0
    assert pod.states(run) == ["Scheduled", "Running", "TimedOut"]


def test_a_deadline_that_the_api_does_not_hear_of_is_one_sentence(
    pod: Pod, tmp_path: Path, proxy: CountingProxy
) -> None:
    """Nothing of the run goes on; exit code 1, and whoever finds the pod gone ends the run."""
    run = held(pod, tmp_path)
    late = {"FLOWS_POD_DEADLINE_SECONDS": "24", "PREFECT_API_URL": proxy.api, "PREFECT_CLIENT_MAX_RETRIES": "0"}
    process = pod.start(run, **RESCHEDULE, **late)
    begun(pod, tmp_path)
    engine = pod.engine(process)
    proxy.fail()
    assert process.wait(60) == 1
    assert gone(engine)
    assert pod.text().splitlines()[-1] == (
        "error: The Prefect API does not answer: All connection attempts failed. "
        f"Where: {proxy.api}/. Next: bring it back; the run is ended after 24 s, before Kubernetes ends its Job, "
        "and is Failed when its pod is found gone."
    )
    assert pod.states(run) == ["Scheduled", "Running"]


def test_a_pod_that_sleeps_past_its_deadline_does_not_time_out_the_run_of_its_successor(
    pod: Pod, tmp_path: Path
) -> None:
    """It finds that it may not speak for the run before it finds that it is late."""
    run = held(pod, tmp_path)
    sleeper = pod.start(run, **SHORT, FLOWS_POD_DEADLINE_SECONDS="24")
    begun(pod, tmp_path)
    stopped = pause(sleeper)
    pod.set(run, AwaitingRetry())
    successor = pod.start(run)
    eventually(lambda: pod.claims(run).get("2"), "it claims the run")
    with pytest.raises(subprocess.TimeoutExpired):
        sleeper.wait(18)
    for each in stopped:
        os.kill(each, signal.SIGCONT)
    assert sleeper.wait(60) == 0
    assert gone(stopped[1])
    begun(pod, tmp_path, 2)
    (tmp_path / "go").touch()
    assert successor.wait(60) == 0
    assert pod.states(run) == ["Scheduled", "Running", "AwaitingRetry", "Running", "Completed"]


def test_a_superseded_pod_does_not_hand_back_the_run_of_its_successor(pod: Pod, tmp_path: Path) -> None:
    """It is stopped while it sleeps, as a pod on a node that was lost is when the node comes back."""
    run = held(pod, tmp_path)
    sleeper = pod.start(run, **SHORT, **RESCHEDULE)
    begun(pod, tmp_path)
    stopped = pause(sleeper)
    pod.set(run, AwaitingRetry())
    successor = pod.start(run, **SHORT)
    begun(pod, tmp_path, 2)
    sleeper.send_signal(signal.SIGTERM)
    for each in stopped:
        os.kill(each, signal.SIGCONT)
    assert sleeper.wait(90) == 0
    assert gone(stopped[1])
    (tmp_path / "go").touch()
    assert successor.wait(60) == 0
    assert pod.states(run) == ["Scheduled", "Running", "AwaitingRetry", "Running", "Completed"]


def test_an_engine_that_the_kernel_killed_is_out_of_memory(pod: Pod, tmp_path: Path) -> None:
    """The container's own count tells; it is read before the engine begins, and after its end."""
    run = held(pod, tmp_path)
    pod.set(run, Running())
    counted = tmp_path / "memory.events"
    counted.write_text("oom_kill 1\n")
    (tmp_path / "memory.max").write_text("402653184\n")
    engine = cast("Engine", SimpleNamespace(returncode=-signal.SIGKILL))

    async def report() -> None:
        async with PrefectClient(pod.embedded.api) as client:
            reporter = Reporter(client, engine, tmp_path)
            counted.write_text("oom_kill 2\n")
            await reporter.propose_crashed(await client.read_flow_run(run), "Process exited with status code: -9.")

    asyncio.run(report())
    assert pod.state(run) == (
        "Crashed",
        (
            "out-of-memory: the kernel killed the run's process at its limit of 384Mi; "
            "give the deployment more memory (`memory_limit`)"
        ),
    )


def children(process: subprocess.Popen[bytes]) -> list[int]:
    """Process ids of what a process has started."""
    return [int(each) for each in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
