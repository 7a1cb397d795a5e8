"""How the snowflake target is reached, beside its secret: another address than the account's, a time limit."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class SnowflakeSettings(BaseSettings):
    """An address that stands in for the account's own, and a time limit. Credentials come from the secret."""

    model_config = SettingsConfigDict(env_prefix="FLOWS_SNOWFLAKE_", env_ignore_empty=True, frozen=True, extra="ignore")

    host: str | None = Field(
        default=None, description="Host of Snowflake, for a private link or a stand-in; unset: the account's own."
    )
    port: Annotated[int, Field(ge=1, le=65535)] = Field(default=443, description="Port of that host.")
    protocol: Literal["https", "http"] = Field(
        default="https", description="https; http only for a stand-in on the same machine."
    )
    login_seconds: Annotated[int, Field(ge=1, le=300)] = Field(
        default=20, description="How long to try to log in to Snowflake."
    )
