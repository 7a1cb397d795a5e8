"""Reads from the warehouse: a target and SQL in, rows out."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from flow_of_flows.errors import DataError, FlowsError, PlatformError
from flow_of_flows.messages import one_line
from flow_of_flows.warehouse.snowflake_target import SnowflakeTarget, session
from flow_of_flows.warehouse.stoppable import stoppable
from flow_of_flows.warehouse.targets import DuckDBTarget, PostgresTarget, Target
from flow_of_flows.warehouse.transient import is_transient

LOCK_WAIT_SECONDS = 60.0
CONNECT_SECONDS = 10
TRANSIENT_TODO = "see whether the warehouse is up and has room for this session; then run this again"


@dataclass(frozen=True)
class Rows:
    """The answer to a query: column names, and one tuple per row."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]

    def records(self) -> list[dict[str, Any]]:
        """One dict per row."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


def query(target: Target, sql: str) -> Rows:
    """Run one SELECT.

    Args:
        target: the warehouse.
        sql: one statement.

    Raises:
        DataError: the warehouse refused the query (a table or column is missing).
        ConfigurationError: Snowflake refuses the credentials, or lacks what they name.
        PlatformError: the warehouse cannot be reached, or a fault of it ended the query.
    """
    match target:
        case DuckDBTarget():
            return _query_duckdb(target, sql)
        case PostgresTarget():
            with stoppable(target):
                return _query_postgres(target, sql)
        case SnowflakeTarget():
            return _query_snowflake(target, sql)


def probe(target: Target) -> str:
    """Look whether the warehouse answers, and say what it is.

    Raises:
        PlatformError: it does not.
    """
    if isinstance(target, DuckDBTarget) and not target.file.exists():
        return f"{target.describe()} (dbt-build will make it)"
    ask = "select current_version()" if isinstance(target, SnowflakeTarget) else "select version()"
    version = query(target, ask).rows[0][0]
    return f"{target.describe()} ({target.name} {version})"


def _query_duckdb(target: DuckDBTarget, sql: str) -> Rows:
    import duckdb

    if not target.file.exists():
        raise DataError(f"No warehouse at {target.file}", location=str(target.file), hint="run dbt-build first")
    try:
        connection = _open_duckdb(target)
        with connection:
            cursor = connection.execute(sql)
            names = tuple(column[0] for column in cursor.description or ())
            return Rows(names, tuple(cursor.fetchall()))
    except duckdb.IOException as error:
        raise PlatformError(
            f"DuckDB cannot open the warehouse: {one_line(error)}", location=str(target.file)
        ) from error
    except duckdb.Error as error:
        raise _refused(error, target) from error


def _open_duckdb(target: DuckDBTarget) -> Any:
    """Open read-only, waiting for a writer to let go of the file's lock."""
    import duckdb

    deadline = time.monotonic() + LOCK_WAIT_SECONDS
    while True:
        try:
            return duckdb.connect(str(target.file), read_only=True)
        except duckdb.IOException as error:
            if "lock" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def _query_postgres(target: PostgresTarget, sql: str) -> Rows:
    import psycopg2

    try:
        connection = psycopg2.connect(**target.connection(timeout=CONNECT_SECONDS))
    except psycopg2.OperationalError as error:
        raise PlatformError(
            f"Postgres refused the connection: {one_line(error)}",
            location=target.describe(),
            hint="check PGHOST, PGPORT, PGUSER, PGPASSWORD and PGDATABASE, and that the server is up",
        ) from error
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql)
            names = tuple(column.name for column in cursor.description or ())
            return Rows(names, tuple(cursor.fetchall()))
    except psycopg2.Error as error:
        raise _refused(error, target) from error
    finally:
        connection.close()


def _query_snowflake(target: SnowflakeTarget, sql: str) -> Rows:
    with session(target) as connection, connection.cursor() as cursor:
        cursor.execute(sql)
        # Names without quotes come in capitals.
        names = tuple(column.name.lower() for column in cursor.description)
        return Rows(names, tuple(tuple(row) for row in cursor.fetchall()))


def _refused(error: Exception, target: Target) -> FlowsError:
    if is_transient(error):
        return PlatformError(
            f"A fault of the warehouse ended the query: {one_line(error)}",
            location=target.describe(),
            hint=TRANSIENT_TODO,
        )
    return DataError(
        f"The warehouse refused the query: {one_line(error)}",
        location=target.describe(),
        hint="run dbt-build, or correct the query",
    )
