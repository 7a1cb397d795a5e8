"""`flows run`, `flows resume` and `flows report` on the Prefect API that is configured.

The deployment's own infrastructure works on the run. These commands change it as the Prefect UI does, and follow it.
Only Prefect's client is imported, so that they are safe in a worker's pod.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID, uuid4

from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import SetStateStatus
from prefect.utilities.urls import url_for
from rich.console import Console
from rich.markdown import Markdown

from flow_of_flows.cli import deployments, parameters
from flow_of_flows.cli.deployments import ANSWER_SECONDS, Deployed, configured, connected
from flow_of_flows.cli.follower import Follower, Subject
from flow_of_flows.cli.parameters import RunOptions
from flow_of_flows.dispatch.parameters import Parameters
from flow_of_flows.dispatch.pipeline import Pipeline
from flow_of_flows.dispatch.status import answer_of, displayed
from flow_of_flows.errors import Cause, ConfigurationError, ExitCode
from flow_of_flows.local.follow import ChildLook, Look
from flow_of_flows.local.progress import RunProgress
from flow_of_flows.prefect_api import artifacts
from flow_of_flows.prefect_api.client import PrefectApi
from flow_of_flows.prefect_api.launch import RunsClient
from flow_of_flows.project import names_in
from flow_of_flows.registration import step_deployments
from flow_of_flows.runs.outcome import Verdict
from flow_of_flows.settings import Settings
from flow_of_flows.summary.run_summary import RunSummary
from flow_of_flows.summary.terminal import Terminal, here

CODES = {
    Verdict.COMPLETED: ExitCode.OK,
    Verdict.DEGRADED: ExitCode.OK,
    Verdict.FAILED: ExitCode.FAILED,
    Verdict.CANCELLED: ExitCode.CANCELLED,
    Verdict.RUNNING: ExitCode.CANCELLED,
    Verdict.SUSPENDED: ExitCode.CANCELLED,
    Verdict.SKIPPED: ExitCode.OK,
}


def exit_code(answer: RunSummary) -> int:
    """Return the exit code of a run: that of its verdict, but 2 for a child that its parameters or project kept."""
    causes = {outcome.cause for outcome in answer.failed}
    if not answer.is_pipeline and causes == {Cause.CONFIGURATION}:
        return ExitCode.CONFIGURATION
    return CODES[answer.verdict]


async def report_run(run: UUID, *, local: bool = False) -> int:
    """Print the answers of a run, also of one that still runs or whose parent died.

    Args:
        run: its id.
        local: look at the embedded server, though an API is configured.

    Raises:
        ConfigurationError: there is no such run.
        PlatformError: the API does not answer.
    """
    settings = Settings.load()
    async with connected(settings, local=local) as found:
        api = RunsClient(found.client, retry_seconds=10)
        read = await api.read(run)
        deployed = await deployments.of_run(found, read.deployment_id, read.flow_id, settings)
        plan = displayed(deployed.plan, settings, read)
        show(Console(), here(settings), await answer_of(api, plan, deployed.flow, run, settings))
    return ExitCode.OK


def show(console: Console, terminal: Terminal, answer: RunSummary) -> None:
    """Print the answers: drawn on a terminal, as the Markdown they are elsewhere (a CI log, a file).

    Args:
        console: where to print.
        terminal: how commands are written there.
        answer: the summary of the run.
    """
    text = answer.markdown(artifacts.links(answer.runs), terminal)
    if console.is_terminal:
        console.print(Markdown(text))
    else:
        console.file.write(text)


async def run_deployment(settings: Settings, name: str, choice: RunOptions) -> int:
    """Create a run of a deployment, follow it and return the exit code of its verdict.

    Args:
        settings: settings of this command.
        name: name of the deployment.
        choice: the options of the command.

    Raises:
        ConfigurationError: there is no such deployment, or it does not take these parameters.
        PlatformError: the API does not answer.
    """
    async with _opened(settings) as remote:
        deployed = await deployments.find(remote.configured, name, settings)
        values = parameters.chosen(deployed.name, deployed.plan, deployed.parameters, choice)
        parameters.check(deployed.flow, values)
        if deployed.plan and deployed.is_declared:
            await _refuse_missing(remote.configured, deployed.plan, Parameters.model_validate(values), settings)
        run = await remote.api.create(deployed.id, values, key=str(uuid4()))
        return await remote.to_the_end(deployed, await remote.api.read(run))


async def _refuse_missing(api: PrefectApi, plan: Pipeline, values: Parameters, settings: Settings) -> None:
    """Refuse a run with a step whose deployment neither prefect.yaml nor the API has, before it is created.

    What the settings of this terminal decide is left out: the run has those of its own infrastructure.

    Raises:
        ConfigurationError: there is such a step.
    """
    names = names_in(settings.deployments)
    own = {*names, *map(settings.deployment_name, names)}
    named = (each for each in step_deployments.named_by(plan, values) if not each.by_settings)
    others = [each for each in named if each.deployment.partition("/")[2] not in own]
    for error in await step_deployments.missing(api, others, ()):
        raise error


async def resume_run(settings: Settings, run: UUID) -> int:
    """Start a run that is over again under its own id, as the UI's Retry button does, and follow it.

    Args:
        settings: settings of this command.
        run: id of the run.

    Raises:
        ConfigurationError: there is no such run, it is not over, or nothing can start it.
        PlatformError: the API does not answer.
    """
    async with _opened(settings) as remote:
        read = await remote.api.read(run)
        if read.state is not None and not read.state.is_paused():
            _refuse_active(read, here(settings))
        if read.deployment_id is None:
            raise ConfigurationError(
                f"Run {read.name} is not of a deployment: nothing can start it again", location=str(run)
            )
        deployed = await deployments.of_run(remote.configured, read.deployment_id, read.flow_id, settings)
        if why := await _start_again(remote, read):
            # Somebody else may have started it since.
            _refuse_active(await remote.api.read(run), here(settings))
            raise ConfigurationError(f"Run {read.name} cannot be retried: {why}", location=str(run))
        return await remote.to_the_end(deployed, await remote.api.read(run))


async def follow_run(settings: Settings, run: UUID) -> int:
    """Follow a run until it is over and return the exit code of its verdict.

    Args:
        settings: settings of this command.
        run: id of the run.

    Raises:
        ConfigurationError: there is no such run.
        PlatformError: the API does not answer.
    """
    async with _opened(settings) as remote:
        read = await remote.api.read(run)
        return await remote.to_the_end(
            await deployments.of_run(remote.configured, read.deployment_id, read.flow_id, settings), read
        )


async def _start_again(remote: Remote, run: FlowRun) -> str | None:
    """Press Resume for a run that is paused or suspended, Retry for one that is over; the reason if the API refuses."""
    if run.state is None or not run.state.is_paused():
        return await remote.api.retry(run.id)
    answer = await remote.configured.call(lambda: remote.configured.client.resume_flow_run(run.id))
    return None if answer.status is SetStateStatus.ACCEPT else str(getattr(answer.details, "reason", answer.status))


def _refuse_active(run: FlowRun, terminal: Terminal) -> None:
    if run.state is None or not run.state.is_final():
        raise ConfigurationError(
            f"Run {run.name} is not over: it is {run.state.name if run.state else 'unknown'}",
            location=str(run.id),
            hint=f"follow it with `{terminal.command(f'flows report {run.id} --follow')}`, or cancel it",
        )


@dataclass(frozen=True)
class Remote:
    """The configured API, for one command.

    Attributes:
        api: for what a person waits for.
    """

    settings: Settings
    configured: PrefectApi
    api: RunsClient
    console: Console

    async def to_the_end(self, deployed: Deployed, run: FlowRun) -> int:
        """Follow a run to its end and return the exit code of its verdict.

        Args:
            deployed: the deployment of the run.
            run: the run.
        """
        page = url_for("flow-run", obj_id=run.id)
        self._say(f"Prefect API: {self.configured.url}")
        self._say(f"This run:    {page}" if page else f"This run:    {run.name} ({run.id})")
        with RunProgress(self.console, every_state=True) as progress:
            answer = await (await self._follower(deployed, run, progress)).follow()
        if answer is None:
            self._detached(run, page)
            return ExitCode.CANCELLED
        show(self.console, here(self.settings), answer)
        return exit_code(answer)

    async def _follower(self, deployed: Deployed, run: FlowRun, progress: RunProgress) -> Follower:
        # The follower waits for an API that is away, and hears Ctrl-C meanwhile.
        client = self.configured.client
        api = RunsClient(client, retry_seconds=0)
        plan = displayed(deployed.plan, self.settings, run)
        look: Subject
        if plan:
            inherited = await self.api.inherited(await self.api.resume_chain(run))
            look = Look(api, plan, run.id, progress, inherited, self.settings.retry.pause_factor)
        else:
            look = ChildLook(api, deployed.flow, run.id, progress)

        async def conclude() -> RunSummary:
            return await answer_of(self.api, plan, deployed.flow, run.id, self.settings)

        poll = (self.settings.poll_seconds, self.settings.poll_max_seconds)
        return Follower(api, PrefectApi(client, seconds=0), look, run.id, conclude, progress, poll, here(self.settings))

    def _detached(self, run: FlowRun, page: str | None) -> None:
        self._say(f"Detached: run {run.name} goes on.")
        if page:
            self._say(f"Its page:  {page}")
        terminal = here(self.settings)
        self._say(f"Follow it: {terminal.command(f'flows report {run.id} --follow')}")
        self._say(f"Cancel it: {terminal.command(f'prefect flow-run cancel {run.id}')}")

    def _say(self, text: str) -> None:
        self.console.print(text, highlight=False, soft_wrap=True, markup=False)


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[Remote]:
    async with configured() as api:
        yield Remote(settings, api, RunsClient(api.client, retry_seconds=ANSWER_SECONDS), Console())
