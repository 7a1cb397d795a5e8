"""Settings of the systems around: warehouses, dbt, the state store, secrets, alerts and other services."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, AliasChoices, BaseModel, ConfigDict, Field, SecretStr, TypeAdapter, ValidationError
from pydantic_settings import SettingsConfigDict

from flow_of_flows.errors import ConfigurationError
from flow_of_flows.project import current_project, names_in
from flow_of_flows.settings import variables
from flow_of_flows.settings.operations import Environment, Finished
from flow_of_flows.settings.variables import RENAMED, EnvironmentSettings

PREFIX = "FLOWS_TRANSFORM_"


class TransformChild(StrEnum):
    """Where dbt runs."""

    CORE = "core"
    CLOUD = "cloud"


class TransformSettings(BaseModel):
    """One variable for each pipeline of the project: its name in upper case, with underscores."""

    model_config = ConfigDict(frozen=True)

    children: Mapping[str, TransformChild] = Field(
        default_factory=dict, description="Where a pipeline runs its dbt step: core (in a pod) or cloud (dbt Cloud)."
    )

    @classmethod
    def from_environment(cls) -> Self:
        """Read the variables that are set and not empty.

        Raises:
            ConfigurationError: a variable names no deployment of the project, or its value is neither core nor cloud.
        """
        found = {name: value for name, value in os.environ.items() if name.startswith(PREFIX) and value}
        known = {_variable(name): name for name in names_in(current_project().deployments)} if found else {}
        return cls(children={_known(name, known): _child(name, value) for name, value in found.items()})

    @property
    def uses_cloud(self) -> bool:
        """Return whether any pipeline transforms in dbt Cloud."""
        return TransformChild.CLOUD in self.children.values()

    @property
    def variables(self) -> tuple[str, ...]:
        """Return the variables that are set."""
        return tuple(_variable(name) for name in self.children)

    def child(self, pipeline: str) -> TransformChild:
        """Return the child of a pipeline's dbt step."""
        return self.children.get(pipeline, TransformChild.CORE)


def _variable(pipeline: str) -> str:
    return PREFIX + pipeline.replace("-", "_").upper()


def _known(variable: str, known: Mapping[str, str]) -> str:
    if variable not in known:
        raise variables.unknown(variable, known)
    return known[variable]


def _child(variable: str, value: str) -> TransformChild:
    try:
        return TransformChild(value)
    except ValueError as error:
        raise ConfigurationError(
            f"Setting {variable} does not fit: Input should be 'core' or 'cloud'",
            location="environment",
            hint=f"correct {variable} or unset it",
        ) from error


class AlertSettings(EnvironmentSettings):
    """What the outermost pipeline tells people when it is over."""

    model_config = SettingsConfigDict(env_prefix="FLOWS_ALERTS_")

    slack: bool | None = Field(default=None, description="Send messages to Slack; unset: in production only.")
    slack_block: str = Field(
        default="slack-webhook",
        pattern=r"^[a-z0-9-]+$",
        description="Name of the Prefect block, of type slack-webhook, that holds Slack's address.",
    )
    pagerduty: bool = Field(default=False, description="Open and resolve PagerDuty incidents, one for each pipeline.")
    pagerduty_url: str = Field(
        default="https://events.pagerduty.com",
        pattern=r"^https://[^/\s@]+$",
        description="PagerDuty's Events API; `https://events.eu.pagerduty.com` for accounts in the EU.",
    )
    finished: Finished = Field(
        default=Finished.ON_FAILURE,
        description="Notify of runs that end well: always, on-change (unlike the run before), on-failure (never).",
    )
    warnings: bool = Field(
        default=True, description="Send test warnings and stale sources of a run that ends well to Slack."
    )
    environment: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,39}$",
        description="Name of this installation in messages and incidents; unset: FLOWS_ENVIRONMENT.",
    )
    seconds: float = Field(
        default=10, ge=1, le=120, description="Maximum seconds to spend on sending alerts before the run ends."
    )

    def to_slack(self, environment: Environment) -> bool:
        """Return whether Slack is notified in this environment."""
        return environment is Environment.PRODUCTION if self.slack is None else self.slack

    def name(self, environment: Environment) -> str:
        """Name of this installation for people."""
        return self.environment or str(environment)


class AirbyteSettings(EnvironmentSettings):
    """Syncs of Airbyte."""

    model_config = SettingsConfigDict(env_prefix="FLOWS_AIRBYTE_")

    enabled: bool = Field(
        default=False,
        description="Airbyte is used: steps that sync through it run, and `flows doctor` checks the connection.",
    )
    limit_minutes: int = Field(
        default=100, ge=1, le=24 * 60, description="Longest wait for a sync; after it the sync is cancelled."
    )
    poll_seconds: float = Field(default=2.0, ge=0.05, le=60, description="Shortest pause between two looks at a sync.")
    poll_max_seconds: float = Field(
        default=30.0, ge=0.05, le=300, description="Longest pause, reached while nothing changes."
    )
    plain_http: bool = Field(
        default=False,
        description="Allow an address without https that is not on this host: an Airbyte in the cluster's own network.",
    )


class DbtCloudSettings(EnvironmentSettings):
    """Intervals of the reads of a run in dbt Cloud; whose job it is says the secret."""

    model_config = SettingsConfigDict(env_prefix="FLOWS_DBT_CLOUD_")

    poll_seconds: float = Field(
        default=5.0,
        ge=0.05,
        le=300,
        description="Shortest interval of reads of a run in dbt Cloud; six times that while nothing changes.",
    )
    patience_seconds: float = Field(
        default=300.0,
        ge=0,
        le=3600,
        description="For how long dbt Cloud may not answer before the child fails; its run there goes on.",
    )
    request_seconds: float = Field(
        default=30.0, gt=0, le=300, description="Time limit of one request to dbt Cloud's API."
    )


class PostgresSettings(EnvironmentSettings):
    """libpq's own variables."""

    model_config = SettingsConfigDict(env_prefix="PG")

    host: str = Field(
        default="localhost", description="Host of the Postgres server: name, address, or the folder of its Unix socket."
    )
    port: Annotated[int, Field(ge=1, le=65535)] = Field(default=5432, description="Port of the Postgres server.")
    user: str = Field(default="postgres", description="Role that loads and builds.")
    password: SecretStr = Field(default=SecretStr(""), description="Password of the role.")
    database: str = Field(default="postgres", description="Database to load and build in.")


class RepositorySettings(EnvironmentSettings):
    """Defaults of one environment; parameters of a run go before them. The token is a secret, see `Secrets`."""

    model_config = SettingsConfigDict(env_prefix="FLOWS_REPOSITORY_")

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


class SecretsSettings(EnvironmentSettings):
    """Names and places of secrets; never their values. `flow_of_flows.secrets` reads them."""

    model_config = SettingsConfigDict(env_prefix="FLOWS_SECRETS_", populate_by_name=True)

    region: str = Field(
        default="eu-west-1",
        # The old name wins: the chart sets the new one, so the old one can only come from a person.
        validation_alias=AliasChoices("FLOWS_SECRETS_REGION", RENAMED["FLOWS_SECRETS_REGION"]),
        pattern=r"^[a-z]{2}(-[a-z]+)+-\d$",
        description="AWS region of Secrets Manager and of the S3 state store. "
        "`FLOWS_SECRETS_REGION`, its former name, is deprecated; it takes precedence.",
    )
    folder: Path | None = Field(
        default=None, description="Folder of mounted Kubernetes Secrets, looked into before Secrets Manager."
    )
    github: str = Field(
        default="terraform/github-token", min_length=1, description="Secret with the token for git repositories."
    )
    snowflake: str = Field(
        default="dbt/snowflake-credentials", min_length=1, description="Secret with the connection to Snowflake."
    )
    dbt_cloud: str = Field(
        default="dbt-cloud/api-credentials",
        min_length=1,
        description="Secret with token, account and job of dbt Cloud.",
    )
    airbyte: str = Field(
        default="airbyte/api-credentials", min_length=1, description="Secret with the credentials of Airbyte's API."
    )
    slack: str = Field(
        default="slack/webhook", min_length=1, description="Secret with Slack's address, for `flows register`."
    )
    pagerduty: str = Field(
        default="pagerduty/routing-key", min_length=1, description="Secret with the key of PagerDuty's Events API."
    )


class SnowflakeSettings(EnvironmentSettings):
    """An address that stands in for the account's own, and a time limit. Credentials come from the secret."""

    model_config = SettingsConfigDict(env_prefix="FLOWS_SNOWFLAKE_")

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


S3 = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?P<prefix>(/[\w.=-]+)*)/?")


def _address(value: str) -> str:
    """Accept a folder or an S3 address with a bucket; reject another scheme, which would be a folder name."""
    if "://" in value and not S3.fullmatch(value):
        raise ValueError("it is neither a folder nor s3://bucket/prefix")
    return value


VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Read before the secrets are, or by other programs in this process.
NOT_FROM_SECRETS = ("FLOWS_", "PREFECT_", "DBT_TARGET", "DBT_PROFILE", "PATH", "PYTHON", "LD_")


class DbtSecret(BaseModel):
    """Where the value of one variable of dbt's profile is kept.

    Attributes:
        secret: name of the secret.
        field: key of its JSON object, or of the mounted Secret; None for the whole text.
        file: whether the variable gets the path of a file with the value, in memory.
        redact: whether the value is hidden wherever it is printed; false for a host or a name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    secret: Annotated[str, Field(min_length=1)]
    field: Annotated[str, Field(min_length=1)] | None = None
    file: bool = False
    redact: bool = True


def dbt_secrets(value: object) -> dict[str, DbtSecret]:
    """Return FLOWS_DBT_SECRETS as a mapping, or say which part of it does not fit.

    Raises:
        ValueError: it is not a JSON object of entries, or a variable cannot come from a secret.
    """
    try:
        found = TypeAdapter(dict[str, DbtSecret]).validate_json(value if isinstance(value, str) else json.dumps(value))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ValueError(f"{place}: {first['msg']}" if place else first["msg"]) from None
    for name in found:
        if not VARIABLE_NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not the name of a variable")
        if name.startswith(NOT_FROM_SECRETS):
            raise ValueError(f"{name} cannot come from a secret; set it in the environment")
    return found


class StateSettings(EnvironmentSettings):
    """Where dbt's artifacts are kept between runs."""

    model_config = SettingsConfigDict(env_prefix="FLOWS_STATE_")

    store: Annotated[str, AfterValidator(_address)] | None = Field(
        default=None,
        description="Where dbt manifests and run results are kept: a folder or `s3://bucket/prefix`; unset: `state` in "
        "FLOWS_HOME.",
    )
    publish: bool = Field(
        default=True,
        description="Whether a successful run replaces the production artifacts; `false` where runs only compare "
        "with them.",
    )
    history: int = Field(
        default=10, ge=2, le=100, description="How many publications are kept, for `flows state rollback`."
    )

    warehouse: str | None = Field(
        default=None,
        min_length=1,
        description="Name of the warehouse in the locks on its schemas, where it has several addresses (a laptop's "
        "forwarded port, an alias of its host); unset: its address.",
    )

    @property
    def bucket(self) -> tuple[str, str] | None:
        """Bucket and prefix on S3, the prefix empty or with a slash at its end; None for a folder."""
        found = S3.fullmatch(self.store or "")
        if found is None:
            return None
        prefix = found["prefix"].strip("/")
        return found["bucket"], f"{prefix}/" if prefix else ""
