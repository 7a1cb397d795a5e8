"""Every setting of this package, read once from the environment at the first line of a flow or a command.

The only package that reads `os.environ`; a group of settings has its own module. Settings are passed down as values.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic_settings import NoDecode, SettingsConfigDict

from flow_of_flows.errors import ConfigurationError
from flow_of_flows.project import VARIABLE, current_project
from flow_of_flows.settings import systems, variables
from flow_of_flows.settings.operations import (
    DeadlineSettings,
    Environment,
    Finished,
    PodSettings,
    RetrySettings,
    SweepSettings,
    TargetName,
)
from flow_of_flows.settings.systems import PREFIX as TRANSFORM_PREFIX
from flow_of_flows.settings.systems import (
    AirbyteSettings,
    AlertSettings,
    DbtCloudSettings,
    DbtSecret,
    PostgresSettings,
    RepositorySettings,
    SecretsSettings,
    SnowflakeSettings,
    StateSettings,
    TransformSettings,
)
from flow_of_flows.settings.variables import (
    ELSEWHERE,
    PREFIX,
    RENAMED,
    EnvironmentSettings,
    ProjectSettings,
    dbt_environment,
    declared,
    misfit,
    remember_secrets,
    unknown,
    variable_of,
)

__all__ = [
    "AirbyteSettings",
    "AlertSettings",
    "DbtCloudSettings",
    "DbtSecret",
    "DeadlineSettings",
    "Environment",
    "Finished",
    "PodSettings",
    "PostgresSettings",
    "ProjectSettings",
    "RepositorySettings",
    "RetrySettings",
    "SecretsSettings",
    "Settings",
    "SnowflakeSettings",
    "StateSettings",
    "SweepSettings",
    "TargetName",
    "TransformSettings",
    "dbt_environment",
]

# A name on one line that a mark can carry.
OWNER = r"^([A-Za-z0-9]([A-Za-z0-9 ._/:@-]{0,118}[A-Za-z0-9])?)?$"


# Absolute, so that it is the same folder wherever a child starts.
Folder = Annotated[Path, AfterValidator(Path.absolute), Field(validate_default=True)]


class Settings(EnvironmentSettings):
    """Settings of the flows; each is the environment variable `FLOWS_<NAME>` unless it says otherwise."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, populate_by_name=True)

    target: str | None = Field(
        default=None,
        validation_alias="DBT_TARGET",
        description=(
            "Output of the dbt profile (`DBT_TARGET`); its adapter is the warehouse of the ingest children, too. "
            "Unset: the profile's own target, and DuckDB for the ingest children."
        ),
    )
    environment: Environment = Field(
        default=Environment.DEVELOPMENT, description="What this installation is for: development or production."
    )
    home: Folder = Field(
        default_factory=lambda: current_project().folder / ".flows",
        description="Folder of everything a laptop run writes; unset: `.flows` in the project.",
    )
    warehouse_folder: Folder = Field(
        default_factory=lambda values: values["home"] / "warehouse",
        description="Folder of the DuckDB files; unset: `warehouse` in FLOWS_HOME.",
    )
    target_schema: str = Field(
        default="analytics",
        pattern=r"^[a-z_][a-z0-9_]*$",
        description="Schema that dbt builds in; on Snowflake the secret's, unless set.",
    )
    threads: int = Field(default=4, ge=1, le=64, description="dbt threads; 8 on Snowflake, unless set.")
    dbt_project: Folder = Field(
        default_factory=lambda: current_project().dbt_project,
        description="Folder of the dbt project; unset: as the project's pyproject.toml says, else the project's own "
        "folder if it has a dbt_project.yml, else `dbt`.",
    )
    dbt_profiles_dir: Annotated[Path, AfterValidator(Path.absolute)] | None = Field(
        default=None,
        description="Folder of the profiles.yml; `DBT_PROFILES_DIR` counts as well. Unset: where dbt looks (the dbt "
        "project, the folder of prefect.yaml, `~/.dbt`); a project without one gets a generated profile.",
    )
    dbt_secrets: Annotated[dict[str, DbtSecret], NoDecode, BeforeValidator(systems.dbt_secrets)] = Field(
        default={},
        description="Variables of the dbt profile that come from secrets, for any adapter: a JSON object, for example "
        '`{"DBT_ENV_SECRET_PASSWORD": {"secret": "warehouse/redshift", "field": "password"}}`.',
    )
    deployments: Folder = Field(
        default_factory=lambda: current_project().deployments,
        description="File that declares the deployments; unset: prefect.yaml of the project.",
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
        description="Whether `flows register` leaves schedules active; false where nothing runs on a schedule.",
    )
    registration: Path | None = Field(
        default=None,
        description="File with the work pool and the job variables for `flows register`; the chart creates it.",
    )
    local_limit: int = Field(
        default=max(8, 2 * (os.cpu_count() or 1)),
        ge=1,
        le=64,
        description="Children that `flows run` works on at once.",
    )
    poll_seconds: float = Field(default=1.0, ge=0.05, le=60, description="Shortest interval of a parent's reads.")
    poll_max_seconds: float = Field(
        default=10.0, ge=0.05, le=300, description="Longest interval, reached while nothing changes."
    )
    postgres: PostgresSettings = Field(
        default_factory=PostgresSettings, description="Connection of the postgres target (`PG*`)."
    )
    state: StateSettings = Field(default_factory=StateSettings, description="The state store (`FLOWS_STATE_*`).")
    snowflake: SnowflakeSettings = Field(
        default_factory=SnowflakeSettings, description="Address of the snowflake target (`FLOWS_SNOWFLAKE_*`)."
    )
    airbyte: AirbyteSettings = Field(
        default_factory=AirbyteSettings, description="Syncs of Airbyte (`FLOWS_AIRBYTE_*`)."
    )
    repository: RepositorySettings = Field(
        default_factory=RepositorySettings, description="Git repository of the dbt project (`FLOWS_REPOSITORY_*`)."
    )
    secrets: SecretsSettings = Field(
        default_factory=SecretsSettings, description="Where credentials are kept (`FLOWS_SECRETS_*`)."
    )
    transform: TransformSettings = Field(
        default_factory=TransformSettings.from_environment,
        description="Where a pipeline's dbt step runs (`FLOWS_TRANSFORM_<PIPELINE>`).",
    )
    dbt_cloud: DbtCloudSettings = Field(
        default_factory=DbtCloudSettings,
        description="Intervals and time limits of calls to dbt Cloud (`FLOWS_DBT_CLOUD_*`).",
    )
    deadlines: DeadlineSettings = Field(
        default_factory=DeadlineSettings, description="Deadlines of child runs (`FLOWS_DEADLINE_*`)."
    )
    retry: RetrySettings = Field(
        default_factory=RetrySettings, description="What changes about a retry (`FLOWS_RETRY_*`)."
    )
    pod: PodSettings = Field(default_factory=PodSettings, description="How a job pod guards its run (`FLOWS_POD_*`).")
    alerts: AlertSettings = Field(default_factory=AlertSettings, description="Notifications (`FLOWS_ALERTS_*`).")
    sweep: SweepSettings = Field(default_factory=SweepSettings, description="When the sweeper acts (`FLOWS_SWEEP_*`).")

    @classmethod
    def load(cls) -> Self:
        """Read the environment.

        Raises:
            ConfigurationError: an unknown `FLOWS_` variable, or a value that does not fit.
        """
        variables.prepare()
        current_project().load_settings()
        _refuse_unknown()
        variables.warn_of_renamed()
        try:
            settings = cls()
        except ValidationError as error:
            raise _misfit(error) from error
        for group in (settings, *(getattr(settings, name) for name in GROUPS)):
            remember_secrets(group)
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
        """Return the names of the variables that are set, except those of Postgres."""
        groups = (self, *(getattr(self, name) for name in GROUPS), *(kind.load() for kind in declared()))
        names = {
            variable_of(type(group), name) for group in groups for name in group.model_fields_set if name not in GROUPS
        }
        names = {name for name in names if name.startswith(PREFIX) or name in ELSEWHERE.values()}
        return tuple(sorted(names | set(self.transform.variables)))

    @property
    def warehouse(self) -> TargetName | None:
        """Return the warehouse that the target is named after; None for a target with another name."""
        if self.target is None:
            return TargetName.DUCKDB
        return TargetName(self.target) if self.target in set(TargetName) else None

    @property
    def aws_region(self) -> str:
        """Return the AWS region of Secrets Manager and of the S3 state store."""
        return self.secrets.region

    @property
    def state_folder(self) -> Path:
        """Folder of the state store, where it is not on S3."""
        return Path(self.state.store or self.home / "state").absolute()

    @property
    def results_folder(self) -> Path:
        """Folder of pictures and reports that outlive a run."""
        return self.home / "results"


# The settings that are groups of their own, by the field's name.
GROUPS: dict[str, type[EnvironmentSettings]] = {
    name: field.annotation
    for name, field in Settings.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, EnvironmentSettings)
}


def from_environment(variable: str) -> str | None:
    """Return the value of a variable that is named elsewhere; None if it is unset or empty."""
    return os.environ.get(variable, "").rstrip("\r\n") or None


def whole_environment() -> dict[str, str]:
    """Return the environment of this process, for a library that wants to be given one."""
    return dict(os.environ)


@contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Put variables into this process's environment, and take them out again; for libraries that read it themselves."""
    for name in values:
        variables.remember_variable(name, values[name])
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


def known_variables() -> set[str]:
    """Return every variable that a setting of the platform or of the project reads."""
    own = {variable_of(Settings, name) for name in Settings.model_fields if name not in GROUPS} - set(
        ELSEWHERE.values()
    )
    groups = (*GROUPS.values(), *declared())
    return {VARIABLE, *RENAMED, *own, *(variable_of(group, name) for group in groups for name in group.model_fields)}


def _refuse_unknown() -> None:
    known = known_variables()
    for variable in sorted(name for name in os.environ if name.startswith(PREFIX)):
        # Transform refuses the unknown ones among its own: their names are those of the project's pipelines.
        if variable not in known and not variable.startswith(TRANSFORM_PREFIX):
            raise unknown(variable, known)


def _misfit(error: ValidationError) -> ConfigurationError:
    group = next((group for group in GROUPS.values() if group.__name__ == error.title), Settings)
    return misfit(error, group)
