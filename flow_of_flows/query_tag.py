"""Where work comes from: the current flow run in, its pipeline and run out; for a warehouse's query tag."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from prefect.context import FlowRunContext

from flow_of_flows.runs.resume import parse_key

PIPELINE, STEP = "pipeline:", "step:"


@dataclass(frozen=True)
class QueryTag:
    """Names and ids; what is not known is None.

    Attributes:
        flow: the child, such as dbt-build.
        run: id of the child run.
        pipeline: the parent, such as daily-pipeline.
        pipeline_run: id of the pipeline run.
    """

    flow: str | None = None
    run: str | None = None
    pipeline: str | None = None
    pipeline_run: str | None = None

    def as_json(self) -> str:
        """Return the known fields as one line of JSON."""
        return json.dumps({"app": "flows", **{name: value for name, value in asdict(self).items() if value}})


def of_run() -> QueryTag:
    """Return the origin of the current flow run; outside of a run all its fields are None."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None or context.flow is None:
        return QueryTag()
    run = context.flow_run
    key = parse_key(run.idempotency_key)
    pipelines = [tag.removeprefix(PIPELINE) for tag in run.tags if tag.startswith(PIPELINE)]
    return QueryTag(
        flow=context.flow.name,
        run=str(run.id),
        pipeline=pipelines[0] if pipelines else None,
        pipeline_run=str(key[0]) if key else None,
    )


def tags(step: str) -> list[str]:
    """Return the tags of a child run that the current pipeline run starts."""
    context = FlowRunContext.get()
    pipeline = [f"{PIPELINE}{context.flow.name}"] if context is not None and context.flow is not None else []
    return [*pipeline, f"{STEP}{step}"]
