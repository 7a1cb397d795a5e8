"""Which errors of a warehouse pass by themselves, by the code or class that its driver gives them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import duckdb
import psycopg2
import pytest
import snowflake.connector.errors as sf
from dbt.adapters.base.connections import BaseConnectionManager
from dbt.adapters.contracts.connection import Connection
from dbt.adapters.events.logging import AdapterLogger

from flow_of_flows.warehouse import transient
from flow_of_flows.warehouse.transient import is_transient
from tests.fixtures.postgres import PostgresDatabase


def raised(call: Any) -> BaseException:
    """The exception that a call ends with."""
    try:
        call()
    except Exception as error:  # noqa: BLE001 - whatever it is, the test looks at it
        return error
    raise AssertionError(call)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        *((state, True) for state in ("08000", "08006", "40001", "40P01", "53000", "53100", "53200", "53300")),
        *((state, True) for state in sorted(transient.SQLSTATES)),
        *((state, False) for state in sorted(transient.SQLSTATES_OF_STATEMENTS)),
        # A query that was cancelled, as by a statement's timeout; errors of SQL and data; a right that is missing.
        *((state, False) for state in ("57014", "42601", "42P01", "22012", "23505", "42501", "0A000", "XX000")),
    ],
)
def test_postgres_by_sqlstate(postgres: PostgresDatabase, state: str, expected: bool) -> None:  # noqa: FBT001
    """The server's own SQLSTATE decides."""
    statement = f"do $$ begin raise exception 'said' using errcode = '{state}'; end $$"
    assert is_transient(raised(lambda: postgres.execute(statement))) is expected


def test_postgres_without_a_code(postgres: PostgresDatabase) -> None:
    """Libpq gives no code for a connection that was not made, is closed, or was lost."""
    with closing(postgres.connect()) as connection, connection.cursor() as cursor:
        lost = raised(lambda: cursor.execute("select pg_terminate_backend(pg_backend_pid())"))
        closed = raised(lambda: cursor.execute("select 1"))
    refused = raised(lambda: psycopg2.connect(host="127.0.0.1", port=1))
    assert [is_transient(error) for error in (lost, closed, refused)] == [True, True, True]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        *((sf.ProgrammingError("said", errno=number), True) for number in sorted(transient.SNOWFLAKE_NUMBERS)),
        *(
            (sf.OperationalError("said", errno=number, sqlstate="57P03"), False)
            for number in sorted(transient.SNOWFLAKE_NUMBERS_OF_STATEMENTS)
        ),
        *((getattr(sf, name)(msg="said"), True) for name in sorted(transient.SNOWFLAKE_CLASSES)),
        (sf.ProgrammingError("said", errno=1, sqlstate="40001"), True),
        (sf.ProgrammingError("canceled", errno=604, sqlstate="57014"), False),
        (sf.ProgrammingError("reached its statement timeout", errno=630, sqlstate="57014"), False),
        (sf.ProgrammingError("does not exist", errno=2003, sqlstate="02000"), False),
        (sf.DatabaseError("incorrect password", errno=390100, sqlstate="08001"), True),
        (sf.NonRetryableTlsError("said"), False),
        (sf.IntegrityError("said", errno=100072), False),
    ],
    ids=str,
)
def test_snowflake_by_number_and_class(error: BaseException, expected: bool) -> None:  # noqa: FBT001
    """Snowflake's number decides, then the SQLSTATE, then the connector's class."""
    assert is_transient(error) is expected


@pytest.mark.parametrize("text", transient.DUCKDB_TEXTS)
def test_duckdb_by_text(text: str) -> None:
    """An error of input and output has no code; the same text in an error of a statement tells nothing."""
    assert is_transient(duckdb.IOException(f"IO Error: {text} here")) is True
    assert is_transient(duckdb.ParserException(f"Parser Error: {text} here")) is False


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        *((getattr(duckdb, name)("said"), True) for name in sorted(transient.DUCKDB_CLASSES)),
        (duckdb.IOException("IO Error: Could not connect to server error for HTTP GET to 'https://host/a'"), True),
        (duckdb.IOException("IO Error: No files found that match the pattern"), False),
        (duckdb.TransactionException("cannot start a transaction within a transaction"), False),
        (duckdb.ConstraintException("said"), False),
        (duckdb.OutOfMemoryException("said"), False),
    ],
    ids=str,
)
def test_duckdb_by_class(error: BaseException, expected: bool) -> None:  # noqa: FBT001
    """A lost connection passes; a missing file and a broken constraint do not."""
    assert is_transient(error) is expected


def test_duckdb_transactions_that_conflict() -> None:
    """Two sessions that change one row, or create one table, get DuckDB's own message."""
    with duckdb.connect() as connection, connection.cursor() as one, connection.cursor() as other:
        connection.execute("create table t as select 1 as i")
        one.execute("begin; update t set i = 2; create table made (i int)")
        other.execute("begin")
        row = raised(lambda: other.execute("update t set i = 3"))
        other.execute("rollback; begin")
        table = raised(lambda: other.execute("create table made (i int)"))
    assert [is_transient(error) for error in (row, table)] == [True, True]


def test_duckdb_http_status() -> None:
    """A remote file answers with a status."""
    error = duckdb.HTTPException("HTTP Error")
    for status, expected in ((503, True), (429, True), (404, False)):
        error.status_code = status
        assert is_transient(error) is expected


class DriverError(Exception):
    """An error of a driver that this package does not know."""

    def __init__(self, *arguments: object, **attributes: object) -> None:
        super().__init__(*arguments)
        self.__dict__.update(attributes)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (DriverError("40001", "[40001] deadlock victim (1205)"), True),
        (DriverError({"S": "FATAL", "C": "57P01", "M": "said"}), True),
        (DriverError("said", sqlstate="08S01"), True),
        (DriverError("42S02", "[42S02] Invalid object name"), False),
        (DriverError("said", code=503), True),
        (DriverError("said", code=404), False),
        (DriverError("said", response=DriverError(status_code=429)), True),
        # The attributes of Athena, Trino, BigQuery and AWS.
        (DriverError("said", retryable=True), True),
        (DriverError("said", retryable=False, code=503), False),
        (DriverError("said", error_type="INSUFFICIENT_RESOURCES", error_name="CLUSTER_OUT_OF_MEMORY"), True),
        (DriverError("said", error_type="USER_ERROR", error_name="SYNTAX_ERROR"), False),
        (DriverError("said", code=403, errors=[{"reason": "rateLimitExceeded"}]), True),
        (DriverError("said", code=403, errors=[{"reason": "accessDenied"}]), False),
        (DriverError("said", code=503, errors=[{"reason": "other"}]), True),
        (DriverError("said", response={"Error": {"Code": "ThrottlingException"}}), True),
        (DriverError("said", response={"Error": {"Code": "InvalidRequestException"}}), False),
        (ConnectionResetError("said"), True),
        (TimeoutError("said"), True),
        (DriverError("said"), False),
        (ValueError("said"), False),
    ],
    ids=repr,
)
def test_other_drivers(error: BaseException, expected: bool) -> None:  # noqa: FBT001
    """SQLSTATE, HTTP status and Python's own errors of the network tell the same for every driver."""
    assert is_transient(error) is expected


def test_sqlite_by_the_name_of_its_code(tmp_path: Path) -> None:
    """A file that another process writes passes; a table that does not exist does not."""
    file = tmp_path / "warehouse.db"
    with closing(sqlite3.connect(file)) as one, closing(sqlite3.connect(file, timeout=0)) as other:
        one.execute("begin exclusive")
        locked = raised(lambda: other.execute("create table t (i int)"))
        one.rollback()
        missing = raised(lambda: other.execute("select * from nowhere"))
    assert [is_transient(error) for error in (locked, missing)] == [True, False]


@pytest.mark.parametrize(("declared", "expected"), [([DriverError], True), ([KeyError], False)])
def test_what_an_adapter_retries(declared: list[type[Exception]], expected: bool) -> None:  # noqa: FBT001
    """Where nothing else tells, what the adapter names to dbt's connection manager does."""

    def connect() -> Any:
        raise DriverError("said")

    def opened() -> Any:
        return BaseConnectionManager.retry_connection(
            cast("Any", Connection)("another", None, None),
            connect=connect,
            logger=AdapterLogger("Another"),
            retryable_exceptions=declared,
            retry_limit=0,
        )

    assert is_transient(raised(opened)) is expected


def test_the_outermost_error_that_tells_decides() -> None:
    """A data error that came while a lost session was handled is a data error."""
    error = duckdb.ConstraintException("duplicate")
    error.__context__ = duckdb.ConnectionException("closed")
    assert is_transient(error) is False
