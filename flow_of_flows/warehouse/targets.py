"""A warehouse as a frozen value: settings in, what dbt, dlt and readers need to connect out.

Pure, but that `from_settings` reads the secret of Snowflake; a child calls it once per run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import SecretStr

from flow_of_flows.errors import ConfigurationError
from flow_of_flows.settings import Settings, TargetName
from flow_of_flows.warehouse import profiles, snowflake_target
from flow_of_flows.warehouse.profiles import Output
from flow_of_flows.warehouse.snowflake_target import SnowflakeTarget


@dataclass(frozen=True)
class DuckDBTarget:
    """A folder of DuckDB files: `warehouse.duckdb` for dbt, `<table>.duckdb` for each table that is loaded.

    DuckDB allows one writer per file, so each load has its own, and dbt attaches them read-only.

    Attributes:
        attached: the files that the dbt profile attaches.
    """

    folder: Path
    schema: str
    threads: int
    name: TargetName = TargetName.DUCKDB
    attached: tuple[Path, ...] = ()

    @property
    def file(self) -> Path:
        """The file dbt builds in."""
        return self.folder / "warehouse.duckdb"

    def raw_file(self, table: str) -> Path:
        """Return the file that the load of a table writes."""
        return self.folder / f"{table}.duckdb"

    def dbt_environment(self) -> dict[str, str]:
        """Return what profiles.yml asks for with `env_var`."""
        return {
            "DBT_TARGET": self.name,
            "DBT_SCHEMA": self.schema,
            "DBT_THREADS": str(self.threads),
            "DBT_DUCKDB_FOLDER": str(self.folder),
        }

    def describe(self) -> str:
        """Return where this is, for people; no secret."""
        return str(self.file)


@dataclass(frozen=True)
class PostgresTarget:
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
        """Return what profiles.yml asks for with `env_var`; dbt scrubs `DBT_ENV_SECRET_*` from its logs."""
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
        """Return where this is, for people; no secret."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.user}@{host}:{self.port}/{self.database}"


Target = DuckDBTarget | PostgresTarget | SnowflakeTarget
# What dbt connects with: a warehouse of these settings, or an output whose profile says all.
DbtTarget = Target | Output


def full_name(target: DbtTarget) -> str:
    """Return what tells a target from every other: its kind or output, where it is, and the schema that dbt builds."""
    return f"{target.name} {target.describe()} {target.schema}"


def from_settings(settings: Settings) -> Target:
    """Return the warehouse that the settings name, for the children that load and read.

    Raises:
        ConfigurationError: the secret of Snowflake is missing or cannot be used, or the target is not an output of the
            dbt project's profile, or has another adapter.
        PlatformError: the place where the secret is kept does not answer.
    """
    if settings.warehouse is not None:
        return _of_kind(settings, settings.warehouse)
    chosen = profiles.choose(settings.dbt_project, settings.target, _common(settings))
    if chosen.adapter not in set(TargetName):
        raise ConfigurationError(
            f"Ingest children and dashboards cannot use the warehouse of output {chosen.output}: {chosen.adapter}",
            location=str(chosen.file),
            hint="choose an output of duckdb, postgres or snowflake with DBT_TARGET",
        )
    return _of_kind(settings, TargetName(chosen.adapter))


def for_dbt(settings: Settings, project: Path, variables: Mapping[str, str] = MappingProxyType({})) -> DbtTarget:
    """Return what dbt connects with.

    An output that has the name of its adapter, as in the profile of this repository, gets its connection from the
    settings. Every other is used as the profile has it.

    Args:
        settings: with the name of an output, or none for the profile's own target.
        project: folder of the dbt project.
        variables: more of what the profile may ask for with `env_var`.

    Raises:
        ConfigurationError: there is no such output, or the secret of Snowflake cannot be used.
        PlatformError: the place where the secret is kept does not answer.
    """
    chosen = profiles.choose(project, settings.target, {**_common(settings), **variables})
    if chosen.output == chosen.adapter and chosen.output in set(TargetName):
        target = _of_kind(settings, TargetName(chosen.output))
        return replace(target, attached=chosen.attached) if isinstance(target, DuckDBTarget) else target
    given = _common(settings)
    if chosen.adapter == TargetName.POSTGRES:
        given |= _of_kind(settings, TargetName.POSTGRES).dbt_environment()
    place = chosen.place or settings.target_schema
    return Output(chosen.file, chosen.profile, chosen.output, chosen.adapter, place, {**given, **variables})


def for_parsing(settings: Settings, project: Path) -> DbtTarget:
    """Return what dbt needs to parse a project: as `for_dbt`, without a look into the secret of Snowflake.

    A parse opens no connection. What the profile asks for comes from the environment.

    Args:
        settings: with the name of an output, or none for the profile's own target.
        project: folder of the dbt project.

    Raises:
        ConfigurationError: there is no such output.
    """
    chosen = profiles.choose(project, settings.target, _common(settings))
    if chosen.adapter != TargetName.SNOWFLAKE:
        return for_dbt(settings, project)
    place = chosen.place or settings.target_schema
    return Output(chosen.file, chosen.profile, chosen.output, chosen.adapter, place, _common(settings))


def _common(settings: Settings) -> dict[str, str]:
    """Return the variables that a profile of any adapter may ask for."""
    folder = str(settings.warehouse_folder)
    return {"DBT_SCHEMA": settings.target_schema, "DBT_THREADS": str(settings.threads), "DBT_DUCKDB_FOLDER": folder}


def _of_kind(settings: Settings, kind: TargetName) -> Target:
    match kind:
        case TargetName.DUCKDB:
            return DuckDBTarget(settings.warehouse_folder, settings.target_schema, settings.threads)
        case TargetName.POSTGRES:
            pg = settings.postgres
            return PostgresTarget(
                pg.host, pg.port, pg.user, pg.password, pg.database, settings.target_schema, settings.threads
            )
        case TargetName.SNOWFLAKE:
            return snowflake_target.from_settings(settings)


def place(settings: Settings) -> str:
    """Return where the warehouse is, for people, without a look into its secret."""
    if settings.warehouse is None:
        return f"output {settings.target} of the dbt project's profile"
    if settings.target is None and settings.warehouse not in (profiles.outputs(settings.dbt_project) or TargetName):
        return f"the target of the dbt profile in {profiles.folder(settings.dbt_project) / profiles.PROFILES_FILE}"
    if settings.warehouse is TargetName.SNOWFLAKE:
        return f"Snowflake, as the secret {settings.secrets.snowflake} says"
    target = from_settings(settings)
    if isinstance(target, DuckDBTarget):
        return f"{target.folder} (DuckDB: {target.file.name}, and a file for each loaded table)"
    return target.describe()
