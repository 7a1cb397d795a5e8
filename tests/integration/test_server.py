"""The server of a release that keeps its runs in SQLite, as a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.conditions import eventually
from tests.fixtures.server import AUTH, answers


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Its API and its process."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "PREFECT_HOME": str(tmp_path),
        "PREFECT_SERVER_API_AUTH_STRING": ":".join(AUTH),
        "PREFECT_API_BLOCKS_REGISTER_ON_START": "false",
        "PREFECT_MEMOIZE_BLOCK_AUTO_REGISTRATION": "false",
    }
    with (tmp_path / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "flows.server", "--port", str(port)], env=environment, stdout=log, stderr=log
        )
    api = f"http://127.0.0.1:{port}/api"
    try:
        eventually(lambda: answers(api), "the server answers", within=150)
        yield api, process
    finally:
        process.kill()
        process.wait()


def test_it_takes_runs_created_at_the_same_time_checks_credentials_and_stops(
    server: tuple[str, subprocess.Popen[bytes]],
) -> None:
    """Eight at once, each there once; nobody without the password; SIGTERM ends it."""
    api, process = server
    flow = httpx.post(f"{api}/flows/", json={"name": "child"}, auth=AUTH).json()["id"]

    def create(number: int) -> int:
        run = {"flow_id": flow, "name": f"child-{number}", "state": {"type": "PENDING"}}
        answer = httpx.post(f"{api}/flow_runs/", json=run, auth=AUTH, timeout=60)
        while answer.status_code == 503:
            # The server's own services write, too; Prefect's client comes back as soon as this says.
            assert answer.headers["retry-after"] == "0.1"
            answer = httpx.post(f"{api}/flow_runs/", json=run, auth=AUTH, timeout=60)
        return answer.status_code

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(create, range(8))) == [201] * 8
    assert httpx.post(f"{api}/flow_runs/count", json={}, auth=AUTH).json() == 8
    assert httpx.get(f"{api}/flows/{flow}").status_code == 401
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == -signal.SIGTERM  # uvicorn shuts down, and then ends by the signal it got
