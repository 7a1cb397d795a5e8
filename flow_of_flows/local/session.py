"""One session on one machine: server, runner and deployments, up together and down together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import FlowRun, StateType
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
from flow_of_flows.local import runner
from flow_of_flows.local.bootstrap import Boot
from flow_of_flows.local.children import Fork, ForkServerClient
from flow_of_flows.local.notifier import ChangeNotifier
from flow_of_flows.local.runner import Runner
from flow_of_flows.local.server import serving, wait_until_healthy
from flow_of_flows.logs import into_file
from flow_of_flows.registration.prefect_yaml import Deployment, read
from flow_of_flows.runs.resume import ORPHANED, parse_key
from flow_of_flows.runs.suspension import Stance, stance
from flow_of_flows.settings import Settings

T = TypeVar("T")


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
async def session(settings: Settings, boot: Boot) -> AsyncIterator[LocalSession]:
    """Start server and runner, and register the deployments; end all of them when the block ends.

    Args:
        settings: of this installation.
        boot: handles of the session.

    Raises:
        ConfigurationError: a deployment does not load.
        PlatformError: the server does not start.
    """
    notifier = ChangeNotifier()
    async with AsyncExitStack() as stack:
        stack.enter_context(into_file(boot.home.logs / "session.log"))
        fork_server = await stack.enter_async_context(ForkServerClient(boot))
        server = await stack.enter_async_context(serving(boot, fork_server))
        stack.enter_context(notifier.connected(boot.changes))
        stack.enter_context(connecting_to(boot))
        # Imported while the server starts.
        flows = {declared: declared.flow() for declared in read(settings.deployments)}
        await wait_until_healthy(boot, server)
        boot.home.note_migrated()
        client = await stack.enter_async_context(get_client())
        await end_orphans(client)
        registered = await runner.register(client, flows, suffix=settings.deployments_suffix)
        await stack.enter_async_context(
            Runner(fork_server, notifier, boot.home.logs, registered, limit=settings.local_limit)
        )
        yield LocalSession(client, boot.ui, notifier, registered, server, boot.home.logs / "server.log")


@contextmanager
def connecting_to(boot: Boot) -> Iterator[None]:
    """Connect Prefect clients of this process to the embedded server until the block ends."""
    with temporary_settings(
        {
            PREFECT_API_URL: boot.api,
            PREFECT_UI_URL: boot.ui,
            PREFECT_HOME: boot.home.prefect,
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
