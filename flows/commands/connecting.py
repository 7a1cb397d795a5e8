"""Which Prefect API a command reads from: the one that is configured, the session that runs, or one of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from prefect.client.orchestration import PrefectClient, get_client
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, PREFECT_UI_URL, get_current_settings, temporary_settings

from flows import prefect_requests
from flows.local.boot import booted
from flows.local.forks import Zygote
from flows.local.home import Home
from flows.local.preload import PREFECT
from flows.local.server import serving, wait_until_healthy
from flows.settings import Settings


@asynccontextmanager
async def connected(settings: Settings) -> AsyncIterator[PrefectClient]:
    """A client of PREFECT_API_URL, else of a running session of this folder, else of a server started for the command.

    Raises:
        PlatformError: the server of this folder does not start.
    """
    prefect_requests.guard()
    async with AsyncExitStack() as stack:
        if not get_current_settings().api.url:
            await _use_own(settings, stack)
        yield await stack.enter_async_context(get_client())


async def _use_own(settings: Settings, stack: AsyncExitStack) -> None:
    home = Home(settings.home)
    api = home.running_api()
    if api is None:
        boot = stack.enter_context(booted(settings, PREFECT))
        zygote = await stack.enter_async_context(Zygote(boot))
        await wait_until_healthy(boot, await stack.enter_async_context(serving(boot, zygote)))
        api = boot.api
    ui = api.removesuffix("/api")
    stack.enter_context(temporary_settings({PREFECT_API_URL: api, PREFECT_UI_URL: ui, PREFECT_HOME: home.prefect}))
