"""What the Prefect API answers as values of our own. Pure; called by `flow_of_flows.prefect_api.launch`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from prefect.client.schemas.objects import Artifact, FlowRun, StateType
from pydantic import JsonValue

from flow_of_flows.errors import PlatformError
from flow_of_flows.runs.outcome import ChildRun


def child_run(run: FlowRun, *, step: str, attempt: int) -> ChildRun:
    """A flow run as the child of a step.

    Raises:
        PlatformError: the API left out when it was created.
    """
    state = run.state
    if run.created is None:
        raise PlatformError(f"The Prefect API answered a run without its time of creation: {run.id}")
    return ChildRun(
        id=run.id,
        name=run.name,
        step=step,
        attempt=attempt,
        created=run.created,
        state=state.type if state else StateType.PENDING,
        state_name=(state.name or "") if state else "",
        message=(state.message or "") if state else "",
        started=run.start_time,
        ended=run.end_time,
        since=state.timestamp if state else None,
        run_count=run.run_count,
        has_job=_has_job(run.infrastructure_pid),
        job_variables=run.job_variables or {},
    )


def _has_job(infrastructure: str | None) -> bool:
    """Whether it names a Job (`namespace:name`), not a process (`host:number`)."""
    _, colon, name = (infrastructure or "").rpartition(":")
    return bool(colon) and not name.isdigit()


def created(artifact: Artifact) -> datetime:
    """When an artifact was made, to sort by."""
    return artifact.created or datetime.min.replace(tzinfo=UTC)


def parsed(data: JsonValue) -> JsonValue:
    """Artifact data as JSON: the API gives a JSON text back as text or parsed, by its type of database."""
    return json.loads(data) if isinstance(data, str) else data


def defaults(base_job_template: Mapping[str, Any]) -> dict[str, JsonValue]:
    """The defaults of a work pool's job variables."""
    properties = base_job_template.get("variables", {}).get("properties", {})
    return {name: told["default"] for name, told in properties.items() if "default" in told}
