"""One pod works on a run, on a real server: whoever comes late, wakes up or is cut off ends without a side effect."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest
from prefect.states import AwaitingRetry, Cancelling, Crashed, Failed, Pending, Running

from tests.conditions import eventually
from tests.fixtures.pods import RELINQUISH, RESCHEDULE, SHORT, Pod, begun, gone, held, pause, status
from tests.fixtures.proxy import CountingProxy


def test_of_two_pods_that_start_at_once_one_works(pod: Pod, tmp_path: Path) -> None:
    """The other ends well before its first side effect, and says so in its log and in the run's."""
    run = held(pod, tmp_path)
    pod.set(run, Pending())
    pods = [pod.start(run), pod.start(run)]
    idle = eventually(lambda: next((each for each in pods if each.poll() is not None), None), "one ends")
    begun(pod, tmp_path)
    (tmp_path / "go").touch()
    assert [each.wait(60) for each in pods] == [0, 0]
    assert idle.returncode == 0
    assert len((tmp_path / "begun").read_text().splitlines()) == 1
    assert pod.states(run) == ["Scheduled", "Pending", "Running", "Completed"]
    assert pod.claims(run) == {"1": "Completed"}
    refusal = f"Not started: another pod, {os.uname().nodename}, works on this run; this one does nothing."
    assert refusal in pod.text().replace("\n", " ")
    assert refusal in pod.logged(run)


def test_a_copy_that_comes_while_the_run_runs_does_nothing(pod: Pod, tmp_path: Path) -> None:
    """So does one that comes after its end."""
    run = held(pod, tmp_path)
    first = pod.start(run)
    begun(pod, tmp_path)
    assert pod.start(run).wait(60) == 0
    assert "works on this run; this one does nothing" in pod.logged(run)
    (tmp_path / "go").touch()
    assert first.wait(60) == 0
    assert pod.start(run).wait(60) == 0
    assert "The run is over (Completed); this pod does nothing." in pod.logged(run)
    assert pod.states(run) == ["Scheduled", "Running", "Completed"]
    assert pod.claims(run) == {"1": "Completed"}


def test_a_pod_that_was_paused_and_superseded_ends_when_it_wakes(pod: Pod, tmp_path: Path) -> None:
    """Its successor waits for the length of a lease; the sleeper finds its lease over before it goes on."""
    run = held(pod, tmp_path)
    sleeper = pod.start(run, **SHORT)
    begun(pod, tmp_path)
    stopped = pause(sleeper)
    pod.set(run, AwaitingRetry())
    successor = pod.start(run, **SHORT)
    begun(pod, tmp_path, 2)
    (tmp_path / "go").touch()
    assert successor.wait(60) == 0
    (tmp_path / "go").unlink()
    for each in stopped:
        os.kill(each, signal.SIGCONT)
    assert sleeper.wait(60) == 0
    assert gone(stopped[1])
    assert pod.states(run) == ["Scheduled", "Running", "AwaitingRetry", "Running", "Completed"]
    assert pod.claims(run) == {"1": "Completed", "2": "Completed"}
    assert "This pod ends without a word on the run's state: another pod works on this run now." in pod.logged(run)


def test_a_pod_that_was_paused_for_a_while_goes_on(pod: Pod, tmp_path: Path) -> None:
    """Nobody took its run: it is frozen until the API has said so, then thawed."""
    run = held(pod, tmp_path)
    sleeper = pod.start(run, FLOWS_POD_LEASE_SECONDS="3")
    begun(pod, tmp_path)
    stopped = pause(sleeper)
    with pytest.raises(subprocess.TimeoutExpired):
        sleeper.wait(4)
    (tmp_path / "go").touch()
    for each in stopped:
        os.kill(each, signal.SIGCONT)
    assert sleeper.wait(60) == 0
    assert pod.states(run) == ["Scheduled", "Running", "Completed"]


def test_a_pod_that_is_cut_off_is_frozen_before_its_successor_begins(
    pod: Pod, tmp_path: Path, proxy: CountingProxy
) -> None:
    """Never are two at work; when the network is back, it ends without a word."""
    run = held(pod, tmp_path)
    lost = pod.start(run, **SHORT, PREFECT_API_URL=proxy.api)
    begun(pod, tmp_path)
    engine = pod.engine(lost)
    proxy.partition()
    pod.set(run, AwaitingRetry())
    successor = pod.start(run, **SHORT)
    begun(pod, tmp_path, 2)
    assert status(engine) == "T"
    (tmp_path / "go").touch()
    assert successor.wait(60) == 0
    proxy.passing.set()
    assert lost.wait(60) == 0
    assert gone(engine)
    assert pod.states(run) == ["Scheduled", "Running", "AwaitingRetry", "Running", "Completed"]


def test_a_network_that_comes_back_finds_the_run_going_on(pod: Pod, tmp_path: Path, proxy: CountingProxy) -> None:
    """It is frozen when its lease is over, and thawed by the first answer."""
    run = held(pod, tmp_path)
    cut = pod.start(run, **SHORT, PREFECT_API_URL=proxy.api)
    begun(pod, tmp_path)
    engine = pod.engine(cut)
    proxy.partition()
    eventually(lambda: status(engine) == "T", "the engine is frozen", within=30)
    (tmp_path / "go").touch()
    proxy.passing.set()
    assert cut.wait(90) == 0
    assert pod.states(run) == ["Scheduled", "Running", "Completed"]


def test_a_run_that_lived_through_an_outage_of_the_api_can_be_cancelled(
    pod: Pod, tmp_path: Path, proxy: CountingProxy
) -> None:
    """Prefect's own observer has given up by then; the run is not disturbed meanwhile."""
    run = held(pod, tmp_path)
    process = pod.start(run, PREFECT_API_URL=proxy.api)
    begun(pod, tmp_path)
    engine = pod.engine(process)
    proxy.fail()
    eventually(lambda: "Cancellation observer failed" in pod.text(), "Prefect's observer gives up", within=150)
    assert status(engine) != "T"
    proxy.mend()
    pod.set(run, Cancelling())
    eventually(lambda: pod.state(run)[0] == "Cancelled", "it is cancelled", within=30)
    assert process.wait(60) == 0
    assert gone(engine)


def test_a_successor_is_cancelled_while_it_waits(pod: Pod, tmp_path: Path) -> None:
    """It ends Cancelled, and the engine has never begun."""
    run = held(pod, tmp_path)
    stopped = pod.start(run)
    begun(pod, tmp_path)
    pause(stopped)
    pod.set(run, AwaitingRetry())
    waiting = pod.start(run)
    eventually(lambda: "has not said that it is over" in pod.logged(run), "it waits")
    pod.set(run, Cancelling())
    assert waiting.wait(30) == 0
    assert pod.state(run)[0] == "Cancelled"
    assert len((tmp_path / "begun").read_text().splitlines()) == 1


def test_a_successor_that_waits_hands_the_run_back_on_sigterm(pod: Pod, tmp_path: Path) -> None:
    """Its claim is released."""
    run = held(pod, tmp_path)
    stopped = pod.start(run)
    begun(pod, tmp_path)
    pause(stopped)
    pod.set(run, AwaitingRetry())
    waiting = pod.start(run, **RESCHEDULE)
    eventually(lambda: "has not said that it is over" in pod.logged(run), "it waits")
    waiting.send_signal(signal.SIGTERM)
    assert waiting.wait(30) == 0
    assert pod.state(run)[0] == "AwaitingRetry"
    assert pod.claims(run) == {"1": "Running", "2": "Completed"}


def test_the_next_pod_of_the_same_job_takes_over(pod: Pod, tmp_path: Path) -> None:
    """Where Kubernetes retries: the pod before has released the run; it is Running still."""
    run = held(pod, tmp_path)
    first = pod.start(run, **RELINQUISH)
    begun(pod, tmp_path)
    first.send_signal(signal.SIGTERM)
    assert first.wait(60) == 1
    second = pod.start(run, **RELINQUISH)
    begun(pod, tmp_path, 2)
    (tmp_path / "go").touch()
    assert second.wait(60) == 0
    assert pod.state(run) == ("Completed", "did its work")
    assert pod.claims(run) == {"1": "Completed", "1.1": "Completed"}


def test_a_run_that_crashed_too_often_is_failed_until_somebody_retries_it(pod: Pod, tmp_path: Path) -> None:
    """The message tells the last crash and its cause."""
    run = held(pod, tmp_path)
    for _ in range(4):
        pod.set(run, Running())
        pod.set(run, Crashed(message="out-of-memory: the kernel killed the run's process"))
        pod.set(run, AwaitingRetry())
    assert pod.start(run).wait(60) == 0
    assert pod.state(run) == (
        "Failed",
        (
            "out-of-memory: the run crashed 4 times and is not started again; see its log, correct the cause, "
            "retry it. The last crash: out-of-memory: the kernel killed the run's process"
        ),
    )
    assert not (tmp_path / "begun").exists()
    (tmp_path / "go").touch()
    pod.set(run, AwaitingRetry())
    assert pod.start(run).wait(60) == 0
    assert pod.state(run) == ("Completed", "did its work")


def test_a_run_ends_before_the_deadline_of_its_job(pod: Pod, tmp_path: Path) -> None:
    """It fails for its timeout, and a SIGTERM that follows does not have it started again."""
    run = held(pod, tmp_path)
    process = pod.start(run, **RESCHEDULE, FLOWS_POD_DEADLINE_SECONDS=" 24")
    begun(pod, tmp_path)
    engine = pod.engine(process)
    assert process.wait(60) == 0
    assert pod.state(run) == (
        "TimedOut",
        (
            "timeout: the run is ended after 24 s, before Kubernetes ends its Job; "
            "give it more time (`active_deadline_seconds`), or less to do"
        ),
    )
    assert gone(engine)
    assert pod.claims(run) == {"1": "Completed"}


def test_somebody_who_ends_a_run_ends_its_pod(pod: Pod, tmp_path: Path) -> None:
    """A run that is Failed by hand is not worked on."""
    run = held(pod, tmp_path)
    process = pod.start(run, **SHORT)
    begun(pod, tmp_path)
    pod.set(run, Failed(message="enough"))
    assert process.wait(60) == 0
    assert pod.state(run) == ("Failed", "enough")
    assert "This pod ends without a word on the run's state: the run was ended by somebody else." in pod.logged(run)
