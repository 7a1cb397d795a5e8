"""`flows run`, `flows resume` and `flows ui`: a session, a run in it, and its end in the terminal."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

from prefect import Flow
from prefect.exceptions import PrefectHTTPStatusError
from prefect.states import AwaitingRetry
from rich.console import Console

from flow_of_flows import deployments
from flow_of_flows.cli.parameters import RunOptions, check, chosen
from flow_of_flows.cli.remote import exit_code, show
from flow_of_flows.dispatch.parameters import Parameters
from flow_of_flows.dispatch.pipeline import Pipeline, declared
from flow_of_flows.errors import ConfigurationError, ExitCode
from flow_of_flows.local.bootstrap import Bootstrap
from flow_of_flows.local.follow import follow, stops
from flow_of_flows.local.progress import RunProgress
from flow_of_flows.local.session import Check, LocalSession, session
from flow_of_flows.prefect_api.launch import RunsClient
from flow_of_flows.registration import step_deployments
from flow_of_flows.registration.prefect_yaml import Deployment
from flow_of_flows.retrying import detail
from flow_of_flows.settings import Settings
from flow_of_flows.summary.run_summary import RunSummary
from flow_of_flows.summary.terminal import here
from flow_of_flows.warehouse import targets


async def run_deployment(settings: Settings, bootstrap: Bootstrap, name: str, choice: RunOptions, *, keep: bool) -> int:
    """Run a deployment of the project in a session of its own; the exit code of its verdict.

    Args:
        settings: say which file declares it.
        bootstrap: handles of the session.
        name: of a pipeline, a child, or another flow in prefect.yaml.
        choice: what the command line says.
        keep: keep the session up afterwards.

    Raises:
        ConfigurationError: its flow does not import, or does not take these parameters.
    """
    entry = deployments.find(name, settings)
    flow = entry.flow()
    plan = declared(flow)
    plan = plan.configured(settings) if plan else None
    values = chosen(name, plan, tuple(flow.parameters.properties), choice)
    if missing := sorted(step_deployments.lacking(flow.parameters.model_dump(), {*entry.parameters, *values})):
        raise ConfigurationError(
            f"{name} requires {', '.join(missing)}", location="--set", hint=f"add `--set {missing[0]}=VALUE`"
        )

    check(flow.name, {**entry.parameters, **values})

    def check_steps(flows: Mapping[Deployment, Flow[..., Any]]) -> None:
        if plan:
            named = step_deployments.named_by(plan, Parameters.model_validate(values))
            known = step_deployments.declared_in(flows, settings)
            step_deployments.refuse_missing(named, known, file=settings.deployments)

    console = Console()
    async with _announced(settings, bootstrap, console, check_steps) as running:
        deployment = running.deployment(name)
        if deployment is None:
            raise ConfigurationError(f"{name} has no deployment", location=str(settings.deployments), hint="add one")
        run = await RunsClient(running.client).create(deployment, values, key=str(uuid4()))
        return await _to_the_end(running, settings, console, plan or flow.name, run, keep=keep)


async def resume_run(settings: Settings, bootstrap: Bootstrap, run: UUID, *, keep: bool) -> int:
    """Run the rest of a pipeline run, or a child or another flow again, under its id, as the UI's Retry button does.

    Args:
        settings: of this project.
        bootstrap: handles of the session.
        run: id of the run.
        keep: keep the server up afterwards.
    """
    console = Console()
    async with _announced(settings, bootstrap, console) as running:
        subject = await _retry(running, run, settings)
        return await _to_the_end(running, settings, console, subject, run, keep=keep)


async def stay_up(settings: Settings, bootstrap: Bootstrap) -> int:
    """Keep server and runner up until Ctrl-C.

    Args:
        settings: of this project.
        bootstrap: handles of the session.
    """
    console = Console()
    async with _announced(settings, bootstrap, console) as running:
        await _wait_for_stop(running, console)
    return ExitCode.OK


@asynccontextmanager
async def _announced(
    settings: Settings, bootstrap: Bootstrap, console: Console, check: Check | None = None
) -> AsyncIterator[LocalSession]:
    status = console.status("Starting the embedded Prefect server …")
    status.start()
    try:
        async with session(settings, bootstrap, check) as running:
            status.stop()
            console.print(f"Prefect UI: {running.ui}", highlight=False, soft_wrap=True)
            yield running
    finally:
        status.stop()


async def _retry(running: LocalSession, run: UUID, settings: Settings) -> Pipeline | str:
    """Start a run again; return the steps of its pipeline, or the name of another flow."""
    client = running.client
    read = await RunsClient(client).read(run)
    flow = (await client.read_flow(read.flow_id)).name
    plan = deployments.declared_by(flow, settings)
    if plan is None and read.deployment_id not in running.deployments:
        raise ConfigurationError(
            f"{flow} is not a flow of this project",
            location=str(settings.deployments),
            hint="run this in the project of the run, or set FLOWS_PROJECT to its folder",
        )
    subject = plan.configured(settings) if plan else flow
    if read.state and read.state.is_paused():
        await client.resume_flow_run(run)
        return subject
    if read.state is None or not read.state.is_final():
        raise ConfigurationError(
            f"Run {read.name} is not over: it is {read.state.name if read.state else 'unknown'}",
            location=str(run),
            hint="wait until it is over, or cancel it",
        )
    try:
        await client.set_flow_run_state(run, AwaitingRetry())
    except PrefectHTTPStatusError as error:
        raise ConfigurationError(f"Run {read.name} cannot be retried: {detail(error)}", location=str(run)) from error
    return subject


async def _to_the_end(
    running: LocalSession, settings: Settings, console: Console, subject: Pipeline | str, run: UUID, *, keep: bool
) -> int:
    console.print(f"This run:   {running.ui}/runs/flow-run/{run}", highlight=False, soft_wrap=True)
    with RunProgress(console) as progress:
        answer = await running.while_up(
            follow(running.client, running.notifier, subject, run, progress, settings=settings)
        )
    _conclude(console, settings, answer)
    if keep:
        await _wait_for_stop(running, console)
    return exit_code(answer)


def _conclude(console: Console, settings: Settings, answer: RunSummary) -> None:
    terminal = here(settings)
    show(console, terminal, answer)
    lines = [f"Warehouse: {targets.place(settings)}"]
    if settings.results_folder.exists():
        lines.append(f"Results:   {settings.results_folder}")
    lines += [
        f"Logs:      {settings.home / 'logs'}",
        f"To look at it in the Prefect UI: {terminal.command('flows ui')}",
    ]
    console.print("\n".join(lines), highlight=False, markup=False, soft_wrap=True)


async def _wait_for_stop(running: LocalSession, console: Console) -> None:
    with stops() as stop:
        console.print(f"Open {running.ui} in a browser; Ctrl-C ends it.", highlight=False)
        await running.while_up(stop.wait())
