"""The settings that are one of a few words."""

from enum import StrEnum


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
    """Which runs that end well are told of."""

    ALWAYS = "always"
    ON_CHANGE = "on-change"
    ON_FAILURE = "on-failure"
