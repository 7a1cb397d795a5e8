"""The embedded Prefect server: a listening socket in, an API and UI on it. Runs as a fork of the fork server.

Usage: `python -m flow_of_flows.local.api_server LISTENER CHANGES`, two descriptors: a listening socket, and the
write end of a pipe to which it writes when flow runs are created or change their state.
"""

from __future__ import annotations

import gc
import os
import socket
import sys

from flow_of_flows.server import App, Message, Receive, Send, retry_soon, write_in_turn

CREATES = ("/create_flow_run", "/flow_runs/")
SETS_STATE = "/set_state"
RESUMES = "/resume"
SCHEDULED = b'"SCHEDULED"'


def main(listener: int, changes: int) -> None:
    """Serve until stopped.

    Args:
        listener: descriptor of a listening socket.
        changes: descriptor of the write end of a pipe.
    """
    gc.disable()
    import uvicorn
    from prefect.server.api.server import create_app

    gc.freeze()
    gc.enable()
    os.set_blocking(changes, False)
    app = notify_changes(retry_soon(write_in_turn(create_app())), changes)
    config = uvicorn.Config(app, log_level="warning", lifespan="on", timeout_graceful_shutdown=0)
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=listener)])


def notify_changes(app: App, changes: int) -> App:
    """Write to a pipe after each request that may have scheduled a flow run (`+`) or changed one (`.`).

    Instead of polling for scheduled runs (each poll costs the server about 20 ms of CPU), the session waits for it.

    Args:
        app: the server.
        changes: descriptor of the pipe's write end.
    """

    async def wrapped(scope: Message, receive: Receive, send: Send) -> None:
        change = _change(scope)
        if not change:
            await app(scope, receive, send)
            return

        async def receive_on() -> Message:
            nonlocal change
            message = await receive()
            if SCHEDULED in message.get("body", b""):
                change = b"+"
            return message

        await app(scope, receive_on, send)
        try:
            os.write(changes, change)
        except BlockingIOError:
            return  # full of changes that nobody has read yet

    return wrapped


def _change(scope: Message) -> bytes:
    if scope["type"] != "http" or scope["method"] != "POST":
        return b""
    if scope["path"].endswith((*CREATES, RESUMES)):
        return b"+"
    return b"." if scope["path"].endswith(SETS_STATE) else b""


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
