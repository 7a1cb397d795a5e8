"""How long things may take that nobody works on."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class DeadlineSettings(BaseSettings):
    """What a pipeline waits for, and for how long; a step's own timeout is in its pipeline."""

    model_config = SettingsConfigDict(env_prefix="FLOWS_DEADLINE_", env_ignore_empty=True, frozen=True, extra="ignore")

    pending: float = Field(
        default=900,
        ge=1,
        le=86400,
        description="Seconds that a child may be Pending (image, room on the nodes) before it is cancelled.",
    )
