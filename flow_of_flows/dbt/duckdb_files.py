"""DuckDB's files around a dbt invocation: a DuckDB target in, files that can be opened out, and let go of afterwards.

DuckDB lets one process write a file; an attached file must exist; dbt keeps its file open.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flow_of_flows.errors import PlatformError
from flow_of_flows.settings import TargetName
from flow_of_flows.warehouse.reading import query
from flow_of_flows.warehouse.targets import DbtTarget, DuckDBTarget

LOCK_WAIT_SECONDS = 60.0
_POLL_SECONDS = 0.2
_HOLDER = re.compile(r"PID (\d+)")


@contextmanager
def ready(target: DbtTarget) -> Iterator[None]:
    """Files that dbt can open, inside; files that others can open, after.

    In the folder of the settings they are made where they are missing; elsewhere dbt makes its file itself.

    Raises:
        PlatformError: the folder cannot be written, or another process does not let go of a file.
    """
    own = target.known.folder if isinstance(target.known, DuckDBTarget) else None
    if own is not None:
        _create(own)
    for file in target.attached:
        # An empty file of an ingest child: dbt then names the missing table, which helps more than the missing file.
        if file.exists() or file.parent == own:
            _open(file, read_only=file.exists())
    if target.file is not None and (own is not None or target.file.exists()):
        _open(target.file, read_only=False)
    try:
        yield
    finally:
        release()


def _create(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PlatformError(
            f"The warehouse folder cannot be made: {error.strerror}",
            location=str(folder),
            hint="make the folder writable, or set FLOWS_WAREHOUSE_FOLDER to one that is",
        ) from error


def release() -> None:
    """Close dbt's connection to DuckDB; dbt's own clean-up leaves the file locked until the process ends."""
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager
    from dbt.adapters.factory import reset_adapters

    reset_adapters()  # type: ignore[no-untyped-call]
    DuckDBConnectionManager.close_all_connections()  # type: ignore[no-untyped-call]


def must_open(file: Path) -> None:
    """Open a file to read, and close it.

    Raises:
        PlatformError: it is not DuckDB's, or another process does not let go of it.
    """
    _open(file, read_only=True)


def _open(file: Path, *, read_only: bool) -> None:
    """Open and close the file, waiting for another process to let go of it."""
    import duckdb

    deadline = time.monotonic() + LOCK_WAIT_SECONDS
    while True:
        try:
            duckdb.connect(str(file), read_only=read_only).close()
        except duckdb.Error as error:
            if "lock" not in str(error):
                raise PlatformError(
                    f"DuckDB cannot open a file: {_first_line(error)}",
                    location=str(file),
                    hint="make the file readable and writable, or move it away and load again",
                ) from error
            if time.monotonic() >= deadline:
                raise _locked(file, error) from error
            time.sleep(_POLL_SECONDS)
        else:
            return


def _locked(file: Path, error: Exception) -> PlatformError:
    holder = _HOLDER.search(str(error))
    who = f"process {holder[1]}" if holder else "another process"
    return PlatformError(
        f"{who.capitalize()} has kept {file.name} locked for {LOCK_WAIT_SECONDS:g} s",
        location=str(file),
        hint=f"wait for {who} to end, or end it, and run again",
    )


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]


@contextmanager
def reachable(target: DbtTarget) -> Iterator[None]:
    """The warehouse, found to answer: one message instead of one per node.

    Raises:
        PlatformError: it does not.
    """
    if target.adapter == TargetName.DUCKDB:
        with ready(target):
            yield
        return
    # Any other connection is only dbt's to open: its message is the one of the adapter.
    if target.known is not None:
        query(target.known, "select 1")
    yield
