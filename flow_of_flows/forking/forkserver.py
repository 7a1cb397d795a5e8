"""A process with the imports done, that forks the server and one process per flow run. Requests in, exit codes out.

Imports are most of a child's start (2 to 4 CPU seconds each). They are done once here, between requests, so that a
child starts in a few hundredths of a second. A fork becomes `python -m MODULE ARGUMENTS`.

Usage: `python -m flow_of_flows.forking.forkserver DESCRIPTOR PARENT_PID WAREHOUSE MODULE…`
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import sys
import threading
import traceback
import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn

from flow_of_flows import output
from flow_of_flows.errors import FlowsError

LENGTH = 4


def exec_module(parent: int, request: Mapping[str, Any]) -> NoReturn:
    """Run a module as the main program of this fork, then exit.

    Args:
        parent: process id of the parent, with which this process ends.
        request: the module, its arguments and environment, and a log file if it has one.
    """
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        end_with_parent(parent)
        if log := request.get("log"):
            file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            os.dup2(file, 1)
            os.dup2(file, 2)
        _set_environment(request["environment"])
        output.begin()
        gc.enable()
        sys.argv = [request["module"], *request["arguments"]]
        warnings.simplefilter("ignore", RuntimeWarning)  # runpy: the module has been imported before, on purpose
        with _settings_of(request["environment"]):
            _guard_requests()
            runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:  # noqa: BLE001 - the process ends here, and its log is the only place to say why
        traceback.print_exc()
    finally:
        _exit(code)


def _set_environment(variables: Mapping[str, str | None]) -> None:
    """Set the variables of this fork; one without a value is removed."""
    os.environ.update({name: value for name, value in variables.items() if value is not None})
    for name in variables:
        if variables[name] is None:
            os.environ.pop(name, None)


def _guard_requests() -> None:
    from flow_of_flows import prefect_requests

    try:
        prefect_requests.guard()
    except FlowsError as error:
        output.end(error)


@contextmanager
def _settings_of(environment: Mapping[str, str | None]) -> Iterator[None]:
    """Read Prefect's settings again for a run that has some of its own: Prefect read them in the fork server."""
    if not any(name.startswith("PREFECT_") and not name.startswith("PREFECT__") for name in environment):
        yield
        return
    from prefect.context import SettingsContext, get_settings_context
    from prefect.settings import Settings

    with SettingsContext(profile=get_settings_context().profile, settings=Settings()):
        yield


def _exit(code: int) -> NoReturn:
    """End as the interpreter would: exit handlers flush Prefect's logs and events."""
    try:
        threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001 - joins threads and runs their exit hooks
        atexit._run_exitfuncs()  # noqa: SLF001
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


PR_SET_PDEATHSIG = 1


def end_with_parent(parent: int) -> None:
    """Have the kernel end this process when its parent dies, however it dies (Linux; elsewhere the session ends it).

    Args:
        parent: process id of the parent; if it is gone already, this process exits.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)


def leave_terminal() -> None:
    """Leave the terminal's process group: Ctrl-C is for the session, which then ends its processes in order."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def main(descriptor: int, parent: int, warehouse: str, preload: Iterable[str]) -> None:
    """Serve requests until the other end closes.

    Args:
        descriptor: of the connection to the client.
        parent: process id of the session, with which this process ends.
        warehouse: name of the warehouse.
        preload: what to import when idle.
    """
    output.begin()
    leave_terminal()
    end_with_parent(parent)
    # Imports make few cycles and many objects; collecting among them costs a tenth of their time. Forks collect again.
    gc.disable()
    ForkServer(socket.socket(fileno=descriptor), warehouse, preload).serve()


class ForkServer:
    """Forks on request, reports the end of each fork, and imports the next module when idle."""

    def __init__(self, peer: socket.socket, warehouse: str, preload: Iterable[str]) -> None:
        self._peer = peer
        self._warehouse = warehouse
        self._preload = deque(preload)
        self._wakeup, self._wakeup_writer = socket.socketpair()
        self._wakeup_writer.setblocking(False)  # noqa: FBT003 - the standard library's own signature
        signal.set_wakeup_fd(self._wakeup_writer.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._selector = selectors.DefaultSelector()
        self._selector.register(peer, selectors.EVENT_READ)
        self._selector.register(self._wakeup, selectors.EVENT_READ)

    def serve(self) -> None:
        """Serve until the peer closes; then the forks end with this process."""
        while True:
            ready = {key.fileobj for key, _ in self._selector.select(0 if self._preload else None)}
            if not ready:
                self._import_next()
            if self._wakeup in ready:
                self._wakeup.recv(4096)
                self._reap()
            if self._peer in ready:
                request = self._receive()
                if not request:
                    return
                self._fork(json.loads(request))

    def _import_next(self) -> None:
        entry = self._preload.popleft()
        name, _, function = entry.partition(":")
        try:
            module = importlib.import_module(name)
            if function:
                getattr(module, function)(self._warehouse)
        except Exception:  # noqa: BLE001 - preloading is only for speed: the child that needs the module fails by itself
            sys.stderr.write(f"not preloaded: {entry}\n{traceback.format_exc()}")

    def _fork(self, request: Mapping[str, Any]) -> None:
        parent = os.getpid()
        gc.freeze()
        pid = os.fork()
        if pid == 0:
            self._peer.close()
            exec_module(parent, request)
        self._send({"name": request["name"], "pid": pid})

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._send({"pid": pid, "code": os.waitstatus_to_exitcode(status)})

    def _receive(self) -> bytes:
        length = self._peer.recv(LENGTH, socket.MSG_WAITALL)
        return self._peer.recv(int.from_bytes(length, "big"), socket.MSG_WAITALL) if length else b""

    def _send(self, message: Mapping[str, object]) -> None:
        self._peer.sendall(frame(message))


def frame(message: Mapping[str, object]) -> bytes:
    """Return a message as its length and its JSON."""
    text = json.dumps(message).encode()
    return len(text).to_bytes(LENGTH, "big") + text


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:])
