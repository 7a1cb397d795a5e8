"""How patient the sweeper is before it takes a run for lost."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class SweepSettings(BaseSettings):
    """Seconds before the sweeper acts, and which Jobs are its own."""

    model_config = SettingsConfigDict(env_prefix="FLOWS_SWEEP_", env_ignore_empty=True, frozen=True, extra="ignore")

    never_started_seconds: float = Field(
        default=120.0,
        ge=10,
        le=86400,
        description="How long a run may be Pending without a Job before it starts again.",
    )
    gone_seconds: float = Field(
        default=20.0,
        ge=0,
        le=300,
        description="How long a run may be Running without a pod before it is lost: time between a sweep's two looks.",
    )
    cancelling_seconds: float = Field(
        default=60.0, ge=10, le=86400, description="How long a run may be Cancelling before the sweeper ends it."
    )
    leftover_seconds: float = Field(
        default=120.0, ge=10, le=86400, description="How long a Job may go on after its run is over."
    )
    crashed_parent_seconds: float = Field(
        default=900.0,
        ge=60,
        le=86400,
        description="How long a pipeline run may be Crashed, not revived, before its children are cancelled.",
    )
    late_seconds: float = Field(
        default=600.0, ge=60, le=86400, description="How late a run may be before the sweeper tells it."
    )
    namespace: str | None = Field(
        default=None, description="Namespace of the Jobs, outside a pod; unset: only a pod's own is looked at."
    )
    release: str | None = Field(
        default=None,
        description="Helm release whose Jobs may be deleted when the API does not know their run; the chart sets it.",
    )
