"""Looks up a secret, place after place, and validates it. Raises one clear error for each way it can fail.

What a secret's JSON holds are closed models, whose secret values do not print.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Self, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)

from flow_of_flows import aws
from flow_of_flows.errors import ConfigurationError
from flow_of_flows.redaction import remember
from flow_of_flows.settings import SecretsSettings, from_environment

Shape = TypeVar("Shape", bound="Credentials")
PERMISSION = "secretsmanager:GetSecretValue"
MISSING = {"ResourceNotFoundException"}


def _without_line_break(value: Any) -> Any:
    """Remove the line breaks that a file's text ends with; they are not part of a password."""
    return value.strip("\r\n") if isinstance(value, str) else value


def _of_one_line(value: SecretStr) -> SecretStr:
    """Check what is sent in an HTTP header or a line of a protocol."""
    text = value.get_secret_value()
    if not text.isascii() or not text.isprintable():
        raise ValueError("it holds a line break or another character that an HTTP header cannot have")
    return value


Text = Annotated[str, Field(min_length=1)]
Secret = Annotated[SecretStr, BeforeValidator(_without_line_break), Field(min_length=1)]
Token = Annotated[Secret, AfterValidator(_of_one_line)]
# dbt and dlt write it into SQL, where quotes would make it another name.
Identifier = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_$]*$")]


class Credentials(BaseModel):
    """A secret's JSON object; an unknown key is an error, for it is a known one misspelt."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, str_strip_whitespace=True)


class GitHubToken(Credentials):
    """`terraform/github-token`: the password that git gets."""

    token: Token
    username: Text = "x-access-token"


class SnowflakeCredentials(Credentials):
    """`dbt/snowflake-credentials`: a key pair, or the pod's own identity (workload identity federation), or a password.

    Attributes:
        private_key: PEM text, encrypted or plain.
        workload_identity_provider: such as AWS; then no key is needed.
    """

    account: Text
    user: Text | None = None
    private_key: Secret | None = None
    private_key_passphrase: Secret | None = None
    password: Secret | None = None
    workload_identity_provider: Text | None = None
    role: Text | None = None
    warehouse: Text | None = None
    database: Identifier
    # `schema` is the secret's word; the name is taken in pydantic.
    schema_: Annotated[Identifier | None, Field(alias="schema")] = None

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        ways = [self.private_key, self.password, self.workload_identity_provider]
        if sum(way is not None for way in ways) != 1:
            raise ValueError("exactly one of private_key, workload_identity_provider and password is needed")
        if self.workload_identity_provider is None and self.user is None:
            raise ValueError("user is needed")
        if self.private_key_passphrase is not None and self.private_key is None:
            raise ValueError("private_key_passphrase is given without a private_key")
        return self


class DbtCloudCredentials(Credentials):
    """`dbt-cloud/api-credentials`: a service token, the account, the job, and the host of the account's region."""

    api_token: Token
    account_id: Annotated[int, Field(gt=0)]
    job_id: Annotated[int, Field(gt=0)]
    host: Text = "cloud.getdbt.com"


class AirbyteCredentials(Credentials):
    """`airbyte/api-credentials`: an application's client id and secret, or a token, and the connection to sync.

    Attributes:
        server_url: base address of the API; Airbyte Cloud's unless said otherwise.
    """

    client_id: Text | None = None
    client_secret: Token | None = None
    token: Token | None = None
    connection_id: Text
    server_url: Text = "https://api.airbyte.com/v1"

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        application = self.client_id is not None and self.client_secret is not None
        if application == (self.token is not None) or (self.client_id is None) != (self.client_secret is None):
            raise ValueError("either client_id and client_secret, or token, is needed")
        return self


class SlackWebhook(Credentials):
    """`slack/webhook`: the address of an incoming webhook, which is a secret as a whole."""

    url: Token


class PagerDutyCredentials(Credentials):
    """`pagerduty/routing-key`: the integration key of a service (Events API v2).

    Attributes:
        api_key: a REST API key; only Prefect's own PagerDuty block needs one, which tells of crashed parents.
    """

    routing_key: Token
    api_key: Token | None = None


def _holds_secret(kind: Any) -> bool:
    return kind is SecretStr or any(_holds_secret(part) for part in get_args(kind))


# The keys of all shapes whose values are secret.
SECRET_KEYS = frozenset(
    name
    for shape in Credentials.__subclasses__()
    for name, field in shape.model_fields.items()
    if _holds_secret(field.annotation)
)


@dataclass(frozen=True)
class SecretText:
    """A secret and where it comes from; `place` is for people."""

    place: str
    text: str | Mapping[str, str]


def read(name: str, shape: type[Shape], settings: SecretsSettings) -> Shape:
    """Return the secret of a name from the first place that has it.

    Args:
        name: as in Secrets Manager, such as `dbt/snowflake-credentials`.
        shape: what its JSON object holds.
        settings: folder and region to look in.

    Raises:
        ConfigurationError: it is nowhere (the message lists the places), is malformed, or access is denied.
        PlatformError: Secrets Manager does not answer, or refuses for now.
    """
    return shaped(name, find(name, settings), shape)


def shaped(name: str, secret: SecretText, shape: type[Shape]) -> Shape:
    """Return the text of a secret as its model.

    Args:
        name: name of the secret.
        secret: its text, and where it came from.
        shape: the model.

    Raises:
        ConfigurationError: it is malformed.
    """
    remember(secret.text if isinstance(secret.text, str) else "", name)
    try:
        values = _values(secret)
        _remember_parts(values, name)
        return shape.model_validate(values)
    except (ValidationError, json.JSONDecodeError) as error:
        # Without the chain: both errors hold parts of the secret.
        raise ConfigurationError(
            f"The secret {name} is malformed: {_reason(error)}",
            location=secret.place,
            hint="correct it; docs/secrets.md says what it holds",
        ) from None


def find(name: str, settings: SecretsSettings, *, setting: str = "FLOWS_SECRETS_*") -> SecretText:
    """Return the text of a secret from the first place that has it.

    Args:
        name: name of the secret.
        settings: where to look.
        setting: what names the secret, for the hint.

    Raises:
        ConfigurationError: it is nowhere, or access is denied.
        PlatformError: Secrets Manager does not answer.
    """
    if (secret := near(name, settings)) is not None:
        return secret
    place = f"AWS Secrets Manager, {settings.region}, {name}"
    with aws.translated("hand out the secret", where=place, permission=f"{PERMISSION} on {name}"):
        answer = _ask(name, settings)
    if answer is None:
        folder = settings.folder / file_name(name) if settings.folder else "FLOWS_SECRETS_FOLDER (not set)"
        raise ConfigurationError(
            f"There is no secret {name}",
            location=f"looked for {variable(name)} in the environment, then {folder}, then {place}",
            hint=f"create it in one of them, or name another ({setting})",
        )
    return SecretText(place, answer)


def near(name: str, settings: SecretsSettings) -> SecretText | None:
    """Return the text of a secret from the environment or a mounted Secret, without asking Secrets Manager.

    Args:
        name: name of the secret.
        settings: where Secrets are mounted.

    Raises:
        ConfigurationError: it is mounted and cannot be read.
    """
    if (text := from_environment(variable(name))) is not None:
        return SecretText(f"environment variable {variable(name)}", text)
    return _mounted(name, settings)


def variable(name: str) -> str:
    """Return the environment variable of a secret."""
    return re.sub(r"\W", "_", name).upper()


def file_name(name: str) -> str:
    """Return the file or folder of a mounted secret; keys of a Kubernetes Secret have no slash."""
    return re.sub(r"[^\w.-]", "-", name)


def _mounted(name: str, settings: SecretsSettings) -> SecretText | None:
    if settings.folder is None:
        return None
    path = settings.folder / file_name(name)
    try:
        if path.is_dir():
            # Kubernetes keeps its own bookkeeping in names with two dots.
            keys = [file for file in path.iterdir() if file.is_file() and not file.name.startswith("..")]
            return SecretText(str(path), {file.name: file.read_text().strip("\r\n") for file in keys})
        return SecretText(str(path), path.read_text()) if path.is_file() else None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"The secret {name} cannot be read: {type(error).__name__}",
            location=str(path),
            hint="check the mount and its mode; the pod's group has to be allowed to read it (fsGroup)",
        ) from error


def _ask(name: str, settings: SecretsSettings) -> str | None:
    """Return the secret from Secrets Manager; None if it has none of that name."""
    from botocore.exceptions import ClientError

    try:
        answer = aws.client("secretsmanager", settings.region).get_secret_value(SecretId=name)
    except ClientError as error:
        if aws.code(error) in MISSING:
            return None
        raise
    if "SecretString" in answer:
        return str(answer["SecretString"])
    return bytes(answer.get("SecretBinary", b"")).decode(errors="replace")


def _remember_parts(values: Any, name: str) -> None:
    """Remember every part of a secret that is secret itself, also where the rest of it is malformed."""
    for key, value in values.items() if isinstance(values, dict) else ():
        if isinstance(value, str) and key in SECRET_KEYS:
            remember(value, f"{name}, {key}")


def _values(secret: SecretText) -> Any:
    return json.loads(secret.text) if isinstance(secret.text, str) else dict(secret.text)


def _reason(error: ValidationError | json.JSONDecodeError) -> str:
    """Return what is wrong, without any part of the secret."""
    if isinstance(error, json.JSONDecodeError):
        return f"it is no JSON object (line {error.lineno}, column {error.colno})"
    first = error.errors(include_input=False, include_context=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    said = "unknown key" if first["type"] == "extra_forbidden" else first["msg"].removeprefix("Value error, ")
    return f"{place}: {said}" if place else said
