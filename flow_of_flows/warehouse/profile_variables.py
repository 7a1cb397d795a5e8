"""The variables of a profile: which ones an output asks for, and where each of them gets its value.

A variable of the environment counts as dbt reads it. What is not there may come from FLOWS_DBT_SECRETS, from the
settings, or from the secret of Snowflake. A default of the profile that is not empty counts before one of the settings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from flow_of_flows.errors import ConfigurationError
from flow_of_flows.settings import Settings, TargetName, from_environment, whole_environment
from flow_of_flows.warehouse import snowflake_target
from flow_of_flows.warehouse.snowflake_target import SnowflakeTarget

FOLDER, SCHEMA, THREADS = "DBT_DUCKDB_FOLDER", "DBT_SCHEMA", "DBT_THREADS"
ACCOUNT = "DBT_SNOWFLAKE_ACCOUNT"
PASSWORD = "DBT_ENV_SECRET_PGPASSWORD"  # noqa: S105 - the name of a variable


class MissingVariablesError(ConfigurationError):
    """A profile asks for variables that have no value.

    Args:
        names: the variables.
        location: what asks for them.
    """

    def __init__(self, names: tuple[str, ...], location: str) -> None:
        self.names = names
        several = len(names) > 1
        listed = f"{', '.join(names[:-1])} and {names[-1]}" if several else names[0]
        verb, them = ("variables {} are", "them") if several else ("variable {} is", "it")
        super().__init__(
            f"The environment {verb.format(listed)} not set, and the profile has no default for {them}",
            location=f"{location}; looked in the environment, FLOWS_DBT_SECRETS and the platform's settings",
            hint=f"set {listed}, or give env_var a default as its second argument",
        )


class Recorder:
    """dbt's renderer of profiles, which remembers every variable that a text asks for; one without a value is empty.

    Attributes:
        asked: the variables, each with its default; None where a text asks for it without one.
    """

    def __init__(self) -> None:
        from dbt.config.renderer import ProfileRenderer

        self.asked: dict[str, str | None] = {}
        self._renderer = ProfileRenderer({})
        self._env_var = self._renderer.context["env_var"]
        self._renderer.context["env_var"] = self._record

    def _record(self, var: str, default: str | None = None) -> Any:
        from dbt.exceptions import EnvVarMissingError

        before = self.asked.get(var, default)
        self.asked[var] = None if default is None or before is None else str(default)
        try:
            return self._env_var(var, default)
        except EnvVarMissingError:
            return ""

    @property
    def missing(self) -> tuple[str, ...]:
        """The variables without a value and without a default."""
        return without_value(self.asked, whole_environment())

    def render(self, value: Any, where: str) -> str:
        """Return a value as dbt renders it.

        Args:
            value: a text, perhaps with Jinja.
            where: what has it, for the message.

        Raises:
            MissingVariablesError: it needs variables without a value.
        """
        text = str(self._renderer.render_value(value))
        if self.missing:
            raise MissingVariablesError(self.missing, where)
        return text

    def read(self, value: Any) -> None:
        """Remember what the texts in a value ask for."""
        from dbt_common.exceptions import DbtBaseException

        for text in _texts(value):
            try:
                self._renderer.render_value(text)
            except (DbtBaseException, TypeError, ValueError):
                continue  # a filter may refuse what is empty here; dbt itself renders it with every value


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    for each in inner:
        yield from _texts(each)


def without_value(asked: Mapping[str, str | None], given: Mapping[str, str]) -> tuple[str, ...]:
    """Return the variables that have neither a value nor a default.

    Args:
        asked: variables with their defaults.
        given: those that have a value.
    """
    return tuple(name for name, default in asked.items() if default is None and name not in given)


class ValueSource(StrEnum):
    """Where a variable gets its value."""

    ENVIRONMENT = "environment"
    SECRETS = "FLOWS_DBT_SECRETS"
    SETTINGS = "settings"
    DEFAULT = "default of the profile"


@dataclass(frozen=True)
class Supplied:
    """What the platform gives dbt for a profile.

    Attributes:
        values: variables that are added to dbt's environment.
        sources: where they come from: a `ValueSource`, or a secret by its name.
        snowflake: what the secret of Snowflake says, where the profile asks for it.
    """

    values: dict[str, str] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    snowflake: SnowflakeTarget | None = None

    def add(self, values: Mapping[str, str], source: str) -> None:
        """Add variables from one source, in the place of those from another one."""
        self.values.update(values)
        self.sources.update(dict.fromkeys(values, source))

    def forget(self, name: str) -> None:
        """Leave a variable as the environment has it."""
        self.values.pop(name, None)
        self.sources.pop(name, None)

    def origins(self, asked: Mapping[str, str | None]) -> dict[str, str | None]:
        """Return where each variable that a profile asks for comes from; None for one without a value.

        Args:
            asked: the variables, each with its default.
        """
        found = whole_environment()
        return {
            name: self.sources.get(name)
            or (ValueSource.ENVIRONMENT if name in found else None if default is None else ValueSource.DEFAULT)
            for name, default in asked.items()
        }


def supplied(
    asked: Mapping[str, str | None], adapter: str, settings: Settings, given: Mapping[str, str], *, secret: bool
) -> Supplied:
    """Return what the platform gives dbt for one output of a profile.

    Args:
        asked: the variables that the output asks for, each with its default.
        adapter: dbt's name of the kind of warehouse.
        settings: of the platform.
        given: further variables, from FLOWS_DBT_SECRETS.
        secret: whether the secret of Snowflake may be read.

    Raises:
        ConfigurationError: the secret of Snowflake is missing or cannot be used.
        PlatformError: the place where it is kept does not answer.
    """
    target = None
    if secret and adapter == TargetName.SNOWFLAKE and _asks_for_secret(asked, given):
        target = snowflake_target.from_settings(settings)
    found = Supplied(snowflake=target)
    found.add({FOLDER: str(settings.warehouse_folder)}, ValueSource.SETTINGS)
    found.add(_postgres(asked, settings), ValueSource.SETTINGS)
    if target is not None:
        found.add(_of_secret(target), target.place)
    for name, value, is_set in (
        (SCHEMA, settings.target_schema, "target_schema" in settings.model_fields_set),
        (THREADS, str(settings.threads), "threads" in settings.model_fields_set),
    ):
        if is_set:
            found.add({name: value}, ValueSource.SETTINGS)
        elif from_environment(name):
            found.forget(name)
        elif name in found.values:
            continue
        elif default := asked.get(name):
            found.add({name: default}, ValueSource.DEFAULT)
        else:
            found.add({name: value}, ValueSource.SETTINGS)
    found.add(given, ValueSource.SECRETS)
    return found


def _asks_for_secret(asked: Mapping[str, str | None], given: Mapping[str, str]) -> bool:
    """Return whether an output takes its connection from the secret of Snowflake.

    It does if it asks for the account, or for a variable without which dbt cannot render it, and nothing else has that.
    """
    there = {**whole_environment(), **given}
    lacking = {name for name, default in asked.items() if name not in there and (default is None or name == ACCOUNT)}
    return bool(lacking & snowflake_target.VARIABLES)


def _of_secret(target: SnowflakeTarget) -> dict[str, str]:
    """Return the variables of Snowflake's secret; the schema only where the secret has one."""
    values = {name: value for name, value in target.dbt_environment().items() if name in snowflake_target.VARIABLES}
    return values | ({SCHEMA: target.secret.schema_} if target.secret.schema_ else {})


def _postgres(asked: Mapping[str, str | None], settings: Settings) -> dict[str, str]:
    """Return libpq's variables that a profile asks for and the environment does not have."""
    server = settings.postgres
    password = server.password.get_secret_value()
    values = {
        "PGHOST": server.host,
        "PGPORT": str(server.port),
        "PGUSER": server.user,
        "PGDATABASE": server.database,
        PASSWORD: password,
    }
    found = whole_environment()
    return {
        name: value
        for name, value in values.items()
        if name in asked
        and not found.get(name)
        and (not asked[name] or name in found or (name == PASSWORD and password))
    }
