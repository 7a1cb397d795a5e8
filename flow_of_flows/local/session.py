"""One session on one machine: server, runner and deployments, up together and down together.

The runner claims scheduled runs of the registered deployments and hands each to Prefect's own `FlowRunExecutor`, which
proposes states, reports crashes, cancels, and runs the hooks; only how a process starts is ours.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from uuid import UUID

import httpx
from prefect import Flow
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import PrefectHTTPStatusError
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_CLIENT_CSRF_SUPPORT_ENABLED,
    PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED,
    PREFECT_HOME,
    PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW,
    PREFECT_UI_URL,
    temporary_settings,
)
from prefect.states import Crashed

from flow_of_flows.errors import PlatformError
from flow_of_flows.local.bootstrap import Bootstrap
from flow_of_flows.local.children import Fork, ForkServerClient, ForkStarter, RunVariables, own_variables
from flow_of_flows.local.progress import ChangeNotifier, RunChange, wait_for_change
from flow_of_flows.local.server import serving, wait_until_healthy
from flow_of_flows.output import into_file
from flow_of_flows.prefect_internals import FlowRunExecutorContext
from flow_of_flows.project import current_project
from flow_of_flows.registration.prefect_yaml import Deployment, read
from flow_of_flows.retrying import detail
from flow_of_flows.runs.resume import ORPHANED, Stance, parse_key, stance
from flow_of_flows.settings import Settings

logger = logging.getLogger(__name__)
# Runs that wait for their time are looked for this often; all others are reported at once.
QUERY_SECONDS = 5.0
DRAIN_SECONDS = 5.0
PIPELINE = "pipeline"

T = TypeVar("T")
Check = Callable[[Mapping[Deployment, Flow[..., Any]]], None]


class Runner:
    """Runs scheduled flow runs until the block ends; then ends what still runs.

    Args:
        fork_server: starts the processes.
        notifier: reports runs that may have to start.
        deployments: whose runs are run, by id.
        logs: folder of the runs' log files.
        limit: how many children work at once; pipelines (by their tag) only wait, and do not count.
        variables: returns the environment of a run.
    """

    def __init__(
        self,
        fork_server: ForkServerClient,
        notifier: ChangeNotifier,
        logs: Path,
        deployments: Mapping[UUID, Deployment],
        *,
        limit: int,
        variables: RunVariables = own_variables,
    ) -> None:
        self._fork_server = fork_server
        self._notifier = notifier
        self._logs = logs
        self._slots = asyncio.Semaphore(limit)
        self._deployments = deployments
        self._variables = variables
        self._claimed: dict[UUID, asyncio.Task[None]] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self._context = await self._stack.enter_async_context(FlowRunExecutorContext())
        self._starter = ForkStarter(self._fork_server, self._context.control_channel, self._logs, self._variables)
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


@dataclass(frozen=True)
class LocalSession:
    """A running session.

    Attributes:
        client: connected to the embedded server.
        ui: address to open in a browser.
        notifier: reports that flow runs have changed.
        deployments: by id.
        server: its process.
        log: the file it writes to.
    """

    client: PrefectClient
    ui: str
    notifier: ChangeNotifier
    deployments: dict[UUID, Deployment]
    server: Fork
    log: Path

    async def while_up(self, work: Coroutine[Any, Any, T]) -> T:
        """Return the result of some work, which ends at once when the server does: nothing would restart it.

        Raises:
            PlatformError: the server is gone.
        """
        task, gone = asyncio.create_task(work), asyncio.create_task(self.server.wait())
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        gone.cancel()
        if not task.done():
            task.cancel()
            raise PlatformError(
                "The embedded Prefect server is gone",
                location=str(self.log),
                hint="read the end of that log; `flows resume` goes on with the run",
            )
        return await task

    def deployment(self, name: str) -> UUID | None:
        """Return the id of the deployment of that name."""
        return next((key for key, value in self.deployments.items() if value.name == name), None)


@asynccontextmanager
async def session(
    settings: Settings,
    bootstrap: Bootstrap,
    check: Check | None = None,
    *,
    variables: RunVariables = own_variables,
) -> AsyncIterator[LocalSession]:
    """Start server and runner, and register the deployments; end all of them when the block ends.

    Args:
        settings: of this installation.
        bootstrap: handles of the session.
        check: called with the deployments of prefect.yaml before anything runs; raises what is wrong with them.
        variables: returns the environment of a run; unset: its own variables (`job_variables.env`).

    Raises:
        ConfigurationError: a deployment does not load, or the check fails.
        PlatformError: the server does not start.
    """
    notifier = ChangeNotifier()
    async with AsyncExitStack() as stack:
        stack.enter_context(into_file(bootstrap.home.logs / "session.log"))
        fork_server = await stack.enter_async_context(ForkServerClient(bootstrap))
        server = await stack.enter_async_context(serving(bootstrap, fork_server))
        stack.enter_context(notifier.connected(bootstrap.changes))
        stack.enter_context(connecting_to(bootstrap))
        # Imported while the server starts.
        flows = {declared: declared.flow() for declared in read(settings.deployments)}
        if check:
            check(flows)
        await wait_until_healthy(bootstrap, server)
        bootstrap.home.note_migrated()
        client = await stack.enter_async_context(get_client())
        await end_orphans(client)
        registered = await register(client, flows, suffix=settings.deployments_suffix)
        await stack.enter_async_context(
            Runner(
                fork_server,
                notifier,
                bootstrap.home.logs,
                registered,
                limit=settings.local_limit,
                variables=variables,
            )
        )
        yield LocalSession(client, bootstrap.ui, notifier, registered, server, bootstrap.home.logs / "server.log")


@contextmanager
def connecting_to(bootstrap: Bootstrap) -> Iterator[None]:
    """Connect Prefect clients of this process to the embedded server until the block ends."""
    with temporary_settings(
        {
            PREFECT_API_URL: bootstrap.api,
            PREFECT_UI_URL: bootstrap.ui,
            PREFECT_HOME: bootstrap.home.prefect,
            PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW: "ignore",
            PREFECT_CLIENT_CSRF_SUPPORT_ENABLED: False,
            PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED: False,
        }
    ):
        yield


logger = logging.getLogger(__name__)
ACTIVE = [StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING, StateType.CANCELLING, StateType.PAUSED]


async def end_orphans(client: PrefectClient) -> None:
    """Set every run that an earlier session left behind to Crashed."""
    which = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=ACTIVE)))
    while orphans := [run for run in await client.read_flow_runs(flow_run_filter=which) if _is_orphan(run)]:
        for run in orphans:
            logger.warning("%s was left behind by an earlier session", run.name)
            await client.set_flow_run_state(run.id, Crashed(message=ORPHANED), force=True)


def _is_orphan(run: FlowRun) -> bool:
    """Return whether a run belongs to an earlier session; one that is scheduled for later, or suspended, does not."""
    if run.state is None or stance(run.state) is Stance.SUSPEND:
        return False
    return not run.state.is_scheduled() or parse_key(run.idempotency_key) is not None
