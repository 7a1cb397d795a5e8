"""Which child transforms, by pipeline: dbt Core in a pod of our own, or a job in dbt Cloud."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class TransformChild(StrEnum):
    """Where dbt runs."""

    CORE = "core"
    CLOUD = "cloud"


class Transform(BaseSettings):
    """One setting for each pipeline with a step `dbt-build`; a pipeline's name with underscores is its field."""

    model_config = SettingsConfigDict(env_prefix="FLOWS_TRANSFORM_", env_ignore_empty=True, frozen=True, extra="ignore")

    daily_pipeline: TransformChild = Field(
        default=TransformChild.CORE, description="Where daily-pipeline runs dbt: core (in a pod) or cloud (dbt Cloud)."
    )
    weekly_full_refresh: TransformChild = Field(
        default=TransformChild.CORE, description="Where weekly-full-refresh runs dbt: core or cloud."
    )
    jaffle_shop: TransformChild = Field(
        default=TransformChild.CORE, description="Where jaffle-shop runs dbt: core or cloud."
    )

    @property
    def uses_cloud(self) -> bool:
        """Whether any pipeline transforms in dbt Cloud."""
        return any(getattr(self, name) is TransformChild.CLOUD for name in type(self).model_fields)

    def child(self, pipeline: str) -> TransformChild:
        """The child of a pipeline's step `dbt-build`."""
        return TransformChild(getattr(self, pipeline.replace("-", "_")))
