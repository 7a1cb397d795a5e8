"""A warehouse as a frozen value: settings in, what dbt, dlt and readers need to connect out.

Pure, but that `from_settings` reads the secret of Snowflake; a child calls it once per run.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from flows.settings import Settings, TargetName
from flows.warehouse import snowflake_target
from flows.warehouse.snowflake_target import Snowflake

# One DuckDB file per ingest child, since DuckDB allows one writer per file; dbt attaches them read-only.
RAW_DATABASES = ("raw_customers", "raw_orders", "raw_payments", "exchange_rates", "currencies", "hubspot")


@dataclass(frozen=True)
class DuckDB:
    """A folder of DuckDB files: `warehouse.duckdb` for dbt, `<source>.duckdb` for each ingest child."""

    folder: Path
    schema: str
    threads: int
    name: TargetName = TargetName.DUCKDB

    @property
    def file(self) -> Path:
        """The file dbt builds in."""
        return self.folder / "warehouse.duckdb"

    def raw_file(self, source: str) -> Path:
        """The file one ingest child writes."""
        return self.folder / f"{source}.duckdb"

    def dbt_environment(self) -> dict[str, str]:
        """What profiles.yml asks for with `env_var`."""
        return {
            "DBT_TARGET": self.name,
            "DBT_SCHEMA": self.schema,
            "DBT_THREADS": str(self.threads),
            "DBT_DUCKDB_FOLDER": str(self.folder),
        }

    def describe(self) -> str:
        """Where this is, for people; no secret."""
        return str(self.file)


@dataclass(frozen=True)
class Postgres:
    """A Postgres database; raw tables and models in schemas of it."""

    host: str
    port: int
    user: str
    password: SecretStr
    database: str
    schema: str
    threads: int
    name: TargetName = TargetName.POSTGRES

    def dbt_environment(self) -> dict[str, str]:
        """What profiles.yml asks for with `env_var`; dbt scrubs `DBT_ENV_SECRET_*` from its logs."""
        return {
            "DBT_TARGET": self.name,
            "DBT_SCHEMA": self.schema,
            "DBT_THREADS": str(self.threads),
            "PGHOST": self.host,
            "PGPORT": str(self.port),
            "PGUSER": self.user,
            "PGDATABASE": self.database,
            "DBT_ENV_SECRET_PGPASSWORD": self.password.get_secret_value(),
        }

    def connection(self, *, timeout: int, application: str | None = None) -> dict[str, Any]:
        """Return the arguments of `psycopg2.connect`, each as its own value.

        Args:
            timeout: seconds that a connection may take.
            application: name of the sessions in the server; None leaves it to PGAPPNAME.
        """
        given: dict[str, Any] = {
            # libpq's own forms: a name, an address, the folder of a Unix socket, or several with commas.
            "host": self.host,
            "port": self.port,
            "user": self.user,
            "password": self.password.get_secret_value(),
            "dbname": self.database,
            "connect_timeout": timeout,
        }
        return given | ({"application_name": application} if application else {})

    def describe(self) -> str:
        """Where this is, for people; no secret."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.user}@{host}:{self.port}/{self.database}"


Target = DuckDB | Postgres | Snowflake


def from_settings(settings: Settings) -> Target:
    """The warehouse that the settings name.

    Raises:
        ConfigurationError: the secret of Snowflake is missing or cannot be used.
        PlatformError: the place where it is kept does not answer.
    """
    match settings.target:
        case TargetName.DUCKDB:
            return DuckDB(settings.warehouse_folder, settings.target_schema, settings.threads)
        case TargetName.POSTGRES:
            pg = settings.postgres
            return Postgres(
                pg.host, pg.port, pg.user, pg.password, pg.database, settings.target_schema, settings.threads
            )
        case TargetName.SNOWFLAKE:
            return snowflake_target.from_settings(settings)


def place(settings: Settings) -> str:
    """Where the warehouse is, for people, without a look into its secret."""
    if settings.target is TargetName.SNOWFLAKE:
        return f"Snowflake, as the secret {settings.secrets.snowflake} says"
    return from_settings(settings).describe()
