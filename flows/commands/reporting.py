"""`flows report`: the answers of a pipeline run, from the API to the terminal or a pipe."""

from __future__ import annotations

from uuid import UUID

from rich.console import Console
from rich.markdown import Markdown

from flows import pipelines
from flows.commands.connecting import connected
from flows.dispatch.launch import Api
from flows.dispatch.observe import observe
from flows.dispatch.retry import Limits
from flows.errors import ExitCode
from flows.report import publish
from flows.report.answers import Answer
from flows.settings import Settings


async def report_run(run: UUID) -> int:
    """Print the answers of a run, also of one that still runs or whose parent died.

    Raises:
        ConfigurationError: there is no such run, or it is not a run of a pipeline.
    """
    settings = Settings.load()
    async with connected(settings) as client:
        api = Api(client, patience=10)
        read = await api.read(run)
        flow = await client.read_flow(read.flow_id)
        answer = await observe(api, pipelines.find(flow.name).configured(settings), read, Limits.of(settings))
        show(Console(), answer)
    return ExitCode.OK


def show(console: Console, answer: Answer) -> None:
    """Print the answers: drawn on a terminal, as the Markdown they are elsewhere (a CI log, a file)."""
    text = answer.markdown(publish.links(answer.runs))
    if console.is_terminal:
        console.print(Markdown(text))
    else:
        console.file.write(text)
