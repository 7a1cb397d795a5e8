"""The engine of one flow run as a fork of this process.

It imports what every flow needs while the supervisor asks the API, and then runs `prefect.engine`.
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
from pathlib import Path
from typing import Any, NoReturn

import anyio.abc
import prefect  # noqa: F401 - imported before the fork, so that both sides share it
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, State

import flow_of_flows.settings.operations  # noqa: F401 - as well
from flow_of_flows.errors import Cause
from flow_of_flows.forking.forkserver import LENGTH, exec_module, frame
from flow_of_flows.forking.preload import PREFECT
from flow_of_flows.prefect_internals import ControlChannel, ProcessHandle, StateProposer
from flow_of_flows.runs.causes import KERNEL_KILLED

CGROUP = Path("/sys/fs/cgroup")
MEBIBYTE = 2**20


@dataclass(frozen=True)
class Kills:
    """How often the kernel has killed in this container, and the container's limit in bytes where it has one."""

    count: int
    limit: int | None

    def said(self, before: Kills) -> str | None:
        """Return in a sentence what happened since; None if the kernel did not kill."""
        if self.count <= before.count:
            return None
        limit = f" at its limit of {self.limit // MEBIBYTE}Mi" if self.limit else ""
        return f"{KERNEL_KILLED}{limit}; give the deployment more memory (`memory_limit`)"


def kills(root: Path = CGROUP) -> Kills:
    """Return the kills that cgroup v2 or v1 counts; none where neither can be read."""
    if (root / "memory.events").exists():
        return Kills(_counted(root / "memory.events"), _limit(root / "memory.max"))
    return Kills(_counted(root / "memory" / "memory.oom_control"), _limit(root / "memory" / "memory.limit_in_bytes"))


def _counted(file: Path) -> int:
    pairs = (line.split() for line in _text(file).splitlines())
    return next((int(pair[1]) for pair in pairs if pair[:1] == ["oom_kill"]), 0)


def _limit(file: Path) -> int | None:
    """Return a limit in bytes; None for no limit: the word max, or a number near v1's largest."""
    text = _text(file).strip()
    return int(text) if text.isdigit() and int(text) < 2**60 else None


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""


# What every child of the platform begins with.
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
        """Fork this process; never return in the fork."""
        ours, theirs = socket.socketpair()
        supervisor = os.getpid()
        pid = os.fork()
        if pid == 0:
            ours.close()
            _wait_and_run(theirs, supervisor)
        theirs.close()
        return cls(pid, ours)

    def go(self, environment: Mapping[str, str]) -> None:
        """Start the engine with these variables."""
        request = {"module": "prefect.engine", "arguments": [], "environment": dict(environment)}
        self.channel.sendall(frame(request))

    async def ready(self) -> None:
        """Wait until it has imported what it needs, or is over."""
        await asyncio.to_thread(self.channel.recv, len(READY))

    def watch(self) -> None:
        """Watch for the end of the process, even when nothing waits for it: a run that is rescheduled needs it."""
        descriptor = os.pidfd_open(self.pid)
        asyncio.get_running_loop().add_reader(descriptor, self._end, descriptor)

    async def wait(self) -> None:
        """Wait until the process is over."""
        await self._over.wait()

    def freeze(self) -> None:
        """Stop it and what it started, in their present state."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    async def end(self) -> None:
        """Kill it and what it started, frozen or not, even if it never started."""
        self._signal(signal.SIGKILL)
        await self.wait()

    def _signal(self, number: signal.Signals) -> None:
        """Signal its process group, which it has once it runs; a group may outlive its first process."""
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
    exec_module(supervisor, request)


RUN_VARIABLE = "PREFECT__FLOW_RUN_ID"


class Starter:
    """Starts the run in the engine that waits: a `ProcessStarter` of Prefect's own executor."""

    def __init__(self, engine: Engine, control: ControlChannel) -> None:
        self._engine = engine
        self._control = control

    async def start(
        self, flow_run: FlowRun, task_status: anyio.abc.TaskStatus[ProcessHandle] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        """Start the engine, report its process, and return when it is over.

        Args:
            flow_run: the run.
            task_status: receives the process.
        """
        port, token = self._control.register(flow_run.id)
        self._engine.go(
            {
                RUN_VARIABLE: str(flow_run.id),
                # The supervisor runs them: it outlives the engine.
                "PREFECT__ENABLE_CANCELLATION_AND_CRASHED_HOOKS": "false",
                "PREFECT__CONTROL_PORT": str(port),
                "PREFECT__CONTROL_TOKEN": token,
            }
        )
        task_status.started(ProcessHandle(self._engine))  # type: ignore[arg-type]
        await self._engine.wait()


class Reporter(StateProposer):
    """Reports states to Prefect, and adds to a crash that the kernel killed the process for its memory."""

    def __init__(self, client: PrefectClient, engine: Engine, root: Path = CGROUP) -> None:
        super().__init__(client=client)
        self._engine = engine
        self._root = root
        self._before = kills(root)

    async def propose_crashed(self, flow_run: FlowRun, message: str) -> State[Any] | None:
        """Report a crash; the kernel's own count tells its kill from another's.

        Args:
            flow_run: the run.
            message: Prefect's own message.
        """
        if self._engine.returncode == -signal.SIGKILL and (said := kills(self._root).said(self._before)):
            message = Cause.OUT_OF_MEMORY.prefix(said)
        return await super().propose_crashed(flow_run, message)
