"""A step in another team's work pool: Prefect's own process worker runs it, and the API says how it ended."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import WorkPoolCreate

from flow_of_flows.prefect_api.runs import RunsReader, child_run
from tests import plain_flows
from tests.commands import REPOSITORY
from tests.conditions import eventually
from tests.fixtures.runs import ended, overrides
from tests.fixtures.server import Embedded

FLOWS = ("score", "dies", "says", "holds")


@pytest.fixture
def theirs(embedded: Embedded, tmp_path: Path) -> Iterator[str]:
    """A work pool with a worker of Prefect's own, and the plain flows deployed to it as `elsewhere`."""
    client, pool = embedded.client, f"theirs-{uuid4().hex[:8]}"
    client.create_work_pool(WorkPoolCreate(name=pool, type="process"))
    for name in FLOWS:
        flow = getattr(plain_flows, name)
        client.create_deployment(
            client.create_flow_from_name(flow.name),
            "elsewhere",
            work_pool_name=pool,
            entrypoint=f"tests/plain_flows.py:{name}",
            path=str(REPOSITORY),
            parameter_openapi_schema=flow.parameters.model_dump(),
        )
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "FLOWS_"))}
    home = {
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_API_URL": embedded.api,
        "PREFECT_WORKER_QUERY_SECONDS": "1",
    }
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", pool, "--type", "process"]
    with (tmp_path / "worker.log").open("wb") as log:
        worker = subprocess.Popen(command, env=kept | home, cwd=tmp_path, stdout=log, stderr=log)
    yield pool
    # Its flows are over; by then it has nothing to do.
    worker.kill()
    worker.wait()
    client.delete_work_pool(pool)


@pytest.mark.timeout(700)
def test_steps_of_another_work_pool_end_retry_and_time_out_as_children_do(
    theirs: str, embedded: Embedded, tmp_path: Path
) -> None:
    """The pipeline itself runs in the session; its flows are processes of Prefect's worker."""
    (tmp_path / "once").touch()
    run = embedded.start(
        "plain-elsewhere",
        overrides=overrides(
            score={"marks": str(tmp_path)},
            once={"once": str(tmp_path / "once")},
            holds={"started": str(tmp_path / "started"), "until": str(tmp_path / "never")},
        ),
    )
    failed = "failed (error), holds (timeout)"
    # Each flow is a new interpreter, and there is a worker to start before.
    patient = replace(embedded, patience=600)
    assert ended(patient.end_of(run)) == ("Failed", f"2 of 4 steps completed; failed: {failed}")
    eventually(lambda: embedded.states(run)["holds/1"] == "Cancelled", "the worker has stopped the flow")
    assert embedded.states(run) == {
        "score/1": "Completed",
        "once/1": "Crashed",
        "once/2": "Completed",
        "failed/1": "Failed",
        "holds/1": "Cancelled",
    }
    assert {child.work_pool_name for child in embedded.children(run).values()} == {theirs}
    assert (tmp_path / "seen").read_text() == "south [1, 2] 2026-11-29 2 1.0"
    assert "- **Why:** timeout: no answer" in embedded.answers(run)


@pytest.mark.parametrize(
    ("kind", "infrastructure", "has_job"),
    [
        ("kubernetes", "data:keen-owl-x", True),
        ("kubernetes", None, False),
        ("process", "laptop:4711", False),
        ("docker", "unix:///var/run/docker.sock:3f2a9c", False),
        ("ecs", "arn:aws:ecs:eu-central-1:1:cluster/a::arn:aws:ecs:eu-central-1:1:task/a/b", False),
    ],
)
def test_only_a_run_of_a_kubernetes_pool_has_pods_that_could_say_more(
    kind: str,
    infrastructure: str | None,
    has_job: bool,  # noqa: FBT001 - a column of the table
    embedded: Embedded,
) -> None:
    """Whatever the infrastructure of another pool is called; nothing is waited for there."""
    client, name = embedded.client, f"pool-{uuid4().hex[:8]}"
    client.create_work_pool(WorkPoolCreate(name=name, type=kind))
    flow = client.create_flow_from_name("plain-async")
    deployment = client.create_deployment(flow, name, work_pool_name=name)
    run = client.create_flow_run_from_deployment(deployment)
    client.update_flow_run(run.id, infrastructure_pid=infrastructure)
    child = child_run(client.read_flow_run(run.id), step="score", attempt=1)

    async def asked() -> list[bool]:
        async with PrefectClient(embedded.api) as opened:
            reader = RunsReader(opened)
            return [await reader.has_job(each) for each in (child, child, replace(child, pool="gone"))]

    assert asyncio.run(asked()) == [has_job, has_job, child.has_job]
    client.delete_work_pool(name)
