"""Settings of operations: environments, deadlines, pods, retries, the sweeper, and whether an API is configured."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, JsonValue
from pydantic_settings import SettingsConfigDict

from flow_of_flows.settings.variables import EnvironmentSettings

API_URL = "PREFECT_API_URL"
# Files of the working directory that Prefect reads settings from, each with the text that says so.
FILES = {Path(".env"): "PREFECT_", Path("prefect.toml"): "", Path("pyproject.toml"): "[tool.prefect"}


class TargetName(StrEnum):
    """Which warehouse dbt and ingest write to."""

    DUCKDB = "duckdb"
    POSTGRES = "postgres"
    SNOWFLAKE = "snowflake"


class Environment(StrEnum):
    """What this installation is for."""

    DEVELOPMENT = "development"
    PRODUCTION = "production"


class Finished(StrEnum):
    """Which runs that end well are notified of."""

    ALWAYS = "always"
    ON_CHANGE = "on-change"
    ON_FAILURE = "on-failure"


class DeadlineSettings(EnvironmentSettings):
    """What a pipeline waits for, and for how long; a step's own timeout is in its pipeline."""

    model_config = SettingsConfigDict(env_prefix="FLOWS_DEADLINE_")

    pending: float = Field(
        default=900,
        ge=1,
        le=86400,
        description="Seconds that a child may be Pending (image, room on the nodes) before it is cancelled.",
    )


def _or_none(value: object) -> object:
    """Return None for the word None, which the job template writes if there is no deadline."""
    return None if isinstance(value, str) and value.strip() in {"", "None"} else value


class PodSettings(EnvironmentSettings):
    """One pod works on a run: it confirms so within each lease, and ends before Kubernetes ends it."""

    model_config = SettingsConfigDict(env_prefix="FLOWS_POD_")

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


class RetrySettings(EnvironmentSettings):
    """How far a retry may go, and how soon; how often is in `flow_of_flows.runs.causes`."""

    model_config = SettingsConfigDict(env_prefix="FLOWS_RETRY_")

    memory_max: str = Field(
        default="16Gi",
        pattern=r"^[1-9][0-9]*(Mi|Gi)$",
        description="Upper bound when a child that ran out of memory is retried with twice as much.",
    )
    nodes: dict[str, JsonValue] = Field(
        default={},
        description="Job variables (JSON) of a retry after the node was lost or evicted the pod, such as other nodes.",
    )
    pause_factor: float = Field(
        default=1.0,
        ge=0,
        le=10,
        allow_inf_nan=False,
        description="Factor of the pauses before a pipeline's retries; 0 retries at once, as tests do.",
    )


class SweepSettings(EnvironmentSettings):
    """Seconds before the sweeper acts, and which Jobs are its own."""

    model_config = SettingsConfigDict(env_prefix="FLOWS_SWEEP_")

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
        description="How long a pipeline run may stay Crashed before its children are cancelled.",
    )
    late_seconds: float = Field(
        default=600.0, ge=60, le=86400, description="How late a run may be before the sweeper reports it."
    )
    namespace: str | None = Field(
        default=None,
        description="Namespace of the Jobs, outside a pod; unset: only the pod's own is searched.",
    )
    release: str | None = Field(
        default=None,
        description="Helm release whose Jobs may be deleted when the API does not know their run; the chart sets it.",
    )


def is_configured() -> bool:
    """Return whether Prefect's settings name an API: `PREFECT_API_URL`, a settings file, or the active profile.

    Importing Prefect takes about a second, which the embedded server's start would wait for. So Prefect is imported
    only if it has settings of its own here. An empty `PREFECT_API_URL` overrides a profile: no API is configured.
    """
    if API_URL in os.environ:
        return bool(os.environ[API_URL])
    if not _has_settings():
        return False
    from prefect.settings import get_current_settings

    return bool(get_current_settings().api.url)


def _has_settings() -> bool:
    if os.environ.get("PREFECT_PROFILE") or _profiles().exists():
        return True
    return any(file.is_file() and text in file.read_text(errors="replace") for file, text in FILES.items())


def _profiles() -> Path:
    if named := os.environ.get("PREFECT_PROFILES_PATH"):
        return Path(named).expanduser()
    home = os.environ.get("PREFECT_HOME")
    return (Path(home).expanduser() if home else Path.home() / ".prefect") / "profiles.toml"
