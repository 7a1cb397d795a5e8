"""A raw table as a frozen value: its columns, key and cursor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

Value = str | int | float | date | datetime | None
Row = dict[str, Value]
Pages = Iterator[list[Row]]
# Given the last cursor the warehouse has (None: read everything), pages of rows.
Reader = Callable[[date | datetime | None], Pages]

PAGE_ROWS = 5_000


class ColumnType(StrEnum):
    """Type of a column, in dlt's words."""

    BIGINT = "bigint"
    TEXT = "text"
    TIMESTAMP = "timestamp"
    DATE = "date"
    DOUBLE = "double"


@dataclass(frozen=True)
class Column:
    """One column; a required one has a value in every row."""

    name: str
    kind: ColumnType
    required: bool = True


@dataclass(frozen=True)
class Table:
    """One raw table.

    Attributes:
        schema: schema (dlt: dataset) it lives in.
        name: table, also the name of the dlt pipeline, the dlt schema and the DuckDB file.
        key: columns that identify a row; a row with a known key replaces the old one.
        columns: all columns that are read; others in a source are left out.
        cursor: column that tells what is new; None: every row is loaded every time.
        order: column whose greatest value is the newest of rows with one key; None: the last row is.
    """

    schema: str
    name: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    cursor: str | None = None
    order: str | None = None


def in_pages(rows: Iterator[Row]) -> Pages:
    """Group rows, so that dlt is called once a page and memory stays constant."""
    page: list[Row] = []
    for row in rows:
        page.append(row)
        if len(page) == PAGE_ROWS:
            yield page
            page = []
    if page:
        yield page
