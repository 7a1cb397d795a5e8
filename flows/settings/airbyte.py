"""Whether HubSpot is loaded through Airbyte, and how patiently; its credentials are a secret."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Airbyte(BaseSettings):
    """The Airbyte connection that loads HubSpot."""

    model_config = SettingsConfigDict(env_prefix="FLOWS_AIRBYTE_", env_ignore_empty=True, frozen=True, extra="ignore")

    enabled: bool = Field(
        default=False,
        description="Load HubSpot through Airbyte: `daily-pipeline` has the step `hubspot`, and dbt its models.",
    )
    hubspot_schema: str = Field(
        default="hubspot",
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description="Schema of the target that the Airbyte connection writes HubSpot's tables to.",
    )
    limit_minutes: int = Field(
        default=100, ge=1, le=24 * 60, description="Longest wait for a sync; after it the sync is cancelled."
    )
    poll_seconds: float = Field(default=2.0, ge=0.05, le=60, description="Shortest pause between two looks at a sync.")
    poll_max_seconds: float = Field(
        default=30.0, ge=0.05, le=300, description="Longest pause, reached while nothing changes."
    )
    plain_http: bool = Field(
        default=False,
        description="Allow an address without https that is not on this host: an Airbyte in the cluster's own network.",
    )

    def dbt_environment(self) -> dict[str, str]:
        """What the dbt project asks for with `env_var`; nothing where it is off: an image's own parse counts then."""
        return {"DBT_HUBSPOT_ENABLED": "true", "DBT_HUBSPOT_SCHEMA": self.hubspot_schema} if self.enabled else {}
