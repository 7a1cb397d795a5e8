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
from flow_of_flows.settings import Settings, TargetName, whole_environment
from flow_of_flows.warehouse import profiles, snowflake_target
from flow_of_flows.warehouse.profile_variables import FOLDER, MissingVariablesError, Supplied, supplied, without_value
from flow_of_flows.warehouse.profiles import Chosen
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
# What adapters call the place that a build writes to, among the fields that dbt itself prints.
PLACE = ("host", "account", "project", "catalog", "path", "database", "schema", "dataset")


@dataclass(frozen=True)
class Output:
    """The output of a profile that dbt connects with, as dbt renders it.

    Attributes:
        chosen: the output as its profile has it.
        schema: where dbt builds.
        place: its server, database and schema as one text, to tell it from other places; no secret.
        supplied: what the platform gives dbt for it.
        file: the DuckDB file that dbt builds in; None on other adapters and in memory.
        attached: the other DuckDB files that it reads.
        known: the warehouse of the settings, where this is the same one.
    """

    chosen: Chosen
    schema: str
    place: str
    supplied: Supplied
    file: Path | None = None
    attached: tuple[Path, ...] = ()
    known: Target | None = None

    @property
    def name(self) -> str:
        """Its own name in the profile."""
        return self.chosen.output

    @property
    def adapter(self) -> str:
        """Kind of warehouse by dbt's name, such as postgres."""
        return self.chosen.adapter

    @property
    def title(self) -> str:
        """Which output of which profile it is, for people."""
        return f"output {self.name} of profile {self.chosen.profile.name} ({self.adapter})"

    def dbt_environment(self) -> dict[str, str]:
        """Return what profiles.yml may ask for with `env_var`."""
        return {**self.supplied.values, "DBT_TARGET": self.name}

    def describe(self) -> str:
        """Return where this is, for people; no secret."""
        return self.known.describe() if self.known else self.title

    def profiles_folder(self, work: Path) -> Path:
        """Return the folder of the profiles.yml; a generated one is written first, without any value of a variable.

        Args:
            work: folder of this run alone.
        """
        profile = self.chosen.profile
        if profile.file is not None:
            return profile.file.parent
        import yaml

        folder = work / "profiles"
        folder.mkdir(exist_ok=True)
        text = yaml.safe_dump({profile.name: dict(profile.content)}, sort_keys=False)
        (folder / profiles.PROFILES_FILE).write_text(text, encoding="utf-8")
        return folder


# What dbt connects with.
DbtTarget = Output


def full_name(target: DbtTarget) -> str:
    """Return what tells a target from every other: its output, where it is, and the schema that dbt builds.

    The warehouse of the settings has the text that earlier versions published.
    """
    return f"{target.name} {target.describe()} {target.schema if target.known else target.place}"


def from_settings(settings: Settings) -> Target:
    """Return the warehouse that the settings name, for the children that load and read.

    Raises:
        ConfigurationError: the secret of Snowflake is missing or cannot be used, or the target is not an output of the
            dbt project's profile, or has another adapter.
        PlatformError: the place where the secret is kept does not answer.
    """
    if settings.warehouse is not None:
        return _of_kind(settings, settings.warehouse)
    chosen = profiles.choose(settings, settings.dbt_project, _base(settings, {}))
    if chosen.adapter not in set(TargetName):
        raise ConfigurationError(
            f"Ingest children and dashboards cannot use the warehouse of output {chosen.output}: {chosen.adapter}",
            location=chosen.profile.where,
            hint="choose an output of duckdb, postgres or snowflake with DBT_TARGET",
        )
    return _of_kind(settings, TargetName(chosen.adapter))


def for_dbt(settings: Settings, project: Path, variables: Mapping[str, str] = MappingProxyType({})) -> DbtTarget:
    """Return what dbt connects with: an output of the project's profile, as dbt itself renders it.

    Args:
        settings: with the name of an output, or none for the profile's own target.
        project: folder of the dbt project.
        variables: more of what the profile may ask for with `env_var`.

    Raises:
        ConfigurationError: there is no such output, its adapter is not installed, variables have no value, or the
            secret of Snowflake cannot be used.
        PlatformError: the place where the secret is kept does not answer.
    """
    return _read(settings, project, variables, secret=True)


def for_parsing(settings: Settings, project: Path, variables: Mapping[str, str] = MappingProxyType({})) -> DbtTarget:
    """Return what dbt needs to parse a project: as `for_dbt`, without a look into the secret of Snowflake.

    A parse opens no connection. What the profile asks for comes from the environment.

    Args:
        settings: with the name of an output, or none for the profile's own target.
        project: folder of the dbt project.
        variables: more of what the profile may ask for with `env_var`.

    Raises:
        ConfigurationError: there is no such output, its adapter is not installed, or variables have no value.
    """
    return _read(settings, project, variables, secret=False)


def _base(settings: Settings, variables: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that the names of a profile and its target may ask for."""
    return {FOLDER: str(settings.warehouse_folder), **variables}


def _read(settings: Settings, project: Path, variables: Mapping[str, str], *, secret: bool) -> Output:
    """Return the output that dbt would use, with dbt's own reading of it."""
    chosen = profiles.choose(settings, project, _base(settings, variables))
    profiles.must_be_installed(chosen)
    given = supplied(chosen.asked, chosen.adapter, settings, variables, secret=secret)
    if missing := without_value(chosen.asked, {**whole_environment(), **given.values}):
        raise MissingVariablesError(missing, chosen.where)
    connection = profiles.credentials(chosen, given.values)
    output = Output(chosen, str(connection.schema), _place(connection), given)
    if chosen.adapter == TargetName.DUCKDB:
        output = replace(output, file=_file(connection.path, project), attached=_attached(connection, project))
    return replace(output, known=_known(settings, output, connection))


def _place(connection: Any) -> str:
    """Return the fields of a connection that say where it writes, of those that dbt prints."""
    fields = dict(connection.connection_info(with_aliases=False))
    fields |= {"database": connection.database, "schema": connection.schema}
    # Options of a path may have a token.
    return " ".join(str(fields[key]).partition("?")[0] for key in PLACE if fields.get(key) is not None)


def _attached(connection: Any, project: Path) -> tuple[Path, ...]:
    """Return the attached paths that are files, not addresses such as `s3://` or `postgres:`."""
    paths = (_file(str(getattr(each, "path", "")), project) for each in connection.attach or ())
    return tuple(path for path in paths if path is not None)


def _file(path: str, project: Path) -> Path | None:
    """Return a DuckDB file; None for memory and an address. A relative path begins in the project's folder."""
    return project / path if path and ":" not in path else None


def _known(settings: Settings, output: Output, connection: Any) -> Target | None:
    """Return the warehouse of the settings, if dbt's connection is one to it."""
    match output.adapter:
        case TargetName.DUCKDB:
            own = DuckDBTarget(settings.warehouse_folder, output.schema, settings.threads, attached=output.attached)
            return own if output.file is not None and _same(output.file, own.file) else None
        case TargetName.POSTGRES:
            pg = settings.postgres
            fields = (connection.host, connection.port, connection.user, connection.database, connection.password)
            if fields != (pg.host, pg.port, pg.user, pg.database, pg.password.get_secret_value()):
                return None
            return replace(_postgres(settings), schema=output.schema)
        case _ if (snowflake := output.supplied.snowflake) is not None:
            secret = snowflake.secret
            is_same = (connection.account, connection.database) == (secret.account, secret.database)
            return replace(snowflake, schema=output.schema) if is_same else None
        case _:
            return None


def _same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve()


def _of_kind(settings: Settings, kind: TargetName) -> Target:
    match kind:
        case TargetName.DUCKDB:
            return DuckDBTarget(settings.warehouse_folder, settings.target_schema, settings.threads)
        case TargetName.POSTGRES:
            return _postgres(settings)
        case TargetName.SNOWFLAKE:
            return snowflake_target.from_settings(settings)


def _postgres(settings: Settings) -> PostgresTarget:
    pg = settings.postgres
    return PostgresTarget(pg.host, pg.port, pg.user, pg.password, pg.database, settings.target_schema, settings.threads)


def place(settings: Settings) -> str:
    """Return where the warehouse is, for people, without a look into its secret."""
    if settings.warehouse is None:
        return f"output {settings.target} of the dbt project's profile"
    known = profiles.outputs(settings.dbt_project, settings.dbt_profiles_dir) or TargetName
    if settings.target is None and settings.warehouse not in known:
        folder = profiles.folder(settings.dbt_project, settings.dbt_profiles_dir)
        return f"the target of the dbt profile in {folder}/{profiles.PROFILES_FILE}"
    if settings.warehouse is TargetName.SNOWFLAKE:
        return f"Snowflake, as the secret {settings.secrets.snowflake} says"
    target = from_settings(settings)
    if isinstance(target, DuckDBTarget):
        return f"{target.folder} (DuckDB: {target.file.name}, and a file for each loaded table)"
    return target.describe()
