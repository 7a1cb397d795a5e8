"""The step `dbt-build` of a pipeline: dbt Core or dbt Cloud, as FLOWS_TRANSFORM_<PIPELINE> says. Pure."""

from __future__ import annotations

from flows.dispatch.plan import Choice
from flows.settings import Settings
from flows.settings.transform import TransformChild

DEPLOYMENTS = {TransformChild.CORE: "dbt-build/dbt-build", TransformChild.CLOUD: "dbt-cloud/dbt-cloud"}


def dbt(pipeline: str) -> Choice:
    """The child that transforms in a pipeline of this name."""

    def made(settings: Settings) -> str:
        return DEPLOYMENTS[settings.transform.child(pipeline)]

    return Choice(tuple(DEPLOYMENTS.values()), made)
