"""What changes about a child that is tried again because its pod was lost."""

from __future__ import annotations

from pydantic import Field, JsonValue
from pydantic_settings import BaseSettings, SettingsConfigDict


class RetrySettings(BaseSettings):
    """How far a retry may go; how often is in `flow_of_flows.runs.retry_policy`."""

    model_config = SettingsConfigDict(env_prefix="FLOWS_RETRY_", env_ignore_empty=True, frozen=True, extra="ignore")

    memory_max: str = Field(
        default="16Gi",
        pattern=r"^[1-9][0-9]*(Mi|Gi)$",
        description="What the memory of a child that ran out of it is doubled up to.",
    )
    nodes: dict[str, JsonValue] = Field(
        default={},
        description="Job variables, as JSON, of a child whose node was lost or took it away: another node pool, say.",
    )
