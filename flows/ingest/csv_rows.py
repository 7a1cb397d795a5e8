"""A CSV file at any fsspec address in, typed rows out, one at a time; called by the shop children.

The first bad line stops the reading. Messages name file, line and column and never show the cell, which may be
personal data.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING

from flows.errors import DataError
from flows.ingest.address import public
from flows.ingest.cells import BadCellError, parse
from flows.ingest.open_text import open_text
from flows.ingest.table import Row, Table

if TYPE_CHECKING:
    from _csv import Reader

EXPORT_TODO = "correct the file at its source, then run this again"


class CsvFile:
    """One CSV file; `ignored` names the columns left out, known once the header was read."""

    def __init__(self, address: str, table: Table) -> None:
        self.address = address
        self.table = table
        self.ignored: tuple[str, ...] = ()

    def rows(self) -> Iterator[Row]:
        """Every row, typed.

        Raises:
            ConfigurationError: the address is wrong.
            DataError: the file is missing or not what the table needs.
            PlatformError: the address cannot be read.
        """
        with open_text(self.address) as text, closing(text):
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
        return DataError(f"{self.table.name}.csv: {what}", where=public(self.address), todo=todo)
