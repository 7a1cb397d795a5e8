"""Processes for flow runs, forked by the fork server.

`ForkStarter` is a `ProcessStarter` of Prefect's own runner, which brings cancellation, crash reports and hooks.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import anyio.abc
from prefect.client.schemas.objects import FlowRun

from flow_of_flows.errors import PlatformError
from flow_of_flows.forking.forkserver import LENGTH, frame
from flow_of_flows.local.bootstrap import Bootstrap
from flow_of_flows.prefect_internals import ControlChannel, ProcessHandle

ENGINE = "prefect.engine"
KILLED = -9


class Fork:
    """The process of one flow run, as Prefect's runner wants to see one: `pid` and `returncode`."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._over = asyncio.Event()

    def end(self, code: int) -> None:
        """Note that the process is over."""
        self.returncode = code
        self._over.set()

    async def wait(self) -> None:
        """Wait until the process is over."""
        await self._over.wait()


class ForkServerClient:
    """The client side of `flow_of_flows.forking.forkserver`."""

    def __init__(self, bootstrap: Bootstrap) -> None:
        self._bootstrap = bootstrap
        self._forks: dict[int, Fork] = {}
        self._started: dict[str, asyncio.Future[Fork]] = {}

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection(sock=self._bootstrap.channel.dup())
        self._listening = asyncio.create_task(self._listen())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listening.cancel()
        self._writer.close()

    async def fork(
        self,
        name: str,
        *,
        module: str,
        log: Path,
        arguments: Sequence[str] = (),
        environment: Mapping[str, str | None] | None = None,
    ) -> Fork:
        """Start `python -m module arguments` as a process.

        Args:
            name: of the process, for the reply of the fork server.
            module: what to run.
            log: file of its output.
            arguments: of the module.
            environment: variables over those of the fork server; None removes one.

        Raises:
            PlatformError: the fork server is gone.
        """
        if self._listening.done():
            raise self._gone()
        started: asyncio.Future[Fork] = asyncio.get_running_loop().create_future()
        self._started[name] = started
        request = {"name": name, "module": module, "arguments": list(arguments), "log": str(log)}
        self._writer.write(frame(request | {"environment": dict(environment or {})}))
        await self._writer.drain()
        return await started

    async def _listen(self) -> None:
        try:
            while True:
                size = int.from_bytes(await self._reader.readexactly(LENGTH), "big")
                self._note(json.loads(await self._reader.readexactly(size)))
        except (asyncio.IncompleteReadError, ConnectionError):
            # The fork_server is gone, and the kernel ended its forks with it.
            for fork in self._forks.values():
                fork.end(KILLED)
            for started in self._started.values():
                started.set_exception(self._gone())

    def _gone(self) -> PlatformError:
        return PlatformError(
            "The process that starts children is gone",
            location=str(self._bootstrap.home.logs / "fork-server.log"),
            hint="start the session again",
        )

    def _note(self, message: dict[str, int | str]) -> None:
        pid = int(message["pid"])
        if "name" in message:
            fork = self._forks[pid] = Fork(pid)
            self._started.pop(str(message["name"])).set_result(fork)
        else:
            self._forks.pop(pid).end(int(message["code"]))


class ForkStarter:
    """Starts flow runs as forks of the fork server.

    Args:
        fork_server: starts the processes.
        control: Prefect's channel to them.
        logs: folder of the runs' log files.
        variables: returns the environment of a run, over that of the fork server.
    """

    def __init__(
        self, fork_server: ForkServerClient, control: ControlChannel, logs: Path, variables: RunVariables
    ) -> None:
        self._fork_server = fork_server
        self._control = control
        self._logs = logs
        self._variables = variables

    async def start(
        self, flow_run: FlowRun, task_status: anyio.abc.TaskStatus[ProcessHandle] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        """Start a run's process, report it, and return when it is over.

        Args:
            flow_run: the run.
            task_status: receives the process.
        """
        port, token = self._control.register(flow_run.id)
        fork = await self._fork_server.fork(
            str(flow_run.id),
            module=ENGINE,
            log=self._logs / f"{flow_run.name}.log",
            environment={
                **self._variables(flow_run),
                "PREFECT__FLOW_RUN_ID": str(flow_run.id),
                "PREFECT__ENABLE_CANCELLATION_AND_CRASHED_HOOKS": "false",
                "PREFECT__CONTROL_PORT": str(port),
                "PREFECT__CONTROL_TOKEN": token,
            },
        )
        task_status.started(ProcessHandle(fork))  # type: ignore[arg-type]
        await fork.wait()


RunVariables = Callable[[FlowRun], Mapping[str, str | None]]


def own_variables(flow_run: FlowRun) -> dict[str, str | None]:
    """Return the environment that the run asks for (`job_variables.env`), as any Prefect worker would set it."""
    values = (flow_run.job_variables or {}).get("env") or {}
    return {str(name): str(value) for name, value in values.items()}
