"""What the observer tells a real Prefect server, and what dispatch reads of it."""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

import kopf
import pytest
from prefect.client.orchestration import PrefectClient
from prefect.settings import PREFECT_API_URL, temporary_settings

from flow_of_flows.kubernetes_api.pod_observer import PodObserver
from flow_of_flows.prefect_api.launch import RunsClient
from flow_of_flows.runs.causes import PodEvidence
from tests.conditions import eventually
from tests.fixtures.pod_objects import KILLED, RUNNING, disrupted, pod
from tests.fixtures.server import Embedded


def read(api: str, runs: list[UUID]) -> dict[UUID, tuple[PodEvidence, ...]]:
    """What dispatch reads about these runs."""

    async def ask() -> dict[UUID, tuple[PodEvidence, ...]]:
        async with PrefectClient(api) as client:
            return await RunsClient(client).pods(runs)

    return asyncio.run(ask())


def test_a_finding_is_an_event_of_its_run_and_is_told_once(embedded: Embedded) -> None:
    """Two findings of one pod, one of them seen three times; another run has none."""
    run, other = uuid4(), uuid4()
    moved = pod("Running", container=RUNNING, conditions=[disrupted("PreemptionByScheduler")])
    ended = pod("Failed", container=KILLED)
    for one in (moved, ended):
        one["metadata"]["labels"]["prefect.io/flow-run-id"] = str(run)
        one["metadata"]["uid"] = f"pod-of-{run}"

    async def see() -> None:
        for observer in (PodObserver(), PodObserver()):
            for one in (moved, moved, ended):
                await observer.observe({"type": "MODIFIED", "object": one})

    with temporary_settings({PREFECT_API_URL: embedded.api}):
        asyncio.run(see())
    expected = (
        PodEvidence(disruption="PreemptionByScheduler", message="by somebody", node="node-1"),
        PodEvidence(reason="OOMKilled", exit_code="137", node="node-1"),
    )
    eventually(lambda: len(read(embedded.api, [run])[run]) >= 2, "the server has both", within=30)
    assert read(embedded.api, [run, other]) == {run: expected, other: ()}


def test_a_pod_that_cannot_be_understood_hurts_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """The traceback is in the log; the worker goes on."""
    asyncio.run(PodObserver().observe({"type": "MODIFIED", "object": {"metadata": {"labels": 7}}}))
    assert "A pod's event could not be reported" in caplog.text


def test_the_witness_listens_with_the_workers_own_observer() -> None:
    """In the registry that Prefect's observer runs."""
    registry = kopf.OperatorRegistry()
    before = kopf.get_default_registry()
    kopf.set_default_registry(registry)
    try:
        PodObserver().listen()
    finally:
        kopf.set_default_registry(before)
    (handler,) = registry._watching.get_all_handlers()  # noqa: SLF001 - kopf has no other way to ask
    assert handler.id == "flow-of-flows-witness"
