"""How the supervisor of a job pod guards its run (`FLOWS_POD_*`): its lease, and the deadline of its Job."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field
from pydantic_settings import BaseSettings, SettingsConfigDict


def _or_none(value: object) -> object:
    """The job template writes the deadline into text, where none is the word None."""
    return None if isinstance(value, str) and value.strip() in {"", "None"} else value


class PodSettings(BaseSettings):
    """One pod works on a run: it confirms so within each lease, and ends before Kubernetes ends it."""

    model_config = SettingsConfigDict(env_prefix="FLOWS_POD_", env_ignore_empty=True, frozen=True, extra="ignore")

    lease_seconds: float = Field(
        default=120,
        ge=3,
        le=3600,
        description="Time that a job pod works on without an answer of the API, and that its successor waits for it.",
    )
    patience_seconds: float = Field(
        default=600, ge=0, description="Time that a job pod without an answer of the API stays frozen before it ends."
    )
    deadline_seconds: Annotated[int | None, BeforeValidator(_or_none)] = Field(
        default=None, description="Seconds until Kubernetes ends the pod's Job; the job template sets it."
    )
