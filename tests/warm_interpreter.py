"""Interpreters that have their libraries imported: a process that forks one for each `flows` command of the tests.

A command takes 2 to 5 seconds of CPU for the imports of Prefect and dbt, and the tests run it hundreds of times. A fork
begins where the imports end. Its environment, working directory and streams are those of the command, Prefect reads
its settings anew, and no module of this repository has been imported. Local runs, terminals, the image and the cluster
start new interpreters.
"""

from __future__ import annotations

import atexit
import functools
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn, TypedDict

LIBRARIES = (
    "asyncio",
    "cyclopts",
    "rich.console",
    "pydantic_settings",
    "yaml",
    "httpx",
    "prefect.main",
    "prefect.client.orchestration",
    "prefect.engine",
    "prefect.events.clients",
    "boto3",
    "dbt.cli.main",
    "dbt.task.build",
    "dbt.adapters.duckdb",
    "dbt.adapters.postgres",
)
# What no fork may have before its command imports it.
OURS = ("flow_of_flows", "flows", "tests")
HERE = Path(__file__).parent.parent
LENGTH = 4


class Request(TypedDict):
    """A console script, its arguments, the whole environment, and the working directory."""

    script: str
    words: list[str]
    variables: dict[str, str]
    folder: str


class WarmInterpreter:
    """The process that forks; it ends with this one."""

    def __init__(self) -> None:
        self._peer, theirs = socket.socketpair()
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "FLOWS_", "DBT_"))
        }
        # No profile of the developer's, and none of the folders that a test looks into.
        profiles = {"PREFECT_PROFILES_PATH": str(HERE / "build" / "no-profiles.toml")}
        self._process = subprocess.Popen(
            [sys.executable, "-P", __file__, str(theirs.fileno())],
            env=kept | profiles,
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
        )
        theirs.close()
        self._lock = threading.Lock()

    def run(self, request: Request, descriptors: Sequence[int], seconds: float) -> int:
        """Run a console script in a fork, and return its exit code; a negative one is the signal that ended it.

        Args:
            request: what to run.
            descriptors: its standard input, output and error.
            seconds: how long it may take.

        Raises:
            TimeoutExpired: it took longer, and is ended.
        """
        own, theirs = socket.socketpair()
        content = json.dumps(request).encode()
        with own, theirs:
            with self._lock:
                head = len(content).to_bytes(LENGTH, "big")
                socket.send_fds(self._peer, [head], [*descriptors, theirs.fileno()])
                self._peer.sendall(content)
            theirs.close()
            own.settimeout(seconds)
            answers = own.makefile()
            pid = int(answers.readline())
            try:
                return int(answers.readline())
            except TimeoutError as error:
                os.kill(pid, signal.SIGKILL)
                raise subprocess.TimeoutExpired(request["words"], seconds) from error


@functools.cache
def interpreter() -> WarmInterpreter:
    """Return the one of this process."""
    return WarmInterpreter()


def serve(peer: socket.socket) -> None:
    """Fork for each request until the tests are over."""
    for name in LIBRARIES:
        importlib.import_module(name)
    own = [name for name in sys.modules if name.partition(".")[0] in OURS]
    if own:
        raise AssertionError(f"imported before the command does: {own}")
    path = list(sys.path)
    gc.collect()
    gc.freeze()
    # The kernel takes what has ended.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        head, descriptors, _, _ = socket.recv_fds(peer, LENGTH, 4)
        if not head:
            return
        request = json.loads(_exactly(peer, int.from_bytes(head, "big")))
        if os.fork() == 0:
            peer.close()
            _attend(request, descriptors, path)
        for descriptor in descriptors:
            os.close(descriptor)


def _attend(request: Request, descriptors: Sequence[int], path: Sequence[str]) -> NoReturn:
    """Fork once more, and tell the test which process that is and how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    *streams, answer = descriptors
    pid = os.fork()
    if pid == 0:
        os.close(answer)
        become(request, streams, path)
    for descriptor in streams:
        os.close(descriptor)
    os.write(answer, f"{pid}\n".encode())
    _, status = os.waitpid(pid, 0)
    os.write(answer, f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def _exactly(peer: socket.socket, length: int) -> bytes:
    content = b""
    while len(content) < length:
        content += peer.recv(length - len(content))
    return content


def become(request: Request, descriptors: Sequence[int], path: Sequence[str]) -> NoReturn:
    """Become the command."""
    code = 1
    try:
        for number, descriptor in enumerate(descriptors):
            os.dup2(descriptor, number)
            os.close(descriptor)
        os.environ.clear()
        os.environ.update(request["variables"])
        time.tzset()
        os.chdir(request["folder"])
        script = request["script"]
        extra = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
        sys.path[:] = [str(Path(script).parent), *extra, *path]
        sys.argv = [script, *request["words"]]
        _forget_settings()
        gc.unfreeze()
        runpy.run_path(script, run_name="__main__")
        code = 0
    except SystemExit as error:
        if isinstance(error.code, str):
            sys.stderr.write(f"{error.code}\n")
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:  # noqa: BLE001 - the process ends here, as the interpreter would end it
        traceback.print_exc()
    finally:
        try:
            threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001 - joins threads and runs their exit hooks
            atexit._run_exitfuncs()  # noqa: SLF001
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)


def _forget_settings() -> None:
    """Have Prefect read its settings when they are first needed: a command may prepare its environment before."""
    from prefect import context

    known = context.SettingsContext.get

    def read() -> context.SettingsContext | None:
        context.SettingsContext.get = known  # type: ignore[method-assign]
        context.refresh_global_settings_context()
        return known()

    context.SettingsContext.get = read  # type: ignore[method-assign]


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
