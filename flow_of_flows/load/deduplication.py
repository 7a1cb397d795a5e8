"""Keeps the newest row of each key of one load: pages of rows in, pages without duplicates out.

Rows wait in a SQLite file on disk, so that memory stays constant. The warehouse cannot decide it: it has no order of
rows that tie, and does not count what it drops.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import date, datetime
from pathlib import Path

from flow_of_flows.load.table import ColumnType, Pages, Row, Table, Value, in_pages

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
