"""Which Prefect API a command reads from: the one that is configured, the session that runs, or one of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from prefect.client.orchestration import PrefectClient, get_client
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, PREFECT_UI_URL, get_current_settings, temporary_settings

from flows.local.home import Home
from flows.local.server import client_environment, listening, serving, wait_until_healthy
from flows.settings import Settings


@asynccontextmanager
async def connected(settings: Settings) -> AsyncIterator[PrefectClient]:
    """A client of PREFECT_API_URL, else of a running session of this folder, else of a server started for the command.

    Raises:
        PlatformError: the server of this folder does not start.
    """
    async with AsyncExitStack() as stack:
        if not get_current_settings().api.url:
            await _use_own(settings, stack)
        yield await stack.enter_async_context(get_client())


async def _use_own(settings: Settings, stack: AsyncExitStack) -> None:
    home = Home(settings.home)
    api = home.running_api()
    if api is None:
        listener = stack.enter_context(listening())
        environment = client_environment(home, listener.getsockname()[1])
        api = environment["PREFECT_API_URL"]
        stack.enter_context(home.session(api))
        server = stack.enter_context(serving(home, listener, environment))
        listener.close()
        await asyncio.to_thread(wait_until_healthy, server, api, home.logs / "server.log")
    ui = api.removesuffix("/api")
    stack.enter_context(temporary_settings({PREFECT_API_URL: api, PREFECT_UI_URL: ui, PREFECT_HOME: home.prefect}))
