"""Loads one raw table: a table, a reader of rows and a target in, counts out.

dlt extracts everything before it loads anything, so a bad row leaves the warehouse as it was; the merge itself is one
transaction.
"""

from __future__ import annotations

import logging
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flow_of_flows.child_report import ChildReport
from flow_of_flows.load.destination import copy, destination, file_format, file_format_without_rows, first_load_alone
from flow_of_flows.load.errors import translated
from flow_of_flows.load.table import ColumnType, Pages, Reader, Row, Table, Value, in_pages
from flow_of_flows.warehouse.stoppable import stoppable
from flow_of_flows.warehouse.targets import Target

if TYPE_CHECKING:
    from dlt import Pipeline
    from dlt.common.pipeline import ExtractInfo
    from dlt.extract import DltResource

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Loaded:
    """What one load did.

    Attributes:
        rows_read: rows that the source gave.
        rows_dropped: those of them that were older than another one with the same key.
        rows_loaded: rows that are new or changed.
        rows_total: rows now in the table.
        seconds: how long it took.
        other_source: whether it read another source than the load before.
    """

    rows_read: int
    rows_dropped: int
    rows_loaded: int
    rows_total: int
    seconds: float
    other_source: bool

    def report(self, table: Table, source: str, warnings: tuple[str, ...] = ()) -> ChildReport:
        """Return the child's report.

        Args:
            table: the table that was loaded.
            source: where its rows are from, for people.
            warnings: of the report.
        """
        if self.other_source:
            note = "the source is another one than last time: read in full; rows only the old one had are still there"
            warnings = (*warnings, f"{table.name}: {note}")
        if not self.rows_read:
            warnings = (*warnings, f"{table.name}: the source has no rows")
        for warning in warnings:
            logger.warning(warning)
        plural = "s" if self.rows_dropped > 1 else ""
        dropped = f", {self.rows_dropped:,} duplicate{plural} dropped" if self.rows_dropped else ""
        return ChildReport(
            summary=f"{table.name}: {self.rows_loaded:,} rows loaded (new or changed), "
            f"{self.rows_total:,} in the table{dropped}",
            warnings=warnings,
            facts={
                "rows_loaded": self.rows_loaded,
                "rows_dropped": self.rows_dropped,
                "rows_total": self.rows_total,
                "seconds": round(self.seconds, 2),
                "source": source,
            },
        )


def load(table: Table, read: Reader, *, target: Target, source: str) -> Loaded:
    """Load what is new.

    Args:
        table: what to load.
        read: gives the rows; called with the last cursor.
        target: where to.
        source: where the rows come from, without credentials. Kept with the cursor: another source is read in full.

    Raises:
        FlowsError: what `read` raised, or a PlatformError when the warehouse cannot be written.
    """
    import dlt

    began = time.perf_counter()
    with translated(target, table), workspace() as folder, stoppable(target):
        pipeline = dlt.pipeline(
            table.name,
            pipelines_dir=folder,
            destination=destination(target, table.name),
            dataset_name=table.schema,
        )
        pipeline.sync_destination()
        other_source = _forget_other_source(pipeline, table, source)
        newest = NewestRows(table, Path(folder))
        extracted = pipeline.extract(
            _resource(table, lambda cursor: newest.pages(read(cursor)), source, target),
            schema=dlt.Schema(table.name),
            loader_file_format=file_format(target),
        )
        pipeline.normalize()
        with first_load_alone(target, table):
            copy(pipeline, target)
        return Loaded(
            rows_read=newest.rows_read,
            rows_dropped=newest.rows_dropped,
            rows_loaded=_extracted_rows(extracted, table),
            rows_total=_count(pipeline, table),
            seconds=time.perf_counter() - began,
            other_source=other_source,
        )


def _extracted_rows(extracted: ExtractInfo, table: Table) -> int:
    """Return the rows that dlt took from the source for a table."""
    return sum(
        int(metrics["table_metrics"][table.name].items_count)
        for package in extracted.metrics.values()
        for metrics in package
        if table.name in metrics["table_metrics"]
    )


def _resource(table: Table, read: Reader, source: str, target: Target) -> DltResource:
    import dlt

    columns: Any = {
        column.name: {"data_type": str(column.kind), "nullable": not column.required} for column in table.columns
    }
    if not table.cursor:
        return _decorated(table, columns, lambda: _marked(read(None), source, target))
    # Rows at the last cursor are compared in all columns: one that came late or changed is loaded, others are not.
    everything = tuple(column.name for column in table.columns)
    # dlt binds the cursor to a resource only when it is the default of a parameter.
    since: Any = dlt.sources.incremental(table.cursor, primary_key=everything)

    def newer(cursor: Any = since) -> Iterator[Any]:
        yield from _marked(read(cursor.last_value), source, target)

    return _decorated(table, columns, newer)


def _decorated(table: Table, columns: Any, rows: Callable[[], Iterator[Any]]) -> DltResource:
    import dlt

    return dlt.resource(
        rows, name=table.name, primary_key=table.key, write_disposition="merge", columns=columns, section=table.name
    )


def _marked(pages: Pages, source: str, target: Target) -> Iterator[Any]:
    """Yield the pages. Each run changes the state, so that it leaves a row in _dlt_loads, which shows the freshness.

    A source without rows makes the table, with the columns that are declared.
    """
    import dlt

    state = dlt.current.resource_state()
    state["source"], state["read_at"] = source, datetime.now(UTC).isoformat()
    if (first := next(pages, None)) is None:
        hints = dlt.mark.make_hints(file_format=file_format_without_rows(target))
        yield dlt.mark.with_hints(dlt.mark.materialize_table_schema(), hints)
        return
    yield first
    yield from pages


def _forget_other_source(pipeline: Pipeline, table: Table, source: str) -> bool:
    with pipeline.managed_state() as state:
        resources = state.get("sources", {}).get(table.name, {}).get("resources", {})
        known = resources.get(table.name, {})
        if known.get("source", source) == source:
            return False
        known.pop("incremental", None)
        return True


def _count(pipeline: Pipeline, table: Table) -> int:
    with pipeline.sql_client() as client:
        answer = client.execute_sql(f"select count(*) from {client.make_qualified_table_name(table.name)}")  # noqa: S608 - a constant
    return int(answer[0][0]) if answer else 0


# Nothing of the file outlives the load, so nothing has to be safe from a crash.
FAST = ("pragma journal_mode = off", "pragma synchronous = off", "pragma locking_mode = exclusive")
# What SQLite has no type for goes through ISO 8601. Moments are UTC, so their text has their order.
_FROM_TEXT: dict[ColumnType, Callable[[str], Value]] = {
    ColumnType.TIMESTAMP: datetime.fromisoformat,
    ColumnType.DATE: date.fromisoformat,
}


class NewestRows:
    """The rows of one load, one per key.

    Of two rows with one key the one with the greater order column stays; a row with NULL there is older than any other.
    Where both are equal, or the table declares no order, the row that came last stays.
    """

    def __init__(self, table: Table, folder: Path) -> None:
        self.rows_read = 0
        self.rows_dropped = 0
        self._table = table
        self._file = folder / "rows.sqlite"

    def pages(self, source: Pages) -> Pages:
        """Read the whole source, then yield its rows without duplicates."""
        with closing(sqlite3.connect(self._file, isolation_level=None)) as connection:
            for statement in (*FAST, self._create, "begin"):
                connection.execute(statement)
            for page in source:
                self.rows_read += len(page)
                connection.executemany(self._insert, map(self._values, page))
            (kept,) = connection.execute("select count(*) from kept").fetchone()
            self.rows_dropped = self.rows_read - kept
            yield from in_pages(self._rows(connection))

    @property
    def _names(self) -> list[str]:
        return [_quoted(column.name) for column in self._table.columns]

    @property
    def _create(self) -> str:
        return f"create table kept ({', '.join(self._names)}, primary key ({', '.join(map(_quoted, self._table.key))}))"

    @property
    def _insert(self) -> str:
        key = ", ".join(map(_quoted, self._table.key))
        changes = ", ".join(f"{name} = excluded.{name}" for name in self._names)
        order = _quoted(self._table.order) if self._table.order else None
        newer = f"where kept.{order} is null or excluded.{order} >= kept.{order}" if order else ""
        values = ", ".join("?" * len(self._names))
        return f"insert into kept values ({values}) on conflict ({key}) do update set {changes} {newer}"  # noqa: S608 - names of columns that are declared

    def _values(self, row: Row) -> list[str | int | float | None]:
        values = (row[column.name] for column in self._table.columns)
        return [value.isoformat() if isinstance(value, date) else value for value in values]

    def _rows(self, connection: sqlite3.Connection) -> Iterator[Row]:
        columns = [(column.name, _FROM_TEXT.get(column.kind)) for column in self._table.columns]
        for values in connection.execute("select * from kept order by rowid"):
            yield {
                name: parse(value) if parse and value is not None else value
                for (name, parse), value in zip(columns, values, strict=True)
            }


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


SETTINGS: dict[str, Any] = {
    "runtime": {
        "dlthub_telemetry": False,
        # Failures are translated to one sentence by `errors`; dlt's own log would add a traceback each time.
        "log_level": "CRITICAL",
        # SIGTERM belongs to Prefect, which ends the run at once; dlt would first finish its jobs.
        "intercept_signals": False,
    },
    # One source and a few files: a pool of processes or of 20 threads only costs time.
    "extract": {"workers": 1},
    # Its files live for a second on this disk; compressing them takes a fifth of the time.
    "normalize": {"workers": 1, "data_writer": {"disable_compression": True}},
    "load": {"workers": 2},
}


@contextmanager
def workspace() -> Iterator[str]:
    """Run dlt with these settings only, in a folder of its own; yields that folder."""
    from dlt.common.configuration.providers.dictionary import DictionaryProvider
    from dlt.common.configuration.providers.provider import ConfigProvider
    from dlt.common.runtime.run_context import RunContext, switched_run_context

    class Workspace(RunContext):
        def __init__(self, folder: str) -> None:
            super().__init__(folder)
            self._global_dir = folder

        @property
        def run_dir(self) -> str:
            return self._global_dir

        local_dir = data_dir = run_dir

        def initial_providers(self) -> list[ConfigProvider]:
            settings = DictionaryProvider()
            for key, value in SETTINGS.items():
                settings.set_value(key, value, None)
            return [settings]

    with tempfile.TemporaryDirectory(prefix="ingest-") as folder, switched_run_context(Workspace(folder)):
        logging.getLogger("dlt").propagate = False
        yield folder
