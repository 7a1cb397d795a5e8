"""How patient the dbt Cloud child is with dbt Cloud's API."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class DbtCloudSettings(BaseSettings):
    """Intervals of the reads of a run in dbt Cloud; whose job it is says the secret."""

    model_config = SettingsConfigDict(env_prefix="FLOWS_DBT_CLOUD_", env_ignore_empty=True, frozen=True, extra="ignore")

    poll_seconds: float = Field(
        default=5.0,
        ge=0.05,
        le=300,
        description="Shortest interval of reads of a run in dbt Cloud; six times that while nothing changes.",
    )
    patience_seconds: float = Field(
        default=300.0,
        ge=0,
        le=3600,
        description="For how long dbt Cloud may not answer before the child fails; its run there goes on.",
    )
    request_seconds: float = Field(
        default=30.0, gt=0, le=300, description="Time limit of one request to dbt Cloud's API."
    )
