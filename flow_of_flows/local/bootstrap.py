"""What a session begins with, before Prefect is imported: the folder's lock, a port, and the fork server's process.

Called first by every command that needs a server. Prefect takes more than a second to
import; begun here, the fork server imports it at the same time as the command does.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from flow_of_flows.home import Home
from flow_of_flows.project import current_project
from flow_of_flows.settings import Settings, TargetName


@dataclass(frozen=True)
class Bootstrap:
    """Handles of a session.

    Attributes:
        api: address of the API that will listen on `listener`.
        ui: address for a browser.
        channel: this process's end of the connection to the fork server.
        changes: read end of a pipe that the server writes to when a flow run is created or changes its state.
        inherited: descriptors of the listener and of the pipe's write end, as the fork server has them.
    """

    home: Home
    api: str
    ui: str
    channel: socket.socket
    changes: int
    inherited: tuple[int, int]


@contextmanager
def bootstrapped(settings: Settings, preload: Sequence[str]) -> Iterator[Bootstrap]:
    """Take the folder and start the fork server; end it when the block ends.

    Args:
        settings: of this installation.
        preload: what the fork server imports when idle.

    Raises:
        ConfigurationError: another session uses the folder.
        PlatformError: the folder cannot be written.
    """
    home = Home(settings.home)
    with ExitStack() as stack:
        # Taken before anything needs its number, so that nothing can take it in between.
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=256))
        ui = f"http://127.0.0.1:{listener.getsockname()[1]}"
        stack.enter_context(home.session(f"{ui}/api"))
        changes, changes_writer = os.pipe()
        stack.callback(os.close, changes)
        channel, peer = socket.socketpair()
        stack.enter_context(channel)
        bootstrap = Bootstrap(home, f"{ui}/api", ui, channel, changes, (listener.fileno(), changes_writer))
        process = _start(bootstrap, peer, settings, preload)
        stack.callback(_end, process)
        # The fork_server has its own copies; these would keep the port and the pipe open after it.
        for descriptor in (listener, peer):
            descriptor.close()
        os.close(changes_writer)
        yield bootstrap


def _start(
    bootstrap: Bootstrap, peer: socket.socket, settings: Settings, preload: Sequence[str]
) -> subprocess.Popen[bytes]:
    with (bootstrap.home.logs / "fork-server.log").open("ab") as output:
        return subprocess.Popen(  # noqa: S603 - our own module, no shell
            [
                sys.executable,
                "-m",
                "flow_of_flows.forking.forkserver",
                str(peer.fileno()),
                str(os.getpid()),
                settings.warehouse or TargetName.DUCKDB,
                *preload,
            ],
            env={
                **os.environ,
                **environment(bootstrap.home, bootstrap.ui),
                **_flow_environment(settings),
                "PYTHONPATH": _import_path(),
            },
            # Prefect takes paths, and modules first of all, from the working directory.
            cwd=current_project().folder,
            pass_fds=[peer.fileno(), *bootstrap.inherited],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )


def _import_path() -> str:
    """Return PYTHONPATH with the project's folder, so that its entrypoints import wherever the command was started."""
    return os.pathsep.join(filter(None, (str(current_project().folder), os.environ.get("PYTHONPATH"))))


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait()


def environment(home: Home, ui: str) -> Mapping[str, str]:
    """Return Prefect's variables, for the server and its clients.

    Args:
        home: the folder of the session.
        ui: address of the UI.
    """
    return {
        "PREFECT_API_URL": f"{ui}/api",
        "PREFECT_UI_URL": ui,
        "PREFECT_HOME": str(home.prefect),
        "PREFECT_PROFILES_PATH": str(home.prefect / "profiles.toml"),
        "PREFECT_CLI_PROMPT": "false",
        # Client and server are one version on one machine: two requests less for each process.
        "PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED": "false",
        "PREFECT_CLIENT_CSRF_SUPPORT_ENABLED": "false",
        "PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{home.prefect / 'prefect.db'}",
        # Looking for migrations takes most of a second.
        "PREFECT_API_DATABASE_MIGRATE_ON_START": "false" if home.is_migrated else "true",
        "PREFECT_UI_STATIC_DIRECTORY": str(home.prefect / "ui"),
        # Both are needed to keep the server from importing every installed collection (dbt among them) at start.
        "PREFECT_API_BLOCKS_REGISTER_ON_START": "false",
        "PREFECT_MEMOIZE_BLOCK_AUTO_REGISTRATION": "false",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        # A cancelled run whose process is gone is closed after this, not after the default of 300 s.
        "PREFECT_SERVER_SERVICES_CANCELLATION_CLEANUP_CANCELLING_TIMEOUT_SECONDS": "60",
        # Nothing here is scheduled, has workers or automations; their services would poll all the same.
        "PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED": "false",
        "PREFECT_SERVER_SERVICES_LATE_RUNS_ENABLED": "false",
        "PREFECT_SERVER_SERVICES_FOREMAN_ENABLED": "false",
        "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED": "false",
    }


def _flow_environment(settings: Settings) -> Mapping[str, str]:
    """Return the variables of the flows: one folder wherever they start, and short intervals: the server is near."""
    return {
        "FLOWS_HOME": str(settings.home),
        "FLOWS_PROJECT": str(current_project().folder),
        "FLOWS_DEPLOYMENTS": str(settings.deployments),
        "FLOWS_DBT_PROJECT": str(settings.dbt_project),
        **({"FLOWS_DBT_PROFILES_DIR": str(settings.dbt_profiles_dir)} if settings.dbt_profiles_dir else {}),
        "FLOWS_POLL_SECONDS": os.environ.get("FLOWS_POLL_SECONDS", "0.2"),
        "FLOWS_POLL_MAX_SECONDS": os.environ.get("FLOWS_POLL_MAX_SECONDS", "0.6"),
    }
