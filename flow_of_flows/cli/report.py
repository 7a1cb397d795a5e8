"""`flows report`: the answers of a run, from the API to the terminal or a pipe."""

from __future__ import annotations

from uuid import UUID

from rich.console import Console
from rich.markdown import Markdown

from flow_of_flows.cli import deployments
from flow_of_flows.cli.connection import connected
from flow_of_flows.dispatch.status import answer_of, displayed
from flow_of_flows.errors import ExitCode
from flow_of_flows.prefect_api import artifacts as publish
from flow_of_flows.prefect_api.launch import RunsClient
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
        api = RunsClient(found.client, patience=10)
        read = await api.read(run)
        deployed = await deployments.of_run(found, read.deployment_id, read.flow_id, settings)
        plan = displayed(deployed.plan, settings, read)
        show(Console(), here(settings), await answer_of(api, plan, deployed.flow, run, settings))
    return ExitCode.OK


def show(console: Console, terminal: Terminal, answer: RunSummary) -> None:
    """Print the answers: drawn on a terminal, as the Markdown they are elsewhere (a CI log, a file)."""
    text = answer.markdown(publish.links(answer.runs), terminal)
    if console.is_terminal:
        console.print(Markdown(text))
    else:
        console.file.write(text)
