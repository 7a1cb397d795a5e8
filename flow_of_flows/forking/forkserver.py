"""A process with the imports done, that forks the server and one process per flow run. Requests in, exit codes out.

Imports are most of a child's start (2 to 4 CPU seconds each). They are done once here, between requests, so that a
child starts in a few hundredths of a second.

Usage: `python -m flow_of_flows.forking.forkserver DESCRIPTOR PARENT_PID WAREHOUSE MODULE…`
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import selectors
import signal
import socket
import sys
import traceback
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

from flow_of_flows import output
from flow_of_flows.forking import fork
from flow_of_flows.forking.fork import end_with_parent, leave_terminal

LENGTH = 4


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
            fork.exec_module(parent, request)
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
