"""Which Prefect API a command uses: the one that is configured, a session of this folder, or one of its own."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from http import HTTPStatus

from prefect.client.orchestration import get_client
from prefect.exceptions import PrefectHTTPStatusError
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, PREFECT_UI_URL, get_current_settings, temporary_settings

from flow_of_flows import prefect_requests
from flow_of_flows.errors import ConfigurationError
from flow_of_flows.forking.preload import PREFECT
from flow_of_flows.home import Home
from flow_of_flows.local.bootstrap import booted
from flow_of_flows.local.children import ForkServerClient
from flow_of_flows.local.server import serving, wait_until_healthy
from flow_of_flows.prefect_api.client import PrefectApi, foreign, reached
from flow_of_flows.retrying import detail
from flow_of_flows.settings import Settings
from flow_of_flows.settings.prefect_api import is_configured

# A person waits for a command: an API that does not answer for this long is said to be away.
PATIENCE_SECONDS = 10.0


@asynccontextmanager
async def connected(settings: Settings, *, local: bool = False) -> AsyncIterator[PrefectApi]:
    """Yield the configured API, else that of a running session of this folder, else one started for the command.

    Args:
        settings: say where the folder is.
        local: leave out the API that is configured.

    Raises:
        PlatformError: the API does not answer, or the server of this folder does not start.
        ConfigurationError: the API refuses the credentials.
    """
    if is_configured() and not local:
        async with configured() as api:
            yield api
        return
    prefect_requests.guard()
    async with AsyncExitStack() as stack:
        await _use_own(settings, stack)
        yield PrefectApi(await stack.enter_async_context(get_client()), seconds=PATIENCE_SECONDS)


@asynccontextmanager
async def configured() -> AsyncIterator[PrefectApi]:
    """Yield the configured API once it answers; translate what it refuses later.

    Raises:
        PlatformError: it does not answer.
        ConfigurationError: it is no Prefect API, or it refuses the credentials or a call.
    """
    address = (get_current_settings().api.url or "").rstrip("/")
    try:
        async with reached(seconds=PATIENCE_SECONDS) as api:
            yield api
    except PrefectHTTPStatusError as error:
        raise _refuses(error, address) from error
    except json.JSONDecodeError as error:
        raise foreign(address) from error


def _refuses(error: PrefectHTTPStatusError, address: str) -> ConfigurationError:
    # What is not there is `ObjectNotFound`, or a path that only another server does not know.
    if error.response.status_code == HTTPStatus.NOT_FOUND:
        return foreign(address)
    return ConfigurationError(f"The Prefect API refuses a call: {detail(error)}", location=address)


async def _use_own(settings: Settings, stack: AsyncExitStack) -> None:
    home = Home(settings.home)
    api = home.running_api()
    if api is None:
        boot = stack.enter_context(booted(settings, PREFECT))
        fork_server = await stack.enter_async_context(ForkServerClient(boot))
        await wait_until_healthy(boot, await stack.enter_async_context(serving(boot, fork_server)))
        api = boot.api
    ui = api.removesuffix("/api")
    stack.enter_context(temporary_settings({PREFECT_API_URL: api, PREFECT_UI_URL: ui, PREFECT_HOME: home.prefect}))
