"""One cell of text in, a typed value out; called for every cell a source gives. A refusal never carries the value."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from flow_of_flows.load.table import Column, ColumnType, Value

BIGINT_DIGITS = 19
BIGINT = range(-(2**63), 2**63)


class BadCellError(ValueError):
    """Which column is wrong and how, in a few words; whoever knows file and line turns it into a DataError."""


def parse(text: str, column: Column) -> Value:
    """The value of a cell; an empty cell is None.

    Raises:
        BadCellError: the text is no value of the column's kind, or a required value is empty.
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
    """An ISO 8601 moment; one without a zone is UTC."""
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise ValueError("is not an ISO 8601 timestamp") from None


_PARSERS: dict[ColumnType, Callable[[str], Value]] = {
    ColumnType.BIGINT: _bigint,
    ColumnType.TEXT: _text,
    ColumnType.TIMESTAMP: _timestamp,
}
