"""The process of a test session's embedded server. It ends when its standard input does: with the process of the tests.

Usage: `python -m flow_of_flows.testing.server CONTEXT`, a file that says what the runs of the present test get. When
the server is up, one line of JSON on standard output says where.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from flow_of_flows import output
from flow_of_flows.errors import FlowsError
from flow_of_flows.forking.preload import everything
from flow_of_flows.local.bootstrap import Bootstrap, bootstrapped
from flow_of_flows.project import modules_in
from flow_of_flows.settings import Settings, whole_environment
from flow_of_flows.testing.faults import InjectedFault, RunFault, fault_of

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun


class RunContext(BaseModel):
    """What the runs of one test get.

    Attributes:
        environment: the whole environment of the test, without Prefect's own variables of its process.
        faults: planned for its steps, oldest first.
    """

    model_config = ConfigDict(frozen=True)

    environment: Mapping[str, str] = {}
    faults: tuple[InjectedFault, ...] = ()


class Address(BaseModel):
    """Where the server is.

    Attributes:
        api: address of the API.
        deployments: ids of the deployments by their names in prefect.yaml.
    """

    model_config = ConfigDict(frozen=True)

    api: str
    deployments: Mapping[str, UUID]


class ContextVariables:
    """Returns the environment of each run: that of the present test, and the fault that is planned for its step.

    Args:
        file: has the context; the tests write it before they start a run.
        inherited: variables that the session's processes have by themselves.
    """

    def __init__(self, file: Path, inherited: Mapping[str, str]) -> None:
        self._file = file
        self._inherited = inherited
        self._steps: dict[UUID, str] = {}

    def __call__(self, run: FlowRun) -> dict[str, str | None]:
        """Return the variables of a run, over those of the fork server."""
        from flow_of_flows.local.children import own_variables
        from flow_of_flows.runs.resume import parse_key

        context = RunContext.model_validate_json(self._file.read_text(encoding="utf-8"))
        gone = {name for name in self._inherited if not name.startswith("PREFECT_")} - set(context.environment)
        variables = {**dict.fromkeys(gone), **context.environment, **own_variables(run)}
        if key := parse_key(run.idempotency_key):
            above, step, attempt = key
            path = f"{self._steps[above]}/{step}" if above in self._steps else step
            self._steps[run.id] = path
            if fault := fault_of(context.faults, path, tries=attempt - 1 + run.run_count):
                variables |= RunFault(fault=fault, parameters=tuple(run.parameters)).variables()
        return variables


def main(context: Path) -> None:
    """Serve until standard input ends.

    Args:
        context: file with the context of the present test.
    """
    output.begin()
    inherited = whole_environment()
    settings = Settings.load()
    with bootstrapped(settings, everything(modules_in(settings.deployments))) as bootstrap:
        asyncio.run(_serve(settings, bootstrap, ContextVariables(context, inherited)))


async def _serve(settings: Settings, bootstrap: Bootstrap, variables: ContextVariables) -> None:
    from flow_of_flows.local.follow import stops
    from flow_of_flows.local.session import session

    with stops() as stop:
        asyncio.get_running_loop().add_reader(sys.stdin.fileno(), _read, stop)
        async with session(settings, bootstrap, variables=variables) as running:
            deployments = {deployment.name: id_ for id_, deployment in running.deployments.items()}
            print(Address(api=bootstrap.api, deployments=deployments).model_dump_json(), flush=True)  # noqa: T201
            await running.while_up(stop.wait())


def _read(stop: asyncio.Event) -> None:
    """Stop at the end of standard input, on which nothing is ever written."""
    asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
    os.read(sys.stdin.fileno(), 1)
    stop.set()


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except FlowsError as error:
        output.end(error)
