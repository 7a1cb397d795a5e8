"""One session on one machine: server, runner and deployments, up together and down together. Called by the commands."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

from prefect.client.orchestration import PrefectClient, get_client
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, PREFECT_UI_URL, temporary_settings

from flows.local import deployments
from flows.local.forks import Zygote
from flows.local.home import Home
from flows.local.runner import Runner
from flows.local.server import client_environment, listening, serving, wait_until_healthy
from flows.settings import Settings

# What children import, most urgent first: parents, then the hops in the order of the data.
PRELOAD = (
    "prefect.engine",
    "prefect.flow_engine",
    "prefect._internal.metrics",
    # Imported by Prefect when a flow starts.
    "fastapi",
    "anyio._backends._asyncio",
    "stringprep",
    "flows.dispatch.flow",
    "flows.ingest.shop",
    "dlt",
    "duckdb",
    "dbt.cli.main",
    "dbt.adapters.factory",
    "flows.transform.dbt_core",
    "flows.serve.dashboards",
)


@dataclass(frozen=True)
class Session:
    """A running session.

    Attributes:
        client: connected to the embedded server.
        ui: address to open in a browser.
        deployments: by id.
    """

    client: PrefectClient
    ui: str
    home: Home
    deployments: dict[UUID, deployments.Deployment]

    def deployment(self, name: str) -> UUID | None:
        """Id of the deployment of that name."""
        return next((key for key, value in self.deployments.items() if value.name == name), None)


@asynccontextmanager
async def session(settings: Settings, *, preload: tuple[str, ...] = PRELOAD) -> AsyncIterator[Session]:
    """Bring up server and runner, and register the deployments; end them all when the block ends, however it ends.

    Raises:
        ConfigurationError: another session uses the folder, or a deployment does not load.
        PlatformError: the folder cannot be written, or the server does not start.
    """
    declared = deployments.read(settings.deployments)
    home = Home(settings.home)
    async with AsyncExitStack() as stack:
        listener = stack.enter_context(listening())
        environment = client_environment(home, listener.getsockname()[1])
        api, ui = environment["PREFECT_API_URL"], environment["PREFECT_UI_URL"]
        stack.enter_context(home.session(api))
        server = stack.enter_context(serving(home, listener, environment))
        listener.close()
        zygote = await stack.enter_async_context(
            Zygote(preload, environment | _flow_environment(settings), home.logs / "zygote.log")
        )
        stack.enter_context(temporary_settings({PREFECT_API_URL: api, PREFECT_UI_URL: ui, PREFECT_HOME: home.prefect}))
        flows = {deployment: deployment.flow() for deployment in declared}
        await asyncio.to_thread(wait_until_healthy, server, api, home.logs / "server.log")
        client = await stack.enter_async_context(get_client())
        runner = await stack.enter_async_context(Runner(zygote, home.logs, limit=settings.local_limit))
        registered = await deployments.register(client, flows)
        runner.serve(registered)
        yield Session(client, ui, home, registered)


def _flow_environment(settings: Settings) -> dict[str, str]:
    """Variables of the flows: the same folder wherever they start, and short intervals, for the server is near."""
    return {
        "FLOWS_HOME": str(settings.home),
        "FLOWS_POLL_SECONDS": os.environ.get("FLOWS_POLL_SECONDS", "0.1"),
        "FLOWS_POLL_MAX_SECONDS": os.environ.get("FLOWS_POLL_MAX_SECONDS", "0.5"),
    }
