"""The embedded Prefect server's process: a listening socket in, an API and UI on it. Started by `flows.local.server`.

Usage: `python -m flows.local.api_server DESCRIPTOR PARENT_PID`
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from flows.local.process import end_with_parent, leave_terminal

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]
BUSY = 503


def main(descriptor: int, parent: int) -> None:
    """Serve until stopped."""
    leave_terminal()
    end_with_parent(parent)
    import uvicorn
    from prefect.server.api.server import create_app

    config = uvicorn.Config(retry_soon(create_app()), log_level="warning", lifespan="on", timeout_graceful_shutdown=1)
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=descriptor)])


def retry_soon(app: App) -> App:
    """Say `Retry-After: 0.1` with a 503.

    SQLite lets one of two writers wait in vain; the server answers that one 503, and Prefect's client then sleeps for
    two seconds or more unless the server names a time (measured: a second child was created 2 to 6 s late).
    """

    async def wrapped(scope: Message, receive: Receive, send: Send) -> None:
        async def send_on(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == BUSY:
                message["headers"] = [*message["headers"], (b"retry-after", b"0.1")]
            await send(message)

        await app(scope, receive, send_on)

    return wrapped


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
