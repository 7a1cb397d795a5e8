"""Snowflake as a frozen value: settings and the secret they name in, what dbt, dlt and readers need out.

Sessions are opened with Snowflake's connector; what can go wrong is one sentence.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from flow_of_flows import query_tag as query_tags
from flow_of_flows import secrets
from flow_of_flows.errors import ConfigurationError, DataError, FlowsError, PlatformError
from flow_of_flows.messages import one_line
from flow_of_flows.secrets import SnowflakeCredentials
from flow_of_flows.settings import Settings, TargetName
from flow_of_flows.warehouse.transient import is_transient

if TYPE_CHECKING:
    from snowflake.connector import SnowflakeConnection


# A warehouse of Snowflake runs 8 statements at once by default, and only waits between ours.
THREADS = 8
# A request that gets no answer; a long query is asked after every 45 seconds and is not bound by this.
NETWORK_SECONDS = 300

# Numbers of https://docs.snowflake.com/en/user-guide/key-pair-auth-troubleshooting, and of the connector.
REJECTED = {
    390100: "Snowflake does not accept user and password",
    390101: "Snowflake does not accept the user",
    390102: "Snowflake has locked the user",
    390144: "Snowflake does not accept the key pair",
    394300: "Snowflake does not accept the key pair: it has no such user, or the user no such key",
    394304: "Snowflake does not accept the key pair: the public key of the user is another one",
    394507: "Snowflake does not accept the workload identity",
}
NOT_ALLOWED = {390189: "role", 390201: "warehouse or database", 606: "warehouse"}
BLOCKED = {390420, 390422, 390432}
# Below are Snowflake's numbers for statements, from here on the connector's own and those of the login.
CLIENT_NUMBERS = 200_000
NO_SUCH_ACCOUNT = {290403, 290404, 540001}

# What a profile may ask for and the secret has.
VARIABLES = frozenset(
    {
        *(f"DBT_SNOWFLAKE_{name}" for name in ("ACCOUNT", "USER", "ROLE", "WAREHOUSE", "DATABASE", "AUTHENTICATOR")),
        *(f"DBT_SNOWFLAKE_{name}" for name in ("HOST", "PORT", "PROTOCOL", "QUERY_TAG", "WORKLOAD_IDENTITY_PROVIDER")),
        *(f"DBT_ENV_SECRET_SNOWFLAKE_{name}" for name in ("PRIVATE_KEY", "PRIVATE_KEY_PASSPHRASE", "PASSWORD")),
    }
)


@dataclass(frozen=True)
class SnowflakeTarget:
    """A database of a Snowflake account; raw tables and models in schemas of it.

    Attributes:
        secret: what the secret says; its own name for the people who have to correct it is `place`.
        schema: where dbt builds.
        query_tag: JSON, on every statement: which pipeline and run it belongs to.
        host: another address than the account's own, with `port` and `protocol`.
    """

    secret: SnowflakeCredentials
    place: str
    schema: str
    threads: int
    query_tag: str
    login_seconds: int
    host: str | None = None
    port: int = 443
    protocol: str = "https"
    name: TargetName = field(default=TargetName.SNOWFLAKE, kw_only=True)

    @property
    def database(self) -> str:
        """The database."""
        return self.secret.database

    def dbt_environment(self) -> dict[str, str]:
        """Return what profiles.yml asks for with `env_var`; dbt scrubs `DBT_ENV_SECRET_*` from its logs."""
        secret = self.secret
        provider = secret.workload_identity_provider
        return {
            "DBT_TARGET": self.name,
            "DBT_SCHEMA": self.schema,
            "DBT_THREADS": str(self.threads),
            "DBT_SNOWFLAKE_ACCOUNT": secret.account,
            "DBT_SNOWFLAKE_USER": secret.user or "",
            "DBT_SNOWFLAKE_ROLE": secret.role or "",
            "DBT_SNOWFLAKE_WAREHOUSE": secret.warehouse or "",
            "DBT_SNOWFLAKE_DATABASE": secret.database,
            "DBT_SNOWFLAKE_AUTHENTICATOR": "workload_identity" if provider else "",
            "DBT_SNOWFLAKE_WORKLOAD_IDENTITY_PROVIDER": provider or "",
            "DBT_SNOWFLAKE_QUERY_TAG": self.query_tag,
            "DBT_SNOWFLAKE_HOST": self.host or "",
            "DBT_SNOWFLAKE_PORT": str(self.port),
            "DBT_SNOWFLAKE_PROTOCOL": self.protocol,
            "DBT_ENV_SECRET_SNOWFLAKE_PRIVATE_KEY": _revealed(secret.private_key),
            "DBT_ENV_SECRET_SNOWFLAKE_PRIVATE_KEY_PASSPHRASE": _revealed(secret.private_key_passphrase),
            "DBT_ENV_SECRET_SNOWFLAKE_PASSWORD": _revealed(secret.password),
        }

    def connection(self) -> dict[str, Any]:
        """Return the arguments of `snowflake.connector.connect`, the schema aside; dlt takes them, too."""
        secret = self.secret
        found: dict[str, Any] = {
            "account": secret.account,
            "user": secret.user,
            "role": secret.role,
            "warehouse": secret.warehouse,
            "database": secret.database,
            "host": self.host,
            "port": self.port,
            "protocol": self.protocol,
            "login_timeout": self.login_seconds,
            "network_timeout": NETWORK_SECONDS,
            "session_parameters": {"QUERY_TAG": self.query_tag},
            # It would ask the metadata services of three clouds where it runs, for statistics.
            "platform_detection_timeout_seconds": 0.0,
            **self._proof(),
        }
        return {name: value for name, value in found.items() if value is not None}

    def describe(self) -> str:
        """Return where this is, for people; no secret."""
        who = self.secret.user or f"workload identity ({self.secret.workload_identity_provider})"
        return f"{who}@{self.secret.account}/{self.secret.database}"

    def _proof(self) -> dict[str, Any]:
        """Who we are: a key pair in memory, the pod's own identity, or a password."""
        secret = self.secret
        if secret.private_key is not None:
            key = der(secret.private_key, secret.private_key_passphrase, where=self.place)
            return {"authenticator": "SNOWFLAKE_JWT", "private_key": key}
        if secret.workload_identity_provider is not None:
            provider = secret.workload_identity_provider
            return {"authenticator": "WORKLOAD_IDENTITY", "workload_identity_provider": provider}
        return {"password": _revealed(secret.password)}


def from_settings(settings: Settings) -> SnowflakeTarget:
    """Read the secret, and check what can be checked without a connection.

    Raises:
        ConfigurationError: the secret is missing or malformed, or its key cannot be read.
        PlatformError: the place where it is kept does not answer.
    """
    secret = secrets.read(settings.secrets.snowflake, SnowflakeCredentials, settings.secrets)
    place = f"secret {settings.secrets.snowflake}"
    if secret.private_key is not None:
        der(secret.private_key, secret.private_key_passphrase, where=place)
    given = settings.model_fields_set
    address = settings.snowflake
    return SnowflakeTarget(
        secret,
        place,
        schema=settings.target_schema if "target_schema" in given else secret.schema_ or settings.target_schema,
        threads=settings.threads if "threads" in given else THREADS,
        query_tag=query_tags.of_run().as_json(),
        login_seconds=address.login_seconds,
        host=address.host,
        port=address.port,
        protocol=address.protocol,
    )


def _revealed(secret: Any) -> str:
    return str(secret.get_secret_value()) if secret is not None else ""


MALFORMED_TODO = "store the whole PEM text, from -----BEGIN to -----END, with its line breaks (\\n in JSON)"


def der(pem: SecretStr, passphrase: SecretStr | None, *, where: str) -> bytes:
    """Return the key as the connector takes it: PKCS #8, DER.

    Args:
        pem: the private key.
        passphrase: of an encrypted key.
        where: the secret, for messages.

    Raises:
        ConfigurationError: it is not a PEM text, or the passphrase is missing or does not fit.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    text = pem.get_secret_value()
    encrypted = "ENCRYPTED" in text.partition("\n")[0] or "Proc-Type: 4,ENCRYPTED" in text
    if encrypted and passphrase is None:
        raise ConfigurationError(
            "The private key is encrypted, and there is no passphrase",
            location=where,
            hint="add private_key_passphrase to the secret",
        )
    word = passphrase.get_secret_value().encode() if passphrase is not None and encrypted else None
    try:
        key = serialization.load_pem_private_key(text.encode(), word)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # Without the chain: a parser may quote what it could not read.
        raise _unreadable(where, encrypted=encrypted) from None
    return key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _unreadable(where: str, *, encrypted: bool) -> ConfigurationError:
    if encrypted:
        return ConfigurationError(
            "The private key cannot be decrypted: the passphrase does not fit, or the text is damaged",
            location=where,
            hint="correct private_key_passphrase or private_key in the secret",
        )
    return ConfigurationError("The private key is not a PEM text", location=where, hint=MALFORMED_TODO)


@contextmanager
def session(target: SnowflakeTarget) -> Iterator[SnowflakeConnection]:
    """A session in the target's database, with its warehouse and role; closed after.

    Raises:
        ConfigurationError: Snowflake refuses the credentials, or has no such role, warehouse or database.
        DataError: it refuses a statement.
        PlatformError: it does not answer.
    """
    try:
        import snowflake.connector
    except ImportError as error:
        raise ConfigurationError(
            "Snowflake's connector is not installed",
            location="snowflake",
            hint="install the extra: flow-of-flows[snowflake]",
        ) from error
    arguments = target.connection()
    try:
        # Snowflake itself says at login what does not exist; it would go on without.
        connection = snowflake.connector.connect(**arguments, validate_default_parameters=True)
    except snowflake.connector.Error as error:
        raise refused(error, target) from error
    except (KeyError, TypeError, AttributeError) as error:
        # The connector looks into an answer that is not Snowflake's.
        raise _strange(target) from error
    try:
        _whole(connection, target)
        yield connection
    except snowflake.connector.Error as error:
        raise refused(error, target) from error
    finally:
        connection.close()


def refused(error: BaseException, target: SnowflakeTarget) -> FlowsError:
    """Return the error for an exception of the connector, by Snowflake's number.

    Args:
        error: the connector's exception.
        target: the warehouse.
    """
    from snowflake.connector import ProgrammingError

    number, said = getattr(error, "errno", None) or 0, one_line(error)
    of_statement, passing = isinstance(error, ProgrammingError), is_transient(error)
    about_the_call = of_statement and not passing
    if (login := _refused_login(number, said, target, by_connector=about_the_call)) is not None:
        return login
    if about_the_call:
        return DataError(
            f"The warehouse refused the query: {said}",
            location=target.describe(),
            hint="run dbt-build, or correct the query; a table that exists needs a grant to the role",
        )
    what = "A fault of Snowflake ended the statement" if of_statement else "Snowflake does not answer"
    return PlatformError(
        f"{what}: {said}",
        location=target.describe(),
        hint="check the network and account, and https://status.snowflake.com; then run again",
    )


def _refused_login(number: int, said: str, target: SnowflakeTarget, *, by_connector: bool) -> ConfigurationError | None:
    """Return what to change in the secret or in the account; None if the cause is elsewhere."""
    if number in NOT_ALLOWED:
        return _missing(NOT_ALLOWED[number], said, target)
    if number in REJECTED:
        what = f"{REJECTED[number]} ({number})"
        todo = f"correct the {target.place}, and the user in Snowflake (DESCRIBE USER shows its RSA_PUBLIC_KEY_FP)"
    elif number in BLOCKED:
        what = f"A network policy of Snowflake does not let this address in: {said}"
        todo = "add the address that the pods leave the cluster by to the network policy"
    elif number in NO_SUCH_ACCOUNT:
        what = f"Snowflake has no such account: {said}"
        todo = f"correct account in the {target.place}: organization-account, without .snowflakecomputing.com"
    elif by_connector and number >= CLIENT_NUMBERS:
        what = f"The connector refuses the login: {said}"
        todo = f"correct the {target.place}; for a workload identity, the pod's role (IRSA) and its provider"
    else:
        return None
    return ConfigurationError(what, location=target.describe(), hint=todo)


def _whole(connection: SnowflakeConnection, target: SnowflakeTarget) -> None:
    """Refuse a session without what the secret names: every later statement would fail without a reason."""
    has = {"role": connection.role, "warehouse": connection.warehouse, "database": connection.database}
    for name, value in has.items():
        wanted = getattr(target.secret, name)
        if value is None and (wanted is not None or name == "warehouse"):
            said = f"the session has no {name}" + (f" {wanted}" if wanted else ", and the user no default")
            raise _missing(name, said, target)


def _missing(what: str, said: str, target: SnowflakeTarget) -> ConfigurationError:
    role = f"role {target.secret.role}" if target.secret.role else "user's default role"
    return ConfigurationError(
        f"Snowflake has no such {what}, or the {role} may not use it: {said}",
        location=target.describe(),
        hint=f"correct {what} in the {target.place}, or grant it (docs/snowflake.md has the grants)",
    )


def _strange(target: SnowflakeTarget) -> PlatformError:
    return PlatformError(
        "The answer to the login is not Snowflake's",
        location=target.describe(),
        hint="check account and FLOWS_SNOWFLAKE_HOST, and proxies between here and there",
    )
