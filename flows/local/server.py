"""Starts and stops the embedded Prefect server. A home in, the environment of its clients out."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

from flows.errors import PlatformError
from flows.local.home import Home

START_SECONDS = 120.0
STOP_SECONDS = 10.0


@contextmanager
def listening() -> Iterator[socket.socket]:
    """A socket on a free loopback port, taken before anything needs its number, so nothing can take it in between."""
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        yield listener


def client_environment(home: Home, port: int) -> dict[str, str]:
    """Variables of every process that talks to the server."""
    return {
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_HOME": str(home.prefect),
        "PREFECT_PROFILES_PATH": str(home.prefect / "profiles.toml"),
        "PREFECT_UI_URL": f"http://127.0.0.1:{port}",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_CLI_PROMPT": "false",
    }


def server_environment(home: Home) -> dict[str, str]:
    """Variables of the server alone."""
    return {
        "PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{home.prefect / 'prefect.db'}",
        "PREFECT_UI_STATIC_DIRECTORY": str(home.prefect / "ui"),
        # Both are needed to keep the server from importing every installed collection (dbt among them) at start.
        "PREFECT_API_BLOCKS_REGISTER_ON_START": "false",
        "PREFECT_MEMOIZE_BLOCK_AUTO_REGISTRATION": "false",
        # A cancelled run whose process is gone is closed after this, not after the default of 300 s.
        "PREFECT_SERVER_SERVICES_CANCELLATION_CLEANUP_CANCELLING_TIMEOUT_SECONDS": "60",
    }


@contextmanager
def serving(home: Home, listener: socket.socket, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run the server until the block ends; it may still be starting when the block begins."""
    log = home.logs / "server.log"
    with log.open("ab") as output:
        server = subprocess.Popen(  # noqa: S603 - our own module, no shell
            [sys.executable, "-m", "flows.local.api_server", str(listener.fileno()), str(os.getpid())],
            env={**os.environ, **environment, **server_environment(home)},
            pass_fds=[listener.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        yield server
    finally:
        server.terminate()
        try:
            server.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def wait_until_healthy(server: subprocess.Popen[bytes], api: str, log: Path) -> None:
    """Wait for the server's first answer.

    Raises:
        PlatformError: it ended, or did not answer in time.
    """
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            break
        try:
            # The socket listens from the start: this call is answered when the server is ready.
            if httpx.get(f"{api}/health", timeout=5).is_success:
                return
        except httpx.TransportError:
            continue
    raise PlatformError("The embedded Prefect server did not start", where=str(log), todo="read the end of that log")
