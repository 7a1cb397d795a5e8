"""Opens sessions of Snowflake's connector: a target in, an open session out, or one sentence of what went wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from flow_of_flows.errors import ConfigurationError, DataError, FlowsError, PlatformError
from flow_of_flows.messages import one_line
from flow_of_flows.warehouse.snowflake_target import SnowflakeTarget
from flow_of_flows.warehouse.transient import is_transient

if TYPE_CHECKING:
    from snowflake.connector import SnowflakeConnection

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
