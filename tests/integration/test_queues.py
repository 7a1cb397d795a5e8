"""More pipelines than slots on a real server with a real worker: all of them complete."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.workers.process import ProcessWorker

from tests.commands import REPOSITORY
from tests.conditions import eventually
from tests.fixtures.registrations import Project
from tests.fixtures.server import Embedded

PULL = [{"prefect.deployments.steps.set_working_directory": {"directory": str(REPOSITORY)}}]


@pytest.fixture
def registered(embedded: Embedded, tmp_path: Path) -> Project:
    """Two pipelines, one of them inside the other, and their child; one child at once."""
    project = Project(tmp_path, embedded.api, embedded.client)
    template = ProcessWorker.get_default_base_job_template()
    project.deployments.clear()
    for name, kind, entrypoint in (
        ("queued-work", "child", "tests.children.work"),
        ("queued-inner", "pipeline", "tests.queued.inner"),
        ("queued-outer", "pipeline", "tests.queued.outer"),
    ):
        tags = ["flow-of-flows", kind]
        project.deployments[name] = {"name": name, "entrypoint": entrypoint, "tags": tags, "pull": PULL}
    project.registration["workPool"] |= {"type": "process", "concurrencyLimit": 1, "baseJobTemplate": template}
    del project.registration["image"]
    project.register()
    return project


@pytest.fixture
def worker(registered: Project, tmp_path: Path) -> Iterator[None]:
    """A worker of the pool."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    variables = {
        "PREFECT_API_URL": registered.api,
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PREFECT_WORKER_WEBSERVER_HOST": "127.0.0.1",
        "PREFECT_WORKER_WEBSERVER_PORT": str(port),
        "PYTHONPATH": str(REPOSITORY),
    }
    # Not `prefect worker start`: it cannot be stopped where a shell has interrupts ignored.
    words = ["-m", "flow_of_flows.worker", f"--pool={registered.name}", "--type=process"]
    with (tmp_path / "worker.log").open("w") as log:
        process = subprocess.Popen([sys.executable, *words], env={**os.environ, **variables}, stdout=log, stderr=log)
        yield
        process.send_signal(signal.SIGTERM)
        process.wait(60)


@pytest.mark.usefixtures("worker")
def test_pipelines_that_wait_take_no_slot_from_their_children(registered: Project, embedded: Embedded) -> None:
    """Four pipeline runs and six children, one child at once: with one limit for all nothing would ever end."""
    runs = [embedded.start(name) for name in ("queued-inner", "queued-outer", "queued-inner")]

    def over() -> list[FlowRun]:
        found = [embedded.client.read_flow_run(run) for run in runs]
        return found if all(run.state and run.state.is_final() for run in found) else []

    ended = eventually(over, "all pipelines are over", within=600)
    assert [run.state_name for run in ended] == ["Completed"] * 3
    (inner,) = embedded.children(runs[1]).values()
    assert [inner.work_queue_name, *(run.work_queue_name for run in ended)] == ["pipelines"] * 4
    children = [child for run in (runs[0], inner.id, runs[2]) for child in children_of(embedded, run)]
    assert [child.work_queue_name for child in children] == ["children"] * 6
    spans = sorted((child.start_time, child.end_time) for child in children if child.start_time and child.end_time)
    assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(spans))
    assert registered.client.read_work_pool(registered.name).concurrency_limit is None


def children_of(embedded: Embedded, run: UUID) -> list[FlowRun]:
    """Children of a run that completed."""
    assert embedded.states(run) == {"left/1": "Completed", "right/1": "Completed"}
    return list(embedded.children(run).values())
