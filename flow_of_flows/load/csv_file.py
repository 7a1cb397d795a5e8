"""A CSV file at any fsspec address in, typed rows out, one at a time.

The first bad line stops the reading. Messages name file, line and column and never show the cell, which may be
personal data.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from flow_of_flows.address import public
from flow_of_flows.errors import DataError
from flow_of_flows.load.open_text import open_text
from flow_of_flows.load.table import Column, ColumnType, Row, Table, Value

if TYPE_CHECKING:
    from _csv import Reader

EXPORT_TODO = "correct the file at its source, then run this again"


class CsvFile:
    """One CSV file.

    Args:
        address: a path or any fsspec URL.
        table: the columns to read, with their types.
        setting: where the address comes from, for messages: `FLOWS_WEATHER_SOURCE`.

    Attributes:
        ignored: columns of the file that the table does not have; known once the header was read.
    """

    def __init__(self, address: str, table: Table, *, setting: str = "the address of the source") -> None:
        self.address = address
        self.setting = setting
        self.table = table
        self.ignored: tuple[str, ...] = ()

    def rows(self) -> Iterator[Row]:
        """Every row, typed.

        Raises:
            ConfigurationError: the address is wrong.
            DataError: the file is missing or not what the table needs.
            PlatformError: the address cannot be read.
        """
        with open_text(self.address, self.setting) as text, closing(text):
            csv.field_size_limit(FIELD_CHARACTERS)
            reader = csv.reader(text, strict=True)
            try:
                yield from self._typed(reader)
            except csv.Error as error:
                raise self._bad(f"line {reader.line_num} is not CSV: {error}") from error
            except UnicodeDecodeError as error:
                raise self._bad("the file is not UTF-8 text") from error

    def _typed(self, reader: Reader) -> Iterator[Row]:
        header = self._header(reader)
        wanted = [(column, header.index(column.name)) for column in self.table.columns]
        width = len(header)
        for cells in reader:
            if not cells:
                continue
            if len(cells) != width:
                raise self._bad(f"line {reader.line_num} has {len(cells)} fields, the header {width}")
            try:
                yield {column.name: parse(cells[place], column) for column, place in wanted}
            except BadCellError as error:
                raise self._bad(f"line {reader.line_num}, {error}") from error

    def _header(self, reader: Reader) -> list[str]:
        header = [name.strip() for name in next(reader, [])]
        if not header:
            raise self._bad("the file is empty", "export it with a header line")
        twice = sorted({name for name in header if header.count(name) > 1})
        if twice:
            raise self._bad(f"the header has column {', '.join(twice)} twice")
        missing = [column.name for column in self.table.columns if column.name not in header]
        if missing:
            raise self._bad(f"column {', '.join(missing)} is missing; the header has {', '.join(header)}")
        known = {column.name for column in self.table.columns}
        self.ignored = tuple(name for name in header if name not in known)
        return header

    def _bad(self, what: str, todo: str = EXPORT_TODO) -> DataError:
        return DataError(f"{self.table.name}.csv: {what}", location=public(self.address), hint=todo)


BIGINT_DIGITS = 19
# Of one field; Python's own limit is 131,072. An open quote would read the whole file into one field.
FIELD_CHARACTERS = 64 * 1024 * 1024
BIGINT = range(-(2**63), 2**63)
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


class BadCellError(ValueError):
    """Which column is wrong and how, in a few words; whoever knows file and line turns it into a DataError."""


def parse(text: str, column: Column) -> Value:
    """Return the value of a cell; an empty cell is None.

    Args:
        text: the cell.
        column: its column.

    Raises:
        BadCellError: the text is not a value of the column's kind, or a required value is empty.
    """
    if not text and not column.required:
        return None
    try:
        return _PARSERS[column.kind](text)
    except ValueError as error:
        raise BadCellError(f"column {column.name} {error if text else 'is empty'}") from None


def _bigint(text: str) -> int:
    # int() alone would take "1_000", " 7" and digits of other scripts.
    digits = text.removeprefix("-")
    if digits.isascii() and digits.isdigit() and len(digits) <= BIGINT_DIGITS and int(text) in BIGINT:
        return int(text)
    raise ValueError("is not a whole number")


def _text(text: str) -> str:
    if not text or "\0" in text:
        raise ValueError("has a NUL character, which no warehouse stores")
    return text


def _timestamp(text: str) -> datetime:
    """Return an ISO 8601 moment; one without a zone is UTC."""
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise ValueError("is not an ISO 8601 timestamp") from None


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError("is not an ISO 8601 date") from None


def _double(text: str) -> float:
    # float() alone would take "1_000", " 7", "nan" and digits of other scripts.
    if _NUMBER.fullmatch(text) and math.isfinite(number := float(text)):
        return number
    raise ValueError("is not a number")


_PARSERS: dict[ColumnType, Callable[[str], Value]] = {
    ColumnType.BIGINT: _bigint,
    ColumnType.TEXT: _text,
    ColumnType.TIMESTAMP: _timestamp,
    ColumnType.DATE: _date,
    ColumnType.DOUBLE: _double,
}
