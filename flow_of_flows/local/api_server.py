"""The embedded Prefect server: a listening socket in, an API and UI on it. Runs as a fork of the zygote.

Usage: `python -m flow_of_flows.local.api_server LISTENER BELL`, two descriptors: a listening socket, and the write end
of a pipe that hears of flow runs which are created or change their state.
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
