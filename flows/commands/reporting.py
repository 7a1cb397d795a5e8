"""`flows report`: the answers of a run, from the API to the terminal or a pipe."""

from __future__ import annotations

from uuid import UUID

from rich.console import Console
from rich.markdown import Markdown

from flows.commands import deployments
from flows.commands.connecting import connected
from flows.dispatch.launch import Api
from flows.dispatch.observe import answer_of, displayed
from flows.dispatch.outcome import Verdict
from flows.errors import ExitCode
from flows.report import publish
from flows.report.answers import Answer
from flows.report.terminal import Terminal, here
from flows.settings import Settings

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
        api = Api(found.client, patience=10)
        read = await api.read(run)
        deployed = await deployments.of_run(found, read.deployment_id, read.flow_id)
        plan = displayed(deployed.plan, settings, read)
        show(Console(), here(settings), await answer_of(api, plan, deployed.flow, run, settings))
    return ExitCode.OK


def show(console: Console, terminal: Terminal, answer: Answer) -> None:
    """Print the answers: drawn on a terminal, as the Markdown they are elsewhere (a CI log, a file)."""
    text = answer.markdown(publish.links(answer.runs), terminal)
    if console.is_terminal:
        console.print(Markdown(text))
    else:
        console.file.write(text)
