"""The step of a pipeline that builds the dbt project: dbt Core in a pod, or a job in dbt Cloud."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from pydantic import JsonValue

from flow_of_flows.dispatch.pipeline import Choice, Step
from flow_of_flows.settings import Settings
from flow_of_flows.settings.systems import TransformChild

DEPLOYMENTS = {TransformChild.CORE: "dbt-build/dbt-build", TransformChild.CLOUD: "dbt-cloud/dbt-cloud"}


def dbt_step(
    pipeline: str,
    *,
    after: tuple[str, ...] | str = (),
    parameters: Mapping[str, JsonValue] | None = None,
    timeout: timedelta = timedelta(hours=2),
) -> Step:
    """Return the step `dbt-build`, whose child FLOWS_TRANSFORM_<PIPELINE> chooses: core or cloud.

    A retry of the step continues the attempt before. The pipeline's parameter `full_refresh` reaches the child, unless
    `parameters` set it.

    Args:
        pipeline: name of the pipeline that the step is for.
        after: names of the steps that must have completed first.
        parameters: parameters of the child, over those of its deployment.
        timeout: time from the creation of an attempt until it is cancelled.
    """

    def chosen(settings: Settings) -> str:
        return DEPLOYMENTS[settings.transform.child(pipeline)]

    return Step(
        "dbt-build",
        choice=Choice(tuple(DEPLOYMENTS.values()), chosen),
        after=after,
        parameters=parameters or {},
        timeout=timeout,
        takes_full_refresh="full_refresh" not in (parameters or {}),
        continues="retry_of",
    )
