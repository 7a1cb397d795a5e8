"""Where a raw table goes: a target and a database name in, a dlt destination out.

Credentials stay in memory: dlt gets them as an object, never as a connection string or a file.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, Literal

from flow_of_flows.load.table import Table
from flow_of_flows.retrying import RetryPolicy
from flow_of_flows.warehouse.snowflake_target import SnowflakeTarget
from flow_of_flows.warehouse.targets import DuckDBTarget, PostgresTarget, Target

if TYPE_CHECKING:
    from dlt import Pipeline
    from dlt.common.destination import Destination
    from psycopg2.extensions import cursor as Cursor  # noqa: N812 - a class, whatever its name

CONNECT_SECONDS = 10
RETRY = RetryPolicy(first=1.0, attempts=3)
# Any number that nothing else in the database locks.
FIRST_LOAD_LOCK = 4_217_001


def destination(target: Target, database: str) -> Destination[Any, Any]:
    """Return the dlt destination of one raw database.

    Args:
        target: the warehouse.
        database: raw database: the DuckDB file, or the database of Postgres or Snowflake.
    """
    import dlt

    match target:
        case DuckDBTarget():
            target.folder.mkdir(parents=True, exist_ok=True)
            return dlt.destinations.duckdb(credentials=str(target.raw_file(database)))
        case PostgresTarget():
            from flow_of_flows.load.postgres_destination import by_values

            return by_values(target, timeout=CONNECT_SECONDS)
        case SnowflakeTarget():
            return _snowflake(target)


def _snowflake(target: SnowflakeTarget) -> Destination[Any, Any]:
    import dlt
    from dlt.destinations.impl.snowflake.configuration import SnowflakeCredentials

    arguments = target.connection()
    credentials = SnowflakeCredentials()
    credentials.host, credentials.database = arguments.pop("account"), arguments.pop("database")
    credentials.username, credentials.password = arguments.pop("user", None), arguments.pop("password", None)
    # dlt's check of what is needed goes by this one.
    credentials.authenticator = arguments.get("authenticator")
    # What it has no field for, the key's bytes among it, is handed to the connector as it is.
    credentials.query = arguments
    return dlt.destinations.snowflake(
        credentials=credentials,
        # Else rows stay in the table's stage for good.
        keep_staged_files=False,
        # dlt 1.31 forgets to say so, and would delete and insert in two transactions.
        supports_transactions=True,
    )


def file_format(target: Target) -> Literal["jsonl", "insert_values"]:
    """Return the fastest format that dlt writes without pyarrow.

    Measured with 100,000 orders: DuckDB reads jsonl in 0.7 s and insert statements in 22 s; Postgres takes insert
    statements in 1.4 s and csv in 0.8 s, but dlt then counts each field as a row. Snowflake takes no insert statements
    from dlt; it copies files.
    """
    return "insert_values" if isinstance(target, PostgresTarget) else "jsonl"


def file_format_without_rows(target: Target) -> Literal["jsonl", "insert_values"]:
    """Return the format for a load without rows: DuckDB cannot read the columns of an empty JSON file."""
    return "jsonl" if isinstance(target, SnowflakeTarget) else "insert_values"


def copy(pipeline: Pipeline, target: Target) -> None:
    """Load what was normalized.

    Snowflake has no lock that a first load could take. Where two children make one schema or table at once, one of them
    may be told that it exists; the next try finds it.

    Args:
        pipeline: dlt's pipeline.
        target: the warehouse.
    """
    if not isinstance(target, SnowflakeTarget):
        pipeline.load()
        return
    from dlt.pipeline.helpers import retry_schema_update

    RETRY.call(pipeline.load, again=retry_schema_update())


@contextmanager
def first_load_alone(target: Target, table: Table) -> Iterator[None]:
    """Let one child at a time make schemas and tables in a database that children share.

    `create schema if not exists` and `create table if not exists` fail in Postgres when two sessions run them at once.
    A table that is already there needs no lock, so later loads run side by side.

    Args:
        target: the warehouse.
        table: the table that is loaded.
    """
    if not isinstance(target, PostgresTarget):
        yield
        return
    import psycopg2

    with closing(psycopg2.connect(**target.connection(timeout=CONNECT_SECONDS))) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            if not _made(cursor, table):
                # Ends with the session, also when this process is killed.
                cursor.execute("select pg_advisory_lock(%s)", (FIRST_LOAD_LOCK,))
            yield


def _made(cursor: Cursor, table: Table) -> bool:
    names = [f"{schema}.{table.name}" for schema in (table.schema, f"{table.schema}_staging")]
    cursor.execute("select to_regclass(%s) is not null and to_regclass(%s) is not null", names)
    answer = cursor.fetchone()
    return answer is not None and bool(answer[0])
