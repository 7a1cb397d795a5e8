"""Artifacts of the current flow run: the child report, Markdown, tables and notes. Called inside a flow run only."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from prefect.artifacts import (
    Artifact,
    MarkdownArtifact,
    create_table_artifact,
)
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactUpdate
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterType
from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext
from prefect.states import Running
from prefect.utilities.urls import url_for
from pydantic import JsonValue

from flow_of_flows.child_report import ChildReport

logger = logging.getLogger(__name__)
CHILD_REPORT_TYPE = "flows-handback"
# Key of the table that is the result of a run.
RESULT_KEY = "result"
CHILD_REPORT_NOTE = "Report of this run for the pipeline above it"


def child_report(report: ChildReport) -> None:
    """Attach the child's report to its run; dispatch reads it from there."""
    Artifact(type=CHILD_REPORT_TYPE, data=report.model_dump(mode="json"), description=CHILD_REPORT_NOTE).create()


async def answer(text: str, report: ChildReport) -> None:
    """Publish the summary of a pipeline run on its page, and its report for a pipeline above it.

    Args:
        text: the summary as Markdown.
        report: the same as a child report.
    """
    await MarkdownArtifact(key="answers", markdown=text, description="What happened, why, what to do").acreate()
    await Artifact(type=CHILD_REPORT_TYPE, data=report.model_dump(mode="json"), description=CHILD_REPORT_NOTE).acreate()


def links(runs: Iterable[UUID]) -> dict[UUID, str]:
    """Return the address of each flow run in the Prefect UI; empty where no UI is known."""
    urls = {run: url_for("flow-run", obj_id=run) for run in runs}
    return {run: url for run, url in urls.items() if url}


def markdown(key: str, text: str, *, description: str | None = None) -> None:
    """Publish Markdown on the page of the current run.

    Args:
        key: of the artifact.
        text: the Markdown.
        description: a line above it.
    """
    # A plain `Artifact` quotes its data as JSON: the UI would show the quotes and `\\n` instead of lines.
    MarkdownArtifact(key=key, markdown=text, description=description).create()


def table(key: str, rows: list[dict[str, Any]], *, description: str | None = None) -> None:
    """Publish rows as a table.

    Args:
        key: of the artifact.
        rows: one mapping per row.
        description: a line above it.
    """
    create_table_artifact(key=key, table=rows, description=description)


def result(rows: list[dict[str, Any]], *, description: str) -> None:
    """Publish the rows that the current run is for; `flows run` and `flows report` print them.

    Args:
        rows: one mapping per row.
        description: a line above them.
    """
    table(RESULT_KEY, rows, description=description)


def in_run() -> bool:
    """Return whether this code runs inside a flow run, so that there is a page to publish on."""
    return FlowRunContext.get() is not None


def run_id() -> UUID | None:
    """Return the id of the current flow run; None outside of a run."""
    context = FlowRunContext.get()
    return context.flow_run.id if context is not None and context.flow_run is not None else None


def began() -> datetime | None:
    """Return when the current process of the run began, by the server's clock; None outside of a run."""
    run = current_run()
    return run.state.timestamp if run is not None and run.state is not None else None


def flow_name() -> str | None:
    """Return the name of the current run's flow; None outside of a run."""
    context = FlowRunContext.get()
    return context.flow.name if context is not None and context.flow is not None else None


def running(name: str, message: str) -> None:
    """Give the current run, which stays Running, another name and message of its state.

    Args:
        name: of the state.
        message: of the state.
    """
    if (run := run_id()) is not None:
        # Not forced: a run that is being cancelled stays so.
        get_client(sync_client=True).set_flow_run_state(run, Running(name=name, message=message))


def current_run() -> FlowRun | None:
    """Return the current flow run; None outside of a run."""
    context = FlowRunContext.get()
    return context.flow_run if context is not None else None


def note(kind: str, data: dict[str, Any]) -> None:
    """Keep something with the current run that a later try of it has to know; the UI does not show it.

    Args:
        kind: type of the artifact.
        data: what to keep, as JSON.
    """
    Artifact(type=kind, data=data, description="Kept for a later try of this run").create()


def notes(kind: str, run: UUID) -> list[dict[str, Any]]:
    """Return what a run, this one or another, has noted of one kind.

    Args:
        kind: type of the artifact.
        run: id of the run.
    """
    which = ArtifactFilter(
        flow_run_id=ArtifactFilterFlowRunId(any_=[run]),
        type=ArtifactFilterType(any_=[kind]),
    )
    found = get_client(sync_client=True).read_artifacts(artifact_filter=which)
    data = (parsed(entry.data) for entry in found)
    return [entry for entry in data if isinstance(entry, dict)]


def parsed(data: JsonValue) -> JsonValue:
    """Return the data of an artifact as JSON; the API returns JSON as text or parsed, by its type of database."""
    return json.loads(data) if isinstance(data, str) else data


def live_markdown(key: str, text: str, *, description: str | None = None) -> UUID:
    """Publish Markdown that will change; the id is for `update_markdown`.

    Args:
        key: of the artifact.
        text: the Markdown.
        description: a line above it.
    """
    artifact = MarkdownArtifact(key=key, markdown=text, description=description).create()
    return artifact.id  # type: ignore[union-attr]


def update_markdown(artifact_id: UUID, text: str) -> None:
    """Replace the text of Markdown published before.

    Args:
        artifact_id: what `live_markdown` returned.
        text: the new Markdown.
    """
    get_client(sync_client=True).update_artifact(artifact_id, ArtifactUpdate(data=text))
