"""Middleware of a Prefect server over SQLite: writes take turns, and a 503 says when to try again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Coroutine[Any, Any, None]]
BUSY = 503
READS = ("GET", "HEAD", "OPTIONS")
QUERIES = ("/filter", "/count", "/paginate", "/history", "/filter-minimal")


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
