"""What Snowflake says when it lets nobody in, through the real connector: one sentence each, of the right family."""

from __future__ import annotations

import json
import socket
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest

from flow_of_flows.dbt.children import dbt_build
from flow_of_flows.errors import ConfigurationError, DataError, FlowsError, PlatformError
from flow_of_flows.settings import Settings
from flow_of_flows.warehouse.reading import probe, query
from flow_of_flows.warehouse.targets import from_settings
from flows.ingest.currencies import currencies
from flows.settings import CurrenciesSource
from tests.fixtures import keys
from tests.fixtures.answers import answering
from tests.fixtures.environment import set_variables
from tests.fixtures.http_server import Response
from tests.fixtures.snowflake import SnowflakeDatabase
from tests.fixtures.snowflake_front import MISSING

SECRET = {
    "account": "acme-main",
    "user": "LOADER",
    "password": "the-wrong-password",
    "role": "TRANSFORMER",
    "warehouse": "LOADING",
    "database": "SHOP",
}
KEY = {"private_key": keys.encrypted(), "private_key_passphrase": keys.PASSPHRASE, "password": None}
WHERE = "LOADER@acme-main/SHOP"


@dataclass(frozen=True)
class Case:
    """An answer to the login, and what comes of it."""

    answer: Response
    family: type[FlowsError]
    what: str
    todo: str


def no(code: str, message: str) -> Response:
    """A refusal as Snowflake words it."""
    data = {"nextAction": "RETRY_LOGIN", "authnMethod": "USERNAME_PASSWORD", "signInOptions": {}}
    body = {"data": data, "code": code, "message": message, "success": False, "headers": None}
    return Response(200, json.dumps(body).encode(), {"content-type": "application/json"})


SECRET_TODO = "correct the secret dbt/snowflake-credentials, and the user in Snowflake"
NETWORK_TODO = "check the network and account, and https://status.snowflake.com; then run again"
GRANT_TODO = "in the secret dbt/snowflake-credentials, or grant it (docs/snowflake.md has the grants)"
CASES = {
    "wrong password": Case(
        no("390100", "Incorrect username or password was specified."),
        ConfigurationError,
        "Snowflake does not accept user and password (390100)",
        SECRET_TODO,
    ),
    "wrong key": Case(
        no("390144", "JWT token is invalid. [0f1c2a]"),
        ConfigurationError,
        "Snowflake does not accept the key pair (390144)",
        SECRET_TODO,
    ),
    "workload identity unknown": Case(
        no("394507", "Workload identity attestation does not match."),
        ConfigurationError,
        "Snowflake does not accept the workload identity (394507)",
        SECRET_TODO,
    ),
    "missing role": Case(
        no("390189", "Role 'TRANSFORMER' specified in the connect string does not exist or not authorized."),
        ConfigurationError,
        "Snowflake has no such role, or the role TRANSFORMER may not use it",
        f"correct role {GRANT_TODO}",
    ),
    "missing warehouse": Case(
        no("390201", "The requested warehouse does not exist or not authorized."),
        ConfigurationError,
        "Snowflake has no such warehouse or database, or the role TRANSFORMER may not use it",
        f"correct warehouse or database {GRANT_TODO}",
    ),
    "network policy": Case(
        no("390422", "Incoming request with IP/Token 203.0.113.7 is not allowed to access Snowflake."),
        ConfigurationError,
        "A network policy of Snowflake does not let this address in",
        "add the address that the pods leave the cluster by to the network policy",
    ),
    "no such account": Case(
        Response(404), ConfigurationError, "Snowflake has no such account", "correct account in the secret"
    ),
    "forbidden": Case(
        Response(403), ConfigurationError, "Snowflake has no such account", "correct account in the secret"
    ),
    "down": Case(Response(503), PlatformError, "Snowflake does not answer", NETWORK_TODO),
    "throttled": Case(Response(429), PlatformError, "Snowflake does not answer", NETWORK_TODO),
    "a web page": Case(Response(200, b"<html>"), PlatformError, "Snowflake does not answer", NETWORK_TODO),
    "half an answer": Case(Response(200, b'{"data": '), PlatformError, "Snowflake does not answer", NETWORK_TODO),
    "another answer": Case(Response(200, b"{}"), PlatformError, "The answer to the login is not Snowflake's", "check"),
}


def use(monkeypatch: pytest.MonkeyPatch, url: str, **changes: str | None) -> None:
    """Name a server, and a secret, as settings do."""
    parts = urlsplit(url)
    secret = {name: value for name, value in {**SECRET, **changes}.items() if value is not None}
    for name, value in {
        "DBT_TARGET": "snowflake",
        "DBT_SNOWFLAKE_CREDENTIALS": json.dumps(secret),
        "FLOWS_SNOWFLAKE_HOST": parts.hostname,
        "FLOWS_SNOWFLAKE_PORT": str(parts.port),
        "FLOWS_SNOWFLAKE_PROTOCOL": "http",
        "FLOWS_SNOWFLAKE_LOGIN_SECONDS": "2",
    }.items():
        monkeypatch.setenv(name, str(value))


def probed() -> str:
    """What `flows doctor` does."""
    return probe(from_settings(Settings.load()))


def loaded() -> Any:
    """An ingest child's work."""
    return currencies.fn.__wrapped__(source=CurrenciesSource.SNAPSHOT)  # type: ignore[attr-defined]


def built() -> Any:
    """The dbt child's work."""
    return dbt_build.fn.__wrapped__()  # type: ignore[attr-defined]


@pytest.mark.parametrize("case", CASES)
def test_a_refused_login(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cause, family and what to do next; the key and the password are in none of it."""
    expected = CASES[case]
    changes = KEY if case == "wrong key" else {}
    with answering(expected.answer) as server:
        use(monkeypatch, server.url, **changes)
        with pytest.raises(expected.family) as caught:
            probed()
    assert caught.value.message.startswith(expected.what)
    assert caught.value.location == WHERE
    assert caught.value.hint is not None
    assert caught.value.hint.startswith(expected.todo)
    assert not any(secret in str(caught.value) for secret in ("the-wrong-password", keys.PASSPHRASE, "PRIVATE"))


@pytest.mark.parametrize("work", [probed, loaded, built])
def test_every_hop_says_the_same(work: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong password, found by the doctor, a load or a build: asked once, for a user can be locked."""
    with answering(CASES["wrong password"].answer) as server:
        use(monkeypatch, server.url)
        with pytest.raises(ConfigurationError) as caught:
            work()
        assert server.count == 1
    assert str(caught.value) == (
        f"Snowflake does not accept user and password (390100). Where: {WHERE}. Next: {SECRET_TODO} "
        "(DESCRIBE USER shows its RSA_PUBLIC_KEY_FP)."
    )


@pytest.mark.parametrize("work", [probed, loaded, built])
def test_nobody_listens(work: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within the time to log in; an operator's matter, so it may be tried again."""
    use(monkeypatch, "http://127.0.0.1:1")
    with pytest.raises(PlatformError) as caught:
        work()
    assert caught.value.message.startswith("Snowflake does not answer: 25")


def test_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that takes the login and stays silent: with a key pair the connector waits 10 seconds a try."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        use(monkeypatch, f"http://127.0.0.1:{silent.getsockname()[1]}", **KEY)
        started = time.monotonic()
        with pytest.raises(PlatformError, match=r"^Snowflake does not answer: 250001"):
            probed()
    assert time.monotonic() - started < 30


@pytest.mark.parametrize("work", [probed, loaded, built])
def test_no_secret(work: Any, monkeypatch: pytest.MonkeyPatch, secrets_manager: Any) -> None:
    """Looked for in three places, which the message lists."""
    assert secrets_manager.list_secrets()["SecretList"] == []
    monkeypatch.setenv("DBT_TARGET", "snowflake")
    with pytest.raises(ConfigurationError) as caught:
        work()
    assert caught.value.message == "There is no secret dbt/snowflake-credentials"
    assert caught.value.location == (
        "looked for DBT_SNOWFLAKE_CREDENTIALS in the environment, then FLOWS_SECRETS_FOLDER (not set), "
        "then AWS Secrets Manager, eu-west-1, dbt/snowflake-credentials"
    )


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        (
            {"warehouse": MISSING},
            "warehouse, or the role TRANSFORMER may not use it: the session has no warehouse MISSING",
        ),
        (
            {"warehouse": None},
            "warehouse, or the role TRANSFORMER may not use it: the session has no warehouse, and the user no default",
        ),
        ({"role": MISSING}, "role, or the role MISSING may not use it: the session has no role MISSING"),
    ],
)
def test_a_session_without_what_it_needs(
    changes: dict[str, str | None], what: str, snowflake: SnowflakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Snowflake may log in without; then every statement would fail without a reason."""
    set_variables(monkeypatch, snowflake.environment(**changes))
    with pytest.raises(ConfigurationError) as caught:
        probed()
    assert caught.value.message == f"Snowflake has no such {what}"


def test_a_missing_table_is_the_analysts_matter(snowflake: SnowflakeDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    """Snowflake's own number for it, 2003, comes with the query and not with the login."""
    set_variables(monkeypatch, snowflake.environment())
    with pytest.raises(DataError, match=r"^The warehouse refused the query: 002003 \(42S02\)"):
        query(from_settings(Settings.load()), "select * from analytics.nothing")


def test_a_build_without_raw_tables_names_the_child_that_loads_them(
    snowflake: SnowflakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Snowflake names tables in capitals."""
    set_variables(monkeypatch, snowflake.environment())
    with pytest.raises(DataError) as caught:
        dbt_build.fn.__wrapped__(select="stg_currencies", exclude="stg_payments", freshness="off")  # type: ignore[attr-defined]
    assert caught.value.message.startswith("1 of 3 dbt nodes failed")
    assert "does not exist" in caught.value.message
    assert caught.value.hint is not None
    assert caught.value.hint.startswith("run currencies to load what is missing, then ")
