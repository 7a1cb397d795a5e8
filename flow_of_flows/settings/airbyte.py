"""How long to wait for syncs of Airbyte; its credentials are a secret."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class AirbyteSettings(BaseSettings):
    """Syncs of Airbyte."""

    model_config = SettingsConfigDict(env_prefix="FLOWS_AIRBYTE_", env_ignore_empty=True, frozen=True, extra="ignore")

    enabled: bool = Field(
        default=False,
        description="Airbyte is used: steps that sync through it run, and `flows doctor` checks the connection.",
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
