"""What the worker's pod runs, on a real server: ready at once, a worker as soon as there is a pool."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from prefect.client.schemas.actions import WorkPoolCreate

from tests.conditions import eventually
from tests.fixtures.server import Embedded


@pytest.fixture
def pool() -> str:
    """A name that no other test uses."""
    return f"pool-{uuid4().hex[:8]}"


class Started:
    """The process, and the address of its health."""

    def __init__(self, api: str, pool: str, log: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        self.health = f"http://127.0.0.1:{port}/health"
        self.log = log
        environment = {
            **os.environ,
            "PREFECT_API_URL": api,
            "PREFECT_WORKER_WEBSERVER_HOST": "127.0.0.1",
            "PREFECT_WORKER_WEBSERVER_PORT": str(port),
            "PREFECT_LOGGING_LEVEL": "DEBUG",
        }
        arguments = [f"--pool={pool}", "--type=process", "--no-create-pool-if-not-found", "--with-healthcheck"]
        with log.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "flow_of_flows.worker", *arguments],
                env=environment,
                stdout=output,
                stderr=output,
            )

    def answer(self) -> str | None:
        """Return the answer to the probe."""
        try:
            return str(httpx.get(self.health).raise_for_status().json()["message"])
        except httpx.HTTPError:
            return None

    def said(self, words: str) -> bool:
        """Whether the log has these words."""
        return words in self.log.read_text()


Start = Callable[[str, str], Started]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts workers, which are stopped after."""
    running: list[Started] = []

    def started(api: str, pool: str) -> Started:
        running.append(Started(api, pool, tmp_path / f"{len(running)}.log"))
        return running[-1]

    yield started
    for each in running:
        each.process.send_signal(signal.SIGTERM)
        each.process.wait(30)


def test_it_is_ready_before_the_pool_is_there_and_a_worker_with_its_channel_after(
    embedded: Embedded, pool: str, start: Start
) -> None:
    """Prefect's own start would have given up the channel, over which the server has Jobs deleted."""
    worker = start(embedded.api, pool)
    eventually(lambda: worker.answer() == "waiting for the work pool", "the probe is answered", within=60)
    eventually(lambda: worker.said(f"Waiting: there is no work pool {pool} yet"), "the log says why", within=60)
    embedded.client.create_work_pool(WorkPoolCreate(name=pool, type="process"))
    eventually(lambda: worker.answer() == "OK", "the worker has begun", within=60)
    eventually(lambda: embedded.client.read_workers_for_work_pool(pool), "the server knows it", within=60)
    assert not worker.said("Worker channel disabled")


def test_an_api_that_is_not_there_is_waited_for(pool: str, start: Start) -> None:
    """And said, with its address."""
    worker = start("http://127.0.0.1:9/api", pool)
    eventually(lambda: worker.said("Waiting: the Prefect API http://127.0.0.1:9/api does not"), "it is said", within=60)
    assert worker.answer() == "waiting for the work pool"
