"""The engine of one flow run as a fork of this process: told what to run later, a process handle in between.

It imports what every flow needs while the supervisor asks the API; told to go, it becomes `prefect.engine`.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import signal
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NoReturn

import prefect  # noqa: F401 - imported before the fork, so that both sides share it

import flow_of_flows.settings.pod  # noqa: F401 - as well
from flow_of_flows.forking.fork import become
from flow_of_flows.forking.forkserver import LENGTH, frame
from flow_of_flows.forking.preload import PREFECT

# What each child of ours begins with.
CHILD = ("flow_of_flows.child_flow", "flow_of_flows.prefect_requests")
READY = b"."


@dataclass
class Engine:
    """The supervisor's side.

    Attributes:
        pid: process id of the fork, as Prefect's runner wants to see one.
        returncode: its exit code once it is over; negative is a signal.
    """

    pid: int
    channel: socket.socket
    returncode: int | None = None
    _over: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    def fork(cls) -> Engine:
        """Fork; in the fork this never returns."""
        ours, theirs = socket.socketpair()
        supervisor = os.getpid()
        pid = os.fork()
        if pid == 0:
            ours.close()
            _wait_and_run(theirs, supervisor)
        theirs.close()
        return cls(pid, ours)

    def go(self, environment: Mapping[str, str]) -> None:
        """Have it run the engine with these variables."""
        request = {"module": "prefect.engine", "arguments": [], "environment": dict(environment)}
        self.channel.sendall(frame(request))

    async def ready(self) -> None:
        """Wait until it has imported what it needs, or is over."""
        await asyncio.to_thread(self.channel.recv, len(READY))

    def watch(self) -> None:
        """Notice the end of the process, also when nobody waits any more: so a run is handed back."""
        descriptor = os.pidfd_open(self.pid)
        asyncio.get_running_loop().add_reader(descriptor, self._end, descriptor)

    async def wait(self) -> None:
        """Wait until the process is over."""
        await self._over.wait()

    def freeze(self) -> None:
        """Stop it and what it started, as it is."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Have it go on."""
        self._signal(signal.SIGCONT)

    async def end(self) -> None:
        """Kill it and what it started, frozen or not, also where it was never told to go."""
        self._signal(signal.SIGKILL)
        await self.wait()

    def _signal(self, number: signal.Signals) -> None:
        """To its process group, which it has once it runs; a group may outlive its first process."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)
            return
        if self.returncode is None:
            os.kill(self.pid, number)

    def _end(self, descriptor: int) -> None:
        asyncio.get_running_loop().remove_reader(descriptor)
        os.close(descriptor)
        self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        self._over.set()


def _wait_and_run(channel: socket.socket, supervisor: int) -> NoReturn:
    # Kept back from the supervisor while it starts; the engine is stopped by it.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    for module in PREFECT + CHILD:
        importlib.import_module(module)
    channel.sendall(READY)
    length = channel.recv(LENGTH, socket.MSG_WAITALL)
    if not length:
        os._exit(0)  # the supervisor had nothing to run, and has said why
    request = json.loads(channel.recv(int.from_bytes(length, "big"), socket.MSG_WAITALL))
    channel.close()
    become(supervisor, request)
