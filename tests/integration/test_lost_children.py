"""What a parent does about children that are lost, on a real server; the test plays the infrastructure they run on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from prefect import flow
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterIdempotencyKey, FlowRunFilterName
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import AwaitingRetry, Cancelled, Completed, Crashed, Failed, Pending, Running
from pydantic import JsonValue

from flow_of_flows.dispatch.dispatcher import Dispatcher, PipelineRun
from flow_of_flows.dispatch.parameters import Parameters
from flow_of_flows.dispatch.pipeline import Pipeline, Step
from flow_of_flows.dispatch.retries import RetryLimits
from flow_of_flows.dispatch.status import observe
from flow_of_flows.errors import Cause
from flow_of_flows.kubernetes_api.pod_observer import PodObserver
from flow_of_flows.prefect_api.launch import RunsClient
from flow_of_flows.prefect_api.runs import child_run
from flow_of_flows.runs.outcome import ChildRun, Outcome
from flow_of_flows.runs.resume import parse_key
from tests.fixtures.pod_objects import KILLED, NO_IMAGE, RUNNING, disrupted, pod
from tests.fixtures.server import Embedded

Play = Callable[["Stage", FlowRun], Awaitable[None]]


@flow(name="nobody-works-on-it")
def idle() -> None:
    """A flow that is never run."""


@dataclass
class Stage:
    """A deployment in a pool without a worker, and a script for each of its runs.

    Attributes:
        seen: job variables of each run, in order.
    """

    client: PrefectClient
    name: str = field(default_factory=lambda: f"stage-{uuid4().hex[:8]}")
    seen: list[dict[str, Any]] = field(default_factory=list)

    async def set(self) -> UUID:
        """Make pool and deployment, and a run that stands for the parent."""
        names = ("memory_limit", "node_selector")
        template = {
            "job_configuration": {name: f"{{{{ {name} }}}}" for name in names},
            "variables": {"type": "object", "properties": {name: {} for name in names}},
        }
        await self.client.create_work_pool(
            WorkPoolCreate(name=self.name, type="kubernetes", base_job_template=template)
        )
        of = await self.client.create_flow(idle)
        await self.client.create_deployment(
            of, name=self.name, work_pool_name=self.name, job_variables={"memory_limit": "1Gi"}
        )
        parent = (await self.client.create_flow_run(idle)).id
        await self.client.set_flow_run_state(parent, Running(), force=True)
        return parent

    async def play(self, parent: UUID, scripts: list[Play]) -> None:
        """Play a script for each attempt, as soon as it is there."""
        for attempt, script in enumerate(scripts, 1):
            run = await self.run(f"{parent}/load/{attempt}")
            self.seen.append(run.job_variables or {})
            await script(self, run)

    async def run(self, key: str) -> FlowRun:
        """The run of a key."""
        while True:
            with_key = FlowRunFilter(idempotency_key=FlowRunFilterIdempotencyKey(any_=[key]))
            for run in await self.client.read_flow_runs(flow_run_filter=with_key):
                return run
            await asyncio.sleep(0.1)

    async def until(self, run: UUID, state: str) -> None:
        """Wait for a state."""
        while True:
            found = (await self.client.read_flow_run(run)).state
            if found and found.name == state:
                return
            await asyncio.sleep(0.1)

    async def begin(self, run: FlowRun) -> None:
        """Give it a Job, and have it run."""
        await self.client.update_flow_run(run.id, infrastructure_pid=f"flows:{run.name}")
        await self.client.set_flow_run_state(run.id, Pending())
        await self.client.set_flow_run_state(run.id, Running())

    async def tell(self, run: FlowRun, seen: dict[str, Any], kind: str = "MODIFIED") -> None:
        """Have the worker's witness see a pod."""
        seen["metadata"] |= {"uid": str(run.id), "labels": {"prefect.io/flow-run-id": str(run.id)}}
        await PodObserver().observe({"type": kind, "object": seen})


class Staged(RunsClient):
    """Children are known by their keys: this parent is not a running flow, so the API does not know it as theirs."""

    async def children(self, pipeline_run: UUID) -> list[ChildRun]:
        """All of them, oldest attempt first."""
        runs = await self._filtered(FlowRunFilter(name=FlowRunFilterName(like_="staged-load")))
        known = [(run, key) for run in runs if (key := parse_key(run.idempotency_key)) and key[0] == pipeline_run]
        return sorted((child_run(run, step=key[1], attempt=key[2]) for run, key in known), key=lambda one: one.attempt)


async def completes(stage: Stage, run: FlowRun) -> None:
    """The attempt does its work."""
    await stage.begin(run)
    await stage.client.set_flow_run_state(run.id, Completed())


async def runs_out_of_memory(stage: Stage, run: FlowRun) -> None:
    """The state says nothing of memory; the pod does, later."""
    await stage.begin(run)
    await stage.client.set_flow_run_state(run.id, Crashed(message="Process exited with status code: -9."))
    await asyncio.sleep(1)
    await stage.tell(run, pod("Succeeded", container=KILLED))


async def is_handed_back_late(stage: Stage, run: FlowRun) -> None:
    """An observer takes its pod for crashed, just before the pod reschedules its run; it goes on elsewhere."""
    await stage.begin(run)
    await stage.client.set_flow_run_state(run.id, Crashed(message="No active or succeeded pods found for any job"))
    await asyncio.sleep(2)
    await stage.client.set_flow_run_state(run.id, AwaitingRetry())
    # Past the time for which evidence is waited for.
    await asyncio.sleep(8)
    await completes(stage, run)


async def is_preempted(stage: Stage, run: FlowRun) -> None:
    """Its node is given to another pod."""
    await stage.begin(run)
    await stage.tell(run, pod("Running", container=RUNNING, conditions=[disrupted("PreemptionByScheduler")]))
    await stage.client.set_flow_run_state(run.id, Crashed(message="No active or succeeded pods found for any job"))


async def has_no_image(stage: Stage, run: FlowRun) -> None:
    """It stays Pending until it is cancelled; the server ends it then."""
    await stage.client.update_flow_run(run.id, infrastructure_pid=f"flows:{run.name}")
    await stage.client.set_flow_run_state(run.id, Pending())
    await stage.tell(run, pod("Pending", container=NO_IMAGE))
    await stage.until(run.id, "Cancelling")
    await stage.client.set_flow_run_state(run.id, Cancelled(), force=True)


async def is_taken_by_nobody(stage: Stage, run: FlowRun) -> None:
    """A worker takes it, and dies before it makes a Job."""
    await stage.client.set_flow_run_state(run.id, Pending())
    await stage.until(run.id, "Cancelling")
    await stage.client.set_flow_run_state(run.id, Cancelled(), force=True)


def dispatch(embedded: Embedded, limits: RetryLimits, *scripts: Play) -> tuple[Outcome, list[dict[str, Any]]]:
    """The outcome of a step whose attempts end as these scripts say, and what each attempt was started with."""

    async def both() -> tuple[Outcome, list[dict[str, Any]]]:
        async with get_client() as client:
            stage = Stage(client)
            parent = await stage.set()
            pipeline = Pipeline("staged", (Step(name="load", deployment=f"{idle.name}/{stage.name}"),))
            api = Staged(client)
            dispatcher = Dispatcher(
                pipeline, Parameters(), api, PipelineRun(parent, "staged"), (0.2, 0.5), limits
            ).dispatch()
            outcome, seen = await _together(dispatcher, stage, parent, list(scripts))
            await client.set_flow_run_state(parent, Failed(), force=True)
            # Whoever looks at the run from outside sees the same.
            assert (await observe(api, pipeline, await api.read(parent), limits)).outcomes == (outcome,)
            return outcome, seen

    with temporary_settings({PREFECT_API_URL: embedded.api}):
        return asyncio.run(both())


async def _together(
    dispatcher: Coroutine[Any, Any, tuple[Outcome, ...]], stage: Stage, parent: UUID, scripts: list[Play]
) -> tuple[Outcome, list[dict[str, Any]]]:
    async with asyncio.timeout(120):
        (outcome,), _ = await asyncio.gather(dispatcher, stage.play(parent, scripts))
    return outcome, stage.seen


def test_a_child_that_ran_out_of_memory_gets_twice_as_much(embedded: Embedded) -> None:
    """Of what its deployment says, for want of job variables of its own; the loss stays in the outcome."""
    outcome, seen = dispatch(embedded, RetryLimits(), runs_out_of_memory, completes)
    assert seen == [{}, {"memory_limit": "2Gi"}]
    assert outcome.state == "completed"
    assert [(one.child.attempt, one.cause) for one in outcome.earlier] == [(1, Cause.OUT_OF_MEMORY)]


def test_memory_is_raised_up_to_the_bound_and_then_the_step_fails(embedded: Embedded) -> None:
    """Twice from 1Gi is over the bound of 1536Mi, and behind that there is no attempt."""
    outcome, seen = dispatch(embedded, RetryLimits(memory_max="1536Mi"), runs_out_of_memory, runs_out_of_memory)
    assert seen == [{}, {"memory_limit": "1536Mi"}]
    assert (outcome.state, outcome.cause) == ("failed", Cause.OUT_OF_MEMORY)
    assert outcome.tried == "attempt 2 of 2; out of memory at 1536Mi, which is FLOWS_RETRY_MEMORY_MAX"


def test_a_child_that_was_crashed_for_a_moment_gets_no_second_attempt_beside_it(embedded: Embedded) -> None:
    """Its run is waited for again, under its own id."""
    outcome, seen = dispatch(embedded, RetryLimits(), is_handed_back_late)
    assert seen == [{}]
    assert (outcome.state, outcome.child and outcome.child.attempt, outcome.earlier) == ("completed", 1, ())


def test_a_preempted_child_goes_to_the_nodes_that_the_installation_names(embedded: Embedded) -> None:
    """And keeps going there."""
    nodes: dict[str, JsonValue] = {"node_selector": {"lifecycle": "on-demand"}}
    outcome, seen = dispatch(embedded, RetryLimits(nodes=nodes), is_preempted, is_preempted, completes)
    assert seen == [{}, nodes, nodes]
    assert [one.cause for one in outcome.earlier] == [Cause.PREEMPTED, Cause.PREEMPTED]


def test_a_child_whose_image_cannot_be_pulled_is_cancelled_in_its_time(embedded: Embedded) -> None:
    """The outcome has the pod's own words; another attempt would not pull it either."""
    outcome, seen = dispatch(embedded, RetryLimits(pending=timedelta(seconds=2)), has_no_image)
    assert seen == [{}]
    assert (outcome.state, outcome.cause, outcome.tried) == ("failed", Cause.IMAGE, "")
    assert outcome.message == "did not start within 0:00:02. no such tag"


def test_a_child_that_nobody_starts_is_tried_once_more(embedded: Embedded) -> None:
    """A worker that died between Pending and Job loses it; the next attempt finds another worker."""
    outcome, seen = dispatch(
        embedded, RetryLimits(pending=timedelta(seconds=2)), is_taken_by_nobody, is_taken_by_nobody
    )
    assert seen == [{}, {}]
    assert (outcome.cause, outcome.tried) == (Cause.NEVER_STARTED, "attempt 2 of 2")


def test_a_child_that_waits_for_a_worker_is_left_alone(embedded: Embedded) -> None:
    """Only Scheduled: the worker is away, and its time has not begun."""

    async def waits(stage: Stage, run: FlowRun) -> None:
        await asyncio.sleep(3)
        await completes(stage, run)

    outcome, seen = dispatch(embedded, RetryLimits(pending=timedelta(seconds=1)), waits)
    assert (outcome.state, seen) == ("completed", [{}])
