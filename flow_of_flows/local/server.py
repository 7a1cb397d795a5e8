"""Starts and stops the embedded Prefect server, as a fork of the fork server."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from flow_of_flows.errors import PlatformError
from flow_of_flows.local.bootstrap import Bootstrap
from flow_of_flows.local.children import Fork, ForkServerClient

START_SECONDS = 120.0
STOP_SECONDS = 10.0
MODULE = "flow_of_flows.local.api_server"


@asynccontextmanager
async def serving(bootstrap: Bootstrap, fork_server: ForkServerClient) -> AsyncIterator[Fork]:
    """Run the server until the block ends; it may still be starting when the block begins.

    Args:
        bootstrap: handles of the session.
        fork_server: starts the process.
    """
    server = await fork_server.fork(
        "server",
        module=MODULE,
        arguments=[str(descriptor) for descriptor in bootstrap.inherited],
        log=bootstrap.home.logs / "server.log",
    )
    try:
        yield server
    finally:
        await _stop(server)


async def _stop(server: Fork) -> None:
    for name in (signal.SIGTERM, signal.SIGKILL):
        if server.returncode is None:
            os.kill(server.pid, name)
        try:
            return await asyncio.wait_for(server.wait(), STOP_SECONDS)
        except TimeoutError:
            continue
    return None


async def wait_until_healthy(bootstrap: Bootstrap, server: Fork) -> None:
    """Wait for the server's first answer.

    Args:
        bootstrap: handles of the session.
        server: its process.

    Raises:
        PlatformError: it ended, or did not answer in time.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + START_SECONDS
    async with httpx.AsyncClient(timeout=5) as client:
        while loop.time() < deadline and server.returncode is None:
            try:
                # The socket listens from the start: this call is answered when the server is ready.
                if (await client.get(f"{bootstrap.api}/health")).is_success:
                    return
            except httpx.TransportError:
                await asyncio.sleep(0.05)
    raise PlatformError(
        "The embedded Prefect server did not start",
        location=str(bootstrap.home.logs / "server.log"),
        hint="read the end of that log",
    )
