"""A process with the imports done, that forks one process per flow run. Requests in, process ids and exit codes out.

Started by `flows.local.forks`. Imports are most of a child's start (2 to 4 CPU seconds each); here they are done once,
while nothing else is asked for, and a child starts in a few hundredths of a second. A fork runs the standard entry
point, `python -m prefect.engine`.

Usage: `python -m flows.local.zygote DESCRIPTOR PARENT_PID MODULE…`
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import sys
import traceback
import warnings
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from flows.local.process import end_with_parent, leave_terminal

ENGINE = "prefect.engine"
LENGTH = 4


def main(descriptor: int, parent: int, modules: list[str]) -> None:
    """Serve requests until the other end closes."""
    leave_terminal()
    end_with_parent(parent)
    Zygote(socket.socket(fileno=descriptor), modules).serve()


class Zygote:
    """The loop: fork when asked, tell when a child is over, import the next module when idle."""

    def __init__(self, peer: socket.socket, modules: list[str]) -> None:
        self._peer = peer
        self._modules = deque(modules)
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
            ready = {key.fileobj for key, _ in self._selector.select(0 if self._modules else None)}
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
        name = self._modules.popleft()
        try:
            importlib.import_module(name)
        except Exception:  # noqa: BLE001 - preloading is only for speed: the child that needs the module fails by itself
            sys.stderr.write(f"not preloaded: {name}\n{traceback.format_exc()}")

    def _fork(self, request: dict[str, Any]) -> None:
        mother = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._peer.close()
            _become(mother, request["log"], request["environment"])
        self._send({"run": request["run"], "pid": pid})

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

    def _send(self, message: dict[str, str | int]) -> None:
        self._peer.sendall(frame(message))


def frame(message: Mapping[str, object]) -> bytes:
    """A message as its length and its JSON."""
    text = json.dumps(message).encode()
    return len(text).to_bytes(LENGTH, "big") + text


def _become(mother: int, log: str, environment: dict[str, str]) -> None:
    """Turn this fork into the process of one flow run; never returns."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        end_with_parent(mother)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.environ.update(environment)
        warnings.simplefilter("ignore", RuntimeWarning)  # runpy: the engine has been imported before, on purpose
        sys.argv = [ENGINE]
        with _settings_of(environment):
            runpy.run_module(ENGINE, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:  # noqa: BLE001 - the process ends here, and its log is the only place to say why
        traceback.print_exc()
    finally:
        _exit(code)


@contextmanager
def _settings_of(environment: Mapping[str, str]) -> Iterator[None]:
    """Prefect read its settings in the zygote; read them again for a run that brings some of its own."""
    if not any(name.startswith("PREFECT_") and not name.startswith("PREFECT__") for name in environment):
        yield
        return
    from prefect.context import SettingsContext, get_settings_context
    from prefect.settings import Settings

    with SettingsContext(profile=get_settings_context().profile, settings=Settings()):
        yield


def _exit(code: int) -> None:
    """End as the interpreter would: exit handlers flush Prefect's logs and events."""
    import atexit
    import threading

    try:
        threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001 - joins threads and runs their exit hooks
        atexit._run_exitfuncs()  # noqa: SLF001
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
