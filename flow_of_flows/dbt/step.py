"""The step of a pipeline that builds the dbt project: dbt Core in a pod, or a job in dbt Cloud."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from pydantic import JsonValue

from flow_of_flows.dispatch.pipeline import Choice, Step
from flow_of_flows.settings import Settings
from flow_of_flows.settings.systems import TransformChild

CORE, CLOUD = "dbt-build", "dbt-cloud"


def dbt_step(
    pipeline: str,
    *,
    name: str = CORE,
    deployment: str | None = None,
    cloud: str | None = None,
    after: tuple[str, ...] | str = (),
    parameters: Mapping[str, JsonValue] | None = None,
    timeout: timedelta = timedelta(hours=2),
) -> Step:
    """Return a step that builds a dbt project; FLOWS_TRANSFORM_<PIPELINE> chooses where: core or cloud.

    A pipeline with several dbt projects has a step for each, with a name of its own. Such a step runs in a pod whatever
    the setting is, unless `cloud` names its job in dbt Cloud.

    A retry of the step continues the attempt before. The pipeline's parameter `full_refresh` reaches the child, unless
    `parameters` set it.

    Args:
        pipeline: name of the pipeline that the step is for.
        name: name of the step within the pipeline.
        deployment: deployment of `dbt-build` in prefect.yaml that has the project; unset: that of the step's name.
        cloud: deployment of `dbt-cloud` in prefect.yaml; unset: `dbt-cloud`, for the step `dbt-build` alone.
        after: names of the steps that must have completed first.
        parameters: parameters of the child, over those of its deployment.
        timeout: time from the creation of an attempt until it is cancelled.
    """
    core = f"{CORE}/{deployment or name}"
    elsewhere = cloud or (CLOUD if name == CORE else None)
    children = {TransformChild.CORE: core, TransformChild.CLOUD: f"{CLOUD}/{elsewhere}"}

    def chosen(settings: Settings) -> str:
        return children[settings.transform.child(pipeline)]

    return Step(
        name,
        deployment=core,
        choice=Choice(tuple(children.values()), chosen) if elsewhere else None,
        after=after,
        parameters=parameters or {},
        timeout=timeout,
        takes_full_refresh="full_refresh" not in (parameters or {}),
        continues="retry_of",
    )
