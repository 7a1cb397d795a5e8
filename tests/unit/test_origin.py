"""Where work comes from: Prefect's context of a run in, the query tag of its statements out."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from typing import Any
from uuid import UUID

from prefect import flow
from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext

from flow_of_flows import query_tag
from flow_of_flows.runs.resume import key

PIPELINE_RUN, RUN = UUID(int=1), UUID(int=2)


@flow(name="dbt-build")
def child() -> None:
    """Do nothing."""


@flow(name="daily-pipeline")
def parent() -> None:
    """Do nothing."""


def run(**values: object) -> FlowRun:
    """A flow run of a child."""
    return FlowRun.model_validate({"id": RUN, "flow_id": UUID(int=3), **values})


def within(of: object, flow_run: FlowRun) -> AbstractContextManager[object]:
    """Prefect's context of a run, with the parts that are read."""
    context: Any = FlowRunContext
    made: AbstractContextManager[object] = context.model_construct(flow=of, flow_run=flow_run)
    return made


def test_a_step_of_a_pipeline_names_it() -> None:
    """Pipeline and pipeline run, child and child run, on one line."""
    started = run(idempotency_key=key(PIPELINE_RUN, "dbt-build", 1), tags=["pipeline:daily-pipeline", "step:dbt-build"])
    with within(child, started):
        tag = query_tag.of_run().as_json()
    assert json.loads(tag) == {
        "app": "flows",
        "flow": "dbt-build",
        "run": str(RUN),
        "pipeline": "daily-pipeline",
        "pipeline_run": str(PIPELINE_RUN),
    }
    assert "\n" not in tag


def test_a_run_on_its_own_has_no_pipeline() -> None:
    """As from the Prefect UI; an idempotency key of another form does not count."""
    with within(child, run(idempotency_key="schedule 06:00", tags=["mine"])):
        assert json.loads(query_tag.of_run().as_json()) == {"app": "flows", "flow": "dbt-build", "run": str(RUN)}


def test_without_a_run_nothing_is_known() -> None:
    """`flows doctor`, and a child called as a function."""
    assert query_tag.of_run().as_json() == '{"app": "flows"}'


def test_a_pipeline_tags_the_children_it_starts() -> None:
    """What `of_run` reads in the child."""
    with within(parent, run()):
        assert query_tag.tags("dbt-build") == ["pipeline:daily-pipeline", "step:dbt-build"]
    assert query_tag.tags("dbt-build") == ["step:dbt-build"]
