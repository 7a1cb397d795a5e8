"""Files at an address: typed rows of a CSV file one at a time, or the bytes of a public reference file.

The first bad line stops the reading. Messages name file, line and column and never show the cell, which may be
personal data.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING

import httpx

from flow_of_flows.errors import ConfigurationError, DataError, FlowsError, PlatformError
from flow_of_flows.load.table import Column, ColumnType, Row, Table, Value
from flow_of_flows.redaction import public
from flow_of_flows.retrying import RetryPolicy

if TYPE_CHECKING:
    from _csv import Reader


# The driver of an fsspec scheme, in an extra of this package.
EXTRAS = {"s3": "s3", "s3a": "s3", "http": "http", "https": "http"}
# Libraries below fsspec whose errors are no OSError.
REMOTE_LIBRARIES = frozenset({"botocore", "aiobotocore", "aiohttp"})

EXPORT_TODO = "correct the file at its source, then run this again"

TIMEOUT_SECONDS = 20.0
# Reference files have a few megabytes at most; an answer of another size is something else.
LIMIT_BYTES = 64 * 1024 * 1024
# A failed download is tried again.
RETRY = RetryPolicy(first=0.5, factor=4.0, attempts=3)


@contextmanager
def open_text(address: str, setting: str) -> Iterator[io.TextIOWrapper]:
    """Open a file as UTF-8 text, with or without byte order mark, read as a stream.

    Args:
        address: a path or any fsspec URL.
        setting: where the address comes from, for messages.

    Raises:
        ConfigurationError: unknown scheme, missing driver, no such folder.
        DataError: no such file.
        PlatformError: it is there and cannot be read.
    """
    import fsspec  # type: ignore[import-untyped] # has no types

    where = public(address)
    try:
        with fsspec.open(address, "rb") as file:
            yield io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    except ImportError as error:
        raise _driver(address) from error
    except FileNotFoundError as error:
        # fsspec's HTTP driver says so of a server that does not answer, too.
        if isinstance(error.__cause__, OSError):
            raise _unreadable(error.__cause__, where) from error
        raise _missing(address, setting) from error
    except OSError as error:
        raise _unreadable(error, where) from error
    except FlowsError:
        raise
    except Exception as error:
        raise _remote(error, where, setting) from error


def _unreadable(error: OSError, where: str) -> PlatformError:
    reason = error.strerror or type(error).__name__
    todo = "check the address and that this account may read it"
    return PlatformError(f"The source cannot be read: {reason}", location=where, hint=todo)


def _driver(address: str) -> ConfigurationError:
    scheme = address.partition("://")[0]
    extra = EXTRAS.get(scheme)
    todo = f"install the extra `{extra}` of flow-of-flows" if extra else f"install the fsspec driver for {scheme}://"
    return ConfigurationError(f"No driver to read {scheme}:// is installed", location=public(address), hint=todo)


def _missing(address: str, setting: str) -> FlowsError:
    """Tell a missing folder (a setting) from a missing file (the export)."""
    from fsspec.core import url_to_fs  # type: ignore[import-untyped] # has no types

    folder, _, name = public(address).rpartition("/")
    files, path = url_to_fs(address)
    parent = path.rpartition("/")[0]
    if files.exists(parent) or "://" in address:
        found = _names(files, parent)
        return DataError(
            f"{name} is not in the source; found there: {found}", location=folder, hint=f"export {name} to that folder"
        )
    return ConfigurationError("The source folder does not exist", location=folder, hint=f"correct {setting}")


def _names(files: object, folder: str) -> str:
    try:
        listed: list[str] = files.ls(folder, detail=False)  # type: ignore[attr-defined]
    except (OSError, NotImplementedError):
        return "nothing that can be listed"
    return ", ".join(sorted(path.rstrip("/").rpartition("/")[2] for path in listed)[:20]) or "nothing"


def _remote(error: Exception, where: str, setting: str) -> Exception:
    if isinstance(error, ValueError) and "Protocol not known" in str(error):
        return ConfigurationError(
            "The scheme of the source is unknown", location=where, hint=f"set {setting} to a folder or an fsspec URL"
        )
    if type(error).__module__.partition(".")[0] in REMOTE_LIBRARIES:
        todo = "check the address, the network and the credentials"
        return PlatformError(f"The source cannot be read: {type(error).__name__}", location=where, hint=todo)
    return error


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


def download(url: str) -> bytes:
    """Fetch a file.

    Raises:
        ConfigurationError: it is not a URL, or nothing is there.
        PlatformError: unreachable, too slow, too large, or a server error, after three attempts.
    """
    return RETRY.call(lambda: _attempt(url), again=lambda error: isinstance(error, PlatformError))


def _attempt(url: str) -> bytes:
    where = public(url)
    try:
        with httpx.stream("GET", url, timeout=TIMEOUT_SECONDS, follow_redirects=True) as response:
            if response.status_code >= HTTPStatus.BAD_REQUEST:
                raise _refused(response.status_code, where)
            return _body(response, where)
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise ConfigurationError(
            "The feed's address is not a URL", location=where, hint="correct the setting"
        ) from error
    except httpx.HTTPError as error:
        todo = "check the network of this machine, or set the source to `snapshot`"
        raise PlatformError(f"The feed cannot be reached: {type(error).__name__}", location=where, hint=todo) from error


def _body(response: httpx.Response, where: str) -> bytes:
    content = bytearray()
    for chunk in response.iter_bytes():
        content += chunk
        if len(content) > LIMIT_BYTES:
            todo = "check what this address serves"
            raise PlatformError(f"The feed is larger than {LIMIT_BYTES:,} bytes", location=where, hint=todo)
    return bytes(content)


def _refused(status: int, where: str) -> ConfigurationError | PlatformError:
    what = f"The feed answered HTTP {status} {HTTPStatus(status).phrase if status in set(HTTPStatus) else ''}".rstrip()
    if status in {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}:
        return ConfigurationError(what, location=where, hint="correct the address in the settings")
    return PlatformError(what, location=where, hint="try again later, or set the source to `snapshot`")
