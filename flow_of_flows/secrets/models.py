"""What each secret's JSON holds: closed models, whose secret values do not print. Pure."""

from __future__ import annotations

from typing import Annotated, Any, Self, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator


def _without_line_break(value: Any) -> Any:
    """Remove the line breaks that a file's text ends with; they are no part of a password."""
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
    """`terraform/github-token`: what git is told as password."""

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
