"""Runs what is scheduled: deployments in, one process per flow run out.

Claims scheduled runs of the registered deployments and hands each to Prefect's own `FlowRunExecutor`, which proposes
states, reports crashes, cancels, and runs the hooks; only how a process starts is ours.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import httpx
from prefect import Flow
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import PrefectHTTPStatusError

from flow_of_flows.local.children import ForkServerClient, ForkStarter
from flow_of_flows.local.notifier import ChangeNotifier, RunChange, wait_for_change
from flow_of_flows.prefect_internals import FlowRunExecutorContext
from flow_of_flows.project import current_project
from flow_of_flows.registration.prefect_yaml import Deployment
from flow_of_flows.retrying import detail

logger = logging.getLogger(__name__)
# Runs that wait for their time are looked for this often; all others are reported at once.
QUERY_SECONDS = 5.0
DRAIN_SECONDS = 5.0
PIPELINE = "pipeline"


class Runner:
    """Runs scheduled flow runs until the block ends; then ends what still runs.

    Args:
        fork_server: starts the processes.
        notifier: reports runs that may have to start.
        deployments: whose runs are run, by id.
        logs: folder of the runs' log files.
        limit: how many children work at once; pipelines (by their tag) only wait, and do not count.
    """

    def __init__(
        self,
        fork_server: ForkServerClient,
        notifier: ChangeNotifier,
        logs: Path,
        deployments: Mapping[UUID, Deployment],
        *,
        limit: int,
    ) -> None:
        self._fork_server = fork_server
        self._notifier = notifier
        self._logs = logs
        self._slots = asyncio.Semaphore(limit)
        self._deployments = deployments
        self._claimed: dict[UUID, asyncio.Task[None]] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self._context = await self._stack.enter_async_context(FlowRunExecutorContext())
        self._starter = ForkStarter(self._fork_server, self._context.control_channel, self._logs)
        self._polling = asyncio.create_task(self._poll())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._polling.cancel()
        if self._claimed and kind is None:
            # Runs that are over still hand in their last log lines and events.
            await asyncio.wait(self._claimed.values(), timeout=DRAIN_SECONDS)
        for run in list(self._claimed):
            await self._context.process_manager.kill(run, grace_seconds=5)
        ending = {self._polling, *self._claimed.values()}
        # Reporting their ends to a server that is gone would be retried for more than a minute.
        _, late = await asyncio.wait(ending, timeout=DRAIN_SECONDS)
        for task in late:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        # Closed without the error: a task group would wrap it, and the caller could not recognize it.
        await self._stack.aclose()

    async def _poll(self) -> None:
        with self._notifier.subscribed(RunChange.SCHEDULED) as changed:
            while True:
                for run in await self._scheduled():
                    if run.id not in self._claimed:
                        task = self._claimed[run.id] = asyncio.create_task(self._run(run))
                        task.add_done_callback(functools.partial(self._forget, run.id))
                await wait_for_change(changed, QUERY_SECONDS)

    async def _scheduled(self) -> list[FlowRun]:
        try:
            return await self._context.client.get_scheduled_flow_runs_for_deployments(
                deployment_ids=list(self._deployments), scheduled_before=datetime.now(UTC)
            )
        except (PrefectHTTPStatusError, httpx.TransportError) as error:
            logger.warning("The embedded server does not answer (%s); asking again", detail(error))
            return []

    def _forget(self, run: UUID, task: asyncio.Task[None]) -> None:
        self._claimed.pop(run, None)
        if not task.cancelled() and (error := task.exception()):
            logger.error("Nothing looks after flow run %s any more", run, exc_info=error)

    async def _run(self, run: FlowRun) -> None:
        if PIPELINE in self._deployment(run).tags:
            await self._execute(run)
            return
        async with self._slots:
            await self._execute(run)

    async def _execute(self, run: FlowRun) -> None:
        executor = self._context.create_executor(run, self._starter, resolve_flow=self._resolve)
        await executor.submit()

    async def _resolve(self, run: FlowRun) -> Flow[..., Any]:
        return self._deployment(run).flow()

    def _deployment(self, run: FlowRun) -> Deployment:
        if run.deployment_id is None:
            raise LookupError(f"Flow run {run.name} has no deployment")
        return self._deployments[run.deployment_id]


async def register(
    client: PrefectClient, flows: Mapping[Deployment, Flow[..., Any]], *, suffix: str = ""
) -> dict[UUID, Deployment]:
    """Create what is missing and update what differs: one read when nothing does.

    Args:
        client: of the embedded server.
        flows: the deployments of prefect.yaml with their flows.
        suffix: end of the name of every deployment, as the steps of pipelines have it.
    """
    known = {(found.name, found.entrypoint): found for found in await client.read_deployments(limit=200)}
    registered: dict[UUID, Deployment] = {}
    for deployment, flow in flows.items():
        desired = _request(deployment, flow) | {"name": f"{deployment.name}{suffix}"}
        current = known.get((desired["name"], deployment.entrypoint))
        if current and all(getattr(current, name) == value for name, value in desired.items()):
            registered[current.id] = deployment
            continue
        flow_id = await client.create_flow_from_name(flow.name)
        registered[await client.create_deployment(flow_id=flow_id, **desired)] = deployment
    return registered


def _request(deployment: Deployment, flow: Flow[..., Any]) -> dict[str, Any]:
    """Return what the embedded server stores of a deployment."""
    return {
        "entrypoint": deployment.entrypoint,
        "tags": sorted(deployment.tags),
        "parameters": deployment.parameters,
        "description": deployment.description or flow.description,
        "parameter_openapi_schema": flow.parameters.model_dump(),
        "enforce_parameter_schema": True,
        "concurrency_limit": deployment.concurrency_limit,
        "path": str(current_project().folder),
    }
