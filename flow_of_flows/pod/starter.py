"""What a pod puts into Prefect's own executor: how the engine starts, and how its crash is reported."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import anyio.abc
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, State
from prefect.runner._control_channel import ControlChannel
from prefect.runner._process_manager import ProcessHandle
from prefect.runner._state_proposer import StateProposer

from flow_of_flows.errors import Cause
from flow_of_flows.pod.engine import Engine
from flow_of_flows.pod.memory import CGROUP, kills

RUN_VARIABLE = "PREFECT__FLOW_RUN_ID"


class Starter:
    """Starts the run in the engine that waits: a `ProcessStarter` of Prefect's own executor."""

    def __init__(self, engine: Engine, control: ControlChannel) -> None:
        self._engine = engine
        self._control = control

    async def start(
        self, flow_run: FlowRun, task_status: anyio.abc.TaskStatus[ProcessHandle] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        """Tell the engine to go, tell that it runs, and return when it is over."""
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
    """Prefect's reports, where a crash for want of memory says so."""

    def __init__(self, client: PrefectClient, engine: Engine, root: Path = CGROUP) -> None:
        super().__init__(client=client)
        self._engine = engine
        self._root = root
        self._before = kills(root)

    async def propose_crashed(self, flow_run: FlowRun, message: str) -> State[Any] | None:
        """Report it; the kernel's own count tells its kill from another's."""
        if self._engine.returncode == -signal.SIGKILL and (said := kills(self._root).said(self._before)):
            message = Cause.OUT_OF_MEMORY.say(said)
        return await super().propose_crashed(flow_run, message)
