"""The git repository that dbt's project comes from, where it is not the one that is baked into the image."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class RepositorySettings(BaseSettings):
    """Defaults of one environment; parameters of a run go before them. The token is a secret, see `Secrets`."""

    model_config = SettingsConfigDict(
        env_prefix="FLOWS_REPOSITORY_", env_ignore_empty=True, frozen=True, extra="ignore"
    )

    url: str | None = Field(
        default=None,
        repr=False,
        description="https address of a git repository with the dbt project; unset: the project of the image.",
    )
    ref: str | None = Field(default=None, description="Branch, tag or commit of it; unset: its default branch.")
    subfolder: str | None = Field(default=None, description="Folder of the dbt project in it; unset: its root.")
    ca_file: Path | None = Field(
        default=None, description="Certificates to trust for it, as PEM; unset: SSL_CERT_FILE, then the system's."
    )
    timeout: float = Field(default=300, ge=1, le=3600, description="Seconds that one git command may take.")
    stall: int = Field(
        default=30, ge=1, le=600, description="Seconds that a transfer may stay below 1,000 bytes a second."
    )
