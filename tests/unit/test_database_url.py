"""The URL of the server's database, as libpq, SQLAlchemy and Prefect write it."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy.engine import make_url

from flow_of_flows.errors import ConfigurationError
from flow_of_flows.server import URL_VARIABLES, variables

URL = URL_VARIABLES[0]
CONNECT_ARGS = "PREFECT_SERVER_DATABASE_SQLALCHEMY_CONNECT_ARGS"


def arguments(url: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Return what SQLAlchemy passes to asyncpg for a URL, and the variables that go with it."""
    found = variables(URL, url)
    rendered = make_url(found.pop(URL))
    assert rendered.drivername == "postgresql+asyncpg"
    make_dialect: Any = rendered.get_dialect()
    _, given = make_dialect().create_connect_args(rendered)
    return given, found


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg", "postgresql+psycopg2"])
def test_a_url_names_its_database_by_whatever_scheme(scheme: str) -> None:
    """As CloudNativePG, Crossplane, RDS and Prefect's documents write it."""
    given, others = arguments(f"{scheme}://app:secret@pg-rw.data:5432/prefect")
    assert given == {
        "host": "pg-rw.data",
        "port": 5432,
        "user": "app",
        "password": "secret",
        "database": "prefect",
    }
    assert others == {}


@pytest.mark.parametrize(
    ("password", "meant"),
    [
        ("p%40ss%2Fw%3Ard%25%23%3F%26", "p@ss/w:rd%#?&"),
        ("a+b=c:d", "a+b=c:d"),
        ("with/slash", "with/slash"),
        ("question?mark", "question?mark"),
        ("%C3%A4%20%24%7Bx%7D", "ä ${x}"),
    ],
)
def test_a_password_keeps_its_characters(password: str, meant: str) -> None:
    """Percent-encoded, or as they are where that is not ambiguous."""
    given, _ = arguments(f"postgresql://app:{password}@db/prefect")
    assert given["password"] == meant
    assert (given["host"], given["database"]) == ("db", "prefect")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql:///prefect?host=/var/run/postgresql", {"host": "/var/run/postgresql", "database": "prefect"}),
        (
            "postgresql://app@%2Fvar%2Frun:6432/prefect",
            {"host": "/var/run", "port": 6432, "user": "app", "database": "prefect"},
        ),
        ("postgresql://[::1]:5433/prefect", {"host": "::1", "port": 5433, "database": "prefect"}),
        ("postgresql://db?user=app&password=a%26b", {"host": "db", "user": "app", "password": "a&b"}),
        ("postgresql://db/x?dbname=prefect&port=6432", {"host": "db", "port": 6432, "database": "prefect"}),
        ("postgresql://a,b:5433/prefect", {"host": ["a", "b"], "port": [5432, 5433], "database": "prefect"}),
        ("postgresql:///prefect?host=a,b&port=6432", {"host": ["a", "b"], "port": [6432, 6432], "database": "prefect"}),
    ],
)
def test_hosts_ports_and_names_may_stand_wherever_libpq_takes_them(url: str, expected: dict[str, Any]) -> None:
    """Before the path or as parameters; a socket's folder; several hosts."""
    given, _ = arguments(url)
    assert given == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("sslmode=require", {"PGSSLMODE": "require"}),
        ("ssl=true", {"PGSSLMODE": "require"}),
        ("ssl=disable", {"PGSSLMODE": "disable"}),
        (
            "sslmode=verify-full&sslrootcert=/tls/ca.crt&sslcert=/tls/tls.crt&sslkey=/tls/tls.key",
            {
                "PGSSLMODE": "verify-full",
                "PGSSLROOTCERT": "/tls/ca.crt",
                "PGSSLCERT": "/tls/tls.crt",
                "PGSSLKEY": "/tls/tls.key",
            },
        ),
        ("target_session_attrs=read-write", {"PGTARGETSESSIONATTRS": "read-write"}),
        ("connect_timeout=10", {"PREFECT_SERVER_DATABASE_CONNECTION_TIMEOUT": "10"}),
        ("application_name=prefect", {f"{CONNECT_ARGS}_APPLICATION_NAME": "prefect"}),
        ("options=-c%20search_path%3Druns%2Cpublic", {f"{CONNECT_ARGS}_SEARCH_PATH": "runs,public"}),
        ("channel_binding=prefer&gssencmode=disable&client_encoding=utf8", {}),
    ],
)
@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+asyncpg"])
def test_a_parameter_of_libpq_becomes_a_variable(scheme: str, query: str, expected: dict[str, str]) -> None:
    """The driver has no argument of that name. One that changes nothing for it is left out."""
    given, others = arguments(f"{scheme}://app:secret@db/prefect?{query}")
    assert given == {"host": "db", "user": "app", "password": "secret", "database": "prefect"}
    assert others == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("sqlite:////data/prefect.db", "sqlite+aiosqlite:////data/prefect.db"),
        ("sqlite+aiosqlite:////data/prefect.db", "sqlite+aiosqlite:////data/prefect.db"),
        (
            "postgresql+asyncpg://a:${PREFECT_SERVER_DATABASE_PASSWORD}@db/x",
            "postgresql+asyncpg://a:${PREFECT_SERVER_DATABASE_PASSWORD}@db/x",
        ),
        (
            "postgresql+asyncpg://a:b@db/x?prepared_statement_cache_size=0&statement_cache_size=0",
            "postgresql+asyncpg://a:b@db/x?prepared_statement_cache_size=0&statement_cache_size=0",
        ),
    ],
)
def test_a_url_in_prefect_s_own_form_stays_as_it_is(url: str, expected: str) -> None:
    """Also with parameters that only SQLAlchemy and asyncpg know; SQLite gets its driver."""
    assert variables(URL, url) == {URL: expected}


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("jdbc:postgresql://app:canary@db/x", "The database URL is not one of Postgres or SQLite"),
        ("mysql://app:canary@db/x", "The database URL is not one of Postgres or SQLite"),
        ("canary", "The database URL is not one of Postgres or SQLite"),
        ("postgresql://app:canary@db/x?port=canary", "The database URL has a port that is not a number"),
        ("postgresql://app:canary@db:canary/x", "The database URL has a host that cannot be read"),
        ("postgresql://app:canary@db:1:2/x", "The database URL has a host that cannot be read"),
        ("postgresql://app:canary@db/x?sslmode=canary", "The database URL has an unknown sslmode"),
        ("postgresql://app:canary@/x?host=a,b&port=1,2,3", "The database URL has not one port for each host"),
        (
            "postgresql://app:canary@db/x?sslrootcert=system",
            "The server's driver (asyncpg) has no sslrootcert=system",
        ),
        (
            "postgresql://app:canary@db/x?channel_binding=require",
            "The server's driver (asyncpg) cannot honour the database URL's parameter channel_binding",
        ),
        (
            "postgresql://app:canary@db/x?pgbouncer=true",
            "The server's driver (asyncpg) cannot honour the database URL's parameter pgbouncer",
        ),
        (
            "postgresql://app:canary@db/x?options=-c%20statement_timeout%3D5",
            "The database URL has options that the server cannot pass on",
        ),
    ],
)
def test_a_url_that_cannot_be_honoured_is_refused_without_being_shown(url: str, what: str) -> None:
    """Nothing of the URL but the name of a parameter is in the message."""
    with pytest.raises(ConfigurationError) as refused:
        variables(URL, url)
    assert refused.value.message == what
    assert refused.value.hint is not None
    assert "canary" not in str(refused.value)
