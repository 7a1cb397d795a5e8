"""Whole sessions of a project's tests: in several workers, interrupted, killed, too slow, and what they print."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from tests.conditions import eventually
from tests.fixtures.pytest_sessions import processes, running_session, session, write_project

SEVERAL = """
import pytest


@pytest.mark.parametrize("number", range(4))
def test_several(run_pipeline, number, worker_id):
    print(f"worker: {worker_id}")
    result = run_pipeline("inner", parameters={"load": {"days": number}})
    assert result.outcomes["load"].report.facts["days"] == number


def test_failing(run_pipeline, fail_step):
    fail_step("inner/load", message="A column is missing", cause="data")
    assert run_pipeline("main", only=["inner"]).verdict == "completed"
"""


def test_workers_have_a_server_each_and_hand_over_what_people_on_call_would_see(tmp_path: Path) -> None:
    """Two workers of pytest-xdist; the report of the test that fails has the page and the log of the step."""
    folder = write_project(tmp_path, test_several=SEVERAL)
    ended = session(folder, "-n", "2", "-rP")
    assert {name: bool(end) for name, end in ended.ends.items()} == {
        "test_failing": True,
        **{f"test_several[{number}]": False for number in range(4)},
    }
    assert {"gw0", "gw1"} >= set(re.findall(r"^worker: (\w+)$", ended.out, re.MULTILINE)) != set()
    assert re.search(r"^-+ run_pipeline main: failed -+\n# main failed\n", ended.out, re.MULTILINE), ended.out
    assert "- `load` (data): A column is missing.\n" in ended.out
    assert re.search(r"^-+ log of inner/load -+\n", ended.out, re.MULTILINE)
    assert "run_pipeline inner" not in ended.out
    assert processes(folder) == {}


HELD = """
def test_held(run_pipeline):
    run_pipeline("holding")
"""


def held(folder: Path) -> Path | None:
    """The file that the child writes when it is at work."""
    return next((folder / "tmp").glob("**/held"), None)


@pytest.mark.parametrize("words", [(), ("-n", "2")])
def test_ctrl_c_leaves_no_process(words: tuple[str, ...], tmp_path: Path) -> None:
    """Server, runner, fork server, pipeline and child are gone when the session is."""
    folder = write_project(tmp_path, test_held=HELD)
    with running_session(folder, *words) as process:
        eventually(lambda: held(folder), "the child is at work", within=90)
        assert len(processes(folder)) >= 5
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(60) == 2
    assert "KeyboardInterrupt" in (folder / "out").read_text()
    eventually(lambda: processes(folder) == {}, "every process is gone", within=15)


def test_a_killed_session_leaves_no_process(tmp_path: Path) -> None:
    """The end of its standard input tells the server."""
    folder = write_project(tmp_path, test_held=HELD)
    with running_session(folder) as process:
        eventually(lambda: held(folder), "the child is at work", within=90)
        process.kill()
        process.wait()
        eventually(lambda: processes(folder) == {}, "every process is gone", within=30)


SLOW = """
import time


def test_slow(run_pipeline):
    run_pipeline("holding", timeout=2)


def test_next(run_pipeline):
    assert run_pipeline("holding", parameters={"hold": {"seconds": 0}}).verdict == "completed"


def test_server(run_pipeline, _flows_server):
    import os
    import signal
    import threading

    pid = _flows_server._process.pid
    threading.Timer(2, lambda: os.kill(pid, signal.SIGKILL)).start()
    run_pipeline("holding")


def test_another_server(run_pipeline):
    assert run_pipeline("inner").verdict == "completed"
"""


def test_a_run_that_takes_too_long_is_ended_and_a_server_that_dies_is_started_again(tmp_path: Path) -> None:
    """The test fails with one sentence; the one after it has a server where nothing runs."""
    folder = write_project(tmp_path, test_slow=SLOW)
    ended = session(folder)
    server = folder / "tmp" / "flows-server0"
    assert ended.ends == {
        "test_slow": (
            f"Failed: The run was not over after 2 s. Where: log files in {server}/home/logs. "
            "Next: find out what it waits for, or give it more time: timeout=…."
        ),
        "test_next": "",
        "test_server": (
            "Failed: The embedded server of this test session ended. "
            f"Where: {server}/server.log. Next: read the end of that log."
        ),
        "test_another_server": "",
    }, ended.out
    assert processes(folder) == {}
