"""The embedded Prefect server: a listening socket in, an API and UI on it. Runs as a fork of the zygote.

Usage: `python -m flows.local.api_server LISTENER BELL`, two descriptors: a listening socket, and the write end of a
pipe that hears of flow runs which are created or change their state.
"""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import sys
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Coroutine[Any, Any, None]]
BUSY = 503
CREATES = ("/create_flow_run", "/flow_runs/")
READS = ("GET", "HEAD", "OPTIONS")
QUERIES = ("/filter", "/count", "/paginate", "/history", "/filter-minimal")
SETS_STATE = "/set_state"
RESUMES = "/resume"
SCHEDULED = b'"SCHEDULED"'


def main(listener: int, bell: int) -> None:
    """Serve until stopped."""
    gc.disable()
    import uvicorn
    from prefect.server.api.server import create_app

    gc.freeze()
    gc.enable()
    os.set_blocking(bell, False)
    app = ring(retry_soon(write_in_turn(create_app())), bell)
    config = uvicorn.Config(app, log_level="warning", lifespan="on", timeout_graceful_shutdown=0)
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=listener)])


def write_in_turn(app: App) -> App:
    """Let one request write at a time.

    SQLite has one writer anyway; of two that have begun to read, one fails, and the server answers it 503 (measured: 50
    children that were created eight at a time took 279 requests).
    """
    turn = asyncio.Lock()

    async def wrapped(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in READS or scope["path"].endswith(QUERIES):
            await app(scope, receive, send)
            return
        async with turn:
            await app(scope, receive, send)

    return wrapped


def retry_soon(app: App) -> App:
    """Say `Retry-After: 0.1` with a 503, which a request still gets when the server itself writes at the same time.

    Without it Prefect's client sleeps for two seconds or more (measured: a second child was created 2 to 6 s late).
    """

    async def wrapped(scope: Message, receive: Receive, send: Send) -> None:
        async def send_on(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == BUSY:
                message["headers"] = [*message["headers"], (b"retry-after", b"0.1")]
            await send(message)

        await app(scope, receive, send_on)

    return wrapped


def ring(app: App, bell: int) -> App:
    """Write to a pipe after each request that may have scheduled a flow run (`+`) or changed one (`.`).

    Instead of polling for scheduled runs (each poll costs the server about 20 ms of CPU), the session waits for it.
    """

    async def wrapped(scope: Message, receive: Receive, send: Send) -> None:
        sound = _sound(scope)
        if not sound:
            await app(scope, receive, send)
            return

        async def receive_on() -> Message:
            nonlocal sound
            message = await receive()
            if SCHEDULED in message.get("body", b""):
                sound = b"+"
            return message

        await app(scope, receive_on, send)
        try:
            os.write(bell, sound)
        except BlockingIOError:
            return  # full of rings that nobody has heard yet

    return wrapped


def _sound(scope: Message) -> bytes:
    if scope["type"] != "http" or scope["method"] != "POST":
        return b""
    if scope["path"].endswith((*CREATES, RESUMES)):
        return b"+"
    return b"." if scope["path"].endswith(SETS_STATE) else b""


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
