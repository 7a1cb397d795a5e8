"""The connection of the postgres target, from the variables that libpq reads, too."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class PostgresSettings(BaseSettings):
    """libpq's own variables."""

    model_config = SettingsConfigDict(env_prefix="PG", env_ignore_empty=True, frozen=True, extra="ignore")

    host: str = Field(
        default="localhost", description="Host of the Postgres server: name, address, or the folder of its Unix socket."
    )
    port: Annotated[int, Field(ge=1, le=65535)] = Field(default=5432, description="Port of the Postgres server.")
    user: str = Field(default="postgres", description="Role that loads and builds.")
    password: SecretStr = Field(default=SecretStr(""), description="Password of the role.")
    database: str = Field(default="postgres", description="Database to load and build in.")
