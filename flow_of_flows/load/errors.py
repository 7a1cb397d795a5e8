"""Translates exceptions of dlt and the drivers into the errors of this package."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from flow_of_flows.errors import ConfigurationError, FlowsError, PlatformError
from flow_of_flows.load.table import Table
from flow_of_flows.messages import one_line
from flow_of_flows.warehouse import snowflake_target
from flow_of_flows.warehouse.reading import TRANSIENT_TODO
from flow_of_flows.warehouse.snowflake_target import SnowflakeTarget
from flow_of_flows.warehouse.targets import DuckDBTarget, Target
from flow_of_flows.warehouse.transient import is_transient

POSTGRES_TODO = "check PGHOST, PGPORT, PGUSER, PGPASSWORD and PGDATABASE, and that the server is up"
REFUSED_TODO = "give the role the right to make schemas and tables there, or correct what the message names"
DISK_TODO = (
    "free space or set FLOWS_HOME (FLOWS_WAREHOUSE_FOLDER, TMPDIR) to a folder that can be written; then run this again"
)
LOCK_TODO = "end the other process that has the file open, then run this again"


@contextmanager
def translated(target: Target, table: Table) -> Iterator[None]:
    """Raise one clear error instead of dlt's; a `FlowsError` inside dlt's comes out as it was.

    Args:
        target: the warehouse that is loaded.
        table: the table that is loaded.
    """
    from dlt.common.exceptions import DltException

    expected: tuple[type[Exception], ...] = (DltException, OSError, sqlite3.OperationalError, *_drivers(target))
    try:
        yield
    except FlowsError:
        raise
    except expected as error:
        causes = tuple(_chain(error))
        ours = next((cause for cause in causes if isinstance(cause, FlowsError)), None)
        raise (ours or _ours(causes, target, table)) from error


def _drivers(target: Target) -> tuple[type[Exception], ...]:
    if isinstance(target, DuckDBTarget):
        import duckdb

        return (duckdb.Error,)
    if isinstance(target, SnowflakeTarget):
        import snowflake.connector

        return (snowflake.connector.Error,)
    import psycopg2

    return (psycopg2.Error,)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and its causes, outermost first; dlt keeps the root cause in several attributes instead."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        current = waiting.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        inner = (getattr(current, name, None) for name in ("exception", "dbapi_exception", "__cause__", "__context__"))
        waiting.extend(one for one in inner if isinstance(one, BaseException))


def _ours(causes: tuple[BaseException, ...], target: Target, table: Table) -> FlowsError:
    disk = next((cause for cause in causes if isinstance(cause, (OSError, sqlite3.OperationalError))), None)
    drivers = _drivers(target)
    driver = next((cause for cause in reversed(causes) if isinstance(cause, drivers)), None)
    if driver is not None:
        return _refused(driver, target, table)
    if disk is not None:
        return _full(disk, target, table)
    return PlatformError(
        f"dlt could not load {table.name}: {_first_line(causes[-1])}",
        location=_where(target, table),
        hint="see the log of the run; nothing was changed in the table",
    )


def _full(disk: OSError | sqlite3.OperationalError, target: Target, table: Table) -> PlatformError:
    if isinstance(disk, OSError):
        where, said = str(disk.filename or _where(target, table)), disk.strerror or str(disk)
    else:
        # The rows that wait for the end of the source are in a temporary file.
        where, said = tempfile.gettempdir(), str(disk)
    return PlatformError(f"{table.name} cannot be written: {said}", location=where, hint=DISK_TODO)


def _refused(driver: BaseException, target: Target, table: Table) -> FlowsError:
    message = _first_line(driver)
    if isinstance(target, SnowflakeTarget):
        return _refused_by_snowflake(driver, target, table)
    if not isinstance(target, DuckDBTarget):
        import psycopg2

        todo = POSTGRES_TODO if isinstance(driver, psycopg2.OperationalError) else REFUSED_TODO
        if is_transient(driver) and getattr(driver, "pgcode", None):
            todo = TRANSIENT_TODO
        return PlatformError(f"Postgres refused {table.name}: {message}", location=target.describe(), hint=todo)
    todo = LOCK_TODO if "lock" in message else DISK_TODO
    return PlatformError(f"DuckDB cannot write {table.name}: {message}", location=_where(target, table), hint=todo)


def _refused_by_snowflake(driver: BaseException, target: SnowflakeTarget, table: Table) -> FlowsError:
    error = snowflake_target.refused(driver, target)
    if isinstance(error, (ConfigurationError, PlatformError)):
        return error
    said = one_line(driver)
    return PlatformError(f"Snowflake refused {table.name}: {said}", location=target.describe(), hint=REFUSED_TODO)


def _where(target: Target, table: Table) -> str:
    return str(target.raw_file(table.name)) if isinstance(target, DuckDBTarget) else target.describe()


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
