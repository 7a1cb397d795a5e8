"""The pure parts of the ingest hop: addresses, cells, and the formats of the ECB and ISO 4217."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from flow_of_flows.errors import DataError, PlatformError
from flow_of_flows.load.files import BadCellError, parse
from flow_of_flows.load.table import Column, ColumnType, Value
from flow_of_flows.redaction import file_in, public
from flows.ingest import currencies, exchange_rates
from tests.fixtures.feeds import DAILY, ENTRY, ISO, zipped

FIRST = date(2025, 1, 1)


@pytest.mark.parametrize(
    ("folder", "address"),
    [
        ("/data/shop", "/data/shop/a.csv"),
        ("s3://bucket/shop/", "s3://bucket/shop/a.csv"),
        ("https://host/shop?sig=x", "https://host/shop/a.csv?sig=x"),
    ],
)
def test_file_in(folder: str, address: str) -> None:
    """A file's address keeps scheme and query of its folder."""
    assert file_in(folder, "a.csv") == address


def test_public_address_has_no_credentials() -> None:
    """User, password and query are never shown."""
    assert public("https://me:secret@host:8443/shop/a.csv?sig=secret#x") == "https://host:8443/shop/a.csv"


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("-42", ColumnType.BIGINT, -42),
        ("Zoë", ColumnType.TEXT, "Zoë"),
        ("2025-01-02T03:04:05Z", ColumnType.TIMESTAMP, datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2025-01-02T03:04:05+02:00", ColumnType.TIMESTAMP, datetime(2025, 1, 2, 1, 4, 5, tzinfo=UTC)),
        ("2025-01-02 03:04:05", ColumnType.TIMESTAMP, datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2025-01-02", ColumnType.DATE, date(2025, 1, 2)),
        ("-1.5e3", ColumnType.DOUBLE, -1500.0),
    ],
)
def test_cell(text: str, kind: ColumnType, value: Value) -> None:
    """A good cell is typed; a moment without a zone is UTC."""
    assert parse(text, Column("c", kind)) == value


def test_empty_cell_is_none_where_it_may_be() -> None:
    """An empty optional cell is NULL."""
    assert parse("", Column("c", ColumnType.TEXT, required=False)) is None


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("02.01.2025", ColumnType.DATE, "column c is not an ISO 8601 date"),
        ("nan", ColumnType.DOUBLE, "column c is not a number"),
        ("1_000", ColumnType.DOUBLE, "column c is not a number"),
        ("", ColumnType.BIGINT, "column c is empty"),
        ("", ColumnType.TEXT, "column c is empty"),
        ("1_000", ColumnType.BIGINT, "column c is not a whole number"),
        ("1.5", ColumnType.BIGINT, "column c is not a whole number"),
        ("9223372036854775808", ColumnType.BIGINT, "column c is not a whole number"),
        ("a\0b", ColumnType.TEXT, "column c has a NUL character, which no warehouse stores"),
        ("31.12.2025", ColumnType.TIMESTAMP, "column c is not an ISO 8601 timestamp"),
        ("0001-01-01T00:00:00+14:00", ColumnType.TIMESTAMP, "column c is not an ISO 8601 timestamp"),
    ],
)
def test_bad_cell(text: str, kind: ColumnType, message: str) -> None:
    """A bad cell says column and reason, not the value."""
    with pytest.raises(BadCellError, match=f"^{message}$"):
        parse(text, Column("c", kind))


def test_history_skips_missing_rates_and_earlier_days() -> None:
    """The history gives one row per rate, without N/A and without days before the first."""
    content = zipped("Date,USD,SEK,\n2025-01-02,1.03,N/A,\n2024-12-31,1.04,11.4,\n")
    assert list(exchange_rates.history(content, "zip", FIRST)) == [
        {"rate_date": date(2025, 1, 2), "currency": "USD", "rate": 1.03}
    ]


def test_recent_gives_days_from_the_first() -> None:
    """The 90-day file gives one row per rate, from the first day on."""
    content = DAILY.format(rate="1.03").encode()
    assert list(exchange_rates.recent(content, "xml", FIRST)) == [
        {"rate_date": date(2025, 1, 3), "currency": "USD", "rate": 1.03}
    ]


def test_recent_without_days_has_no_rows() -> None:
    """A feed that lists no day is the feed all the same."""
    assert list(exchange_rates.recent(b"<Envelope><Cube></Cube></Envelope>", "xml", FIRST)) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            zipped("Date,USD\n2025-01-02,much\n"),
            "The rate of USD on 2025-01-02 is not a number above 0. Where: zip, line 2.",
        ),
        (
            zipped("Date,USD\n2025-01-02,-1\n"),
            "The rate of USD on 2025-01-02 is not a number above 0. Where: zip, line 2.",
        ),
        (zipped("Date,USD\n2025-13-02,1\n"), "A day of the ECB's rates is not an ISO 8601 date. Where: zip, line 2."),
        (zipped("Day,USD\n2025-01-02,1\n"), "The ECB's history has no column Date first. Where: zip."),
    ],
)
def test_bad_history(content: bytes, message: str) -> None:
    """A bad rate, day or header names its line."""
    with pytest.raises(DataError) as caught:
        list(exchange_rates.history(content, "zip", FIRST))
    assert str(caught.value) == f"{message} Next: {exchange_rates.HINT}."


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<html>maintenance</html>", "The ECB's answer is a web page, not a zip. Where: zip."),
        (zipped("Date,USD\n" * 900)[:500], "The ECB's answer is not a whole zip. Where: zip."),
        (b"", "The ECB's answer is not a whole zip. Where: zip."),
    ],
)
def test_history_that_is_no_zip(content: bytes, message: str) -> None:
    """A web page or a truncated zip is the operator's business."""
    with pytest.raises(PlatformError) as caught:
        list(exchange_rates.history(content, "zip", FIRST))
    assert str(caught.value) == f"{message} Next: {exchange_rates.HINT}."


def test_recent_that_is_no_feed() -> None:
    """Truncated XML, XML without rates and a bad rate are refused."""
    with pytest.raises(PlatformError, match="The ECB's answer is not XML"):
        list(exchange_rates.recent(DAILY.encode()[:200], "xml", FIRST))
    with pytest.raises(PlatformError, match="The ECB's answer has no rates"):
        list(exchange_rates.recent(b"<html/>", "xml", FIRST))
    with pytest.raises(DataError, match="The rate of USD on 2025-01-03 is not a number above 0"):
        list(exchange_rates.recent(DAILY.format(rate="nan").encode(), "xml", FIRST))


def test_currencies_are_listed_once() -> None:
    """Each currency of the ISO list comes once; an entry without a currency is passed over."""
    entries = ENTRY.format("FRANCE", "Euro", "EUR", "978") + ENTRY.format("SPAIN", "Euro", "EUR", "978")
    content = ISO.format(entries + "<CcyNtry><CtryNm>ANTARCTICA</CtryNm></CcyNtry>").encode()
    assert list(currencies.parse(content, "xml")) == [{"code": "EUR", "numeric_code": "978", "name": "Euro"}]


def test_bad_currencies() -> None:
    """HTML, an empty list and a bad entry are refused, each with its own sentence."""
    with pytest.raises(PlatformError, match="The ISO 4217 list is not XML"):
        list(currencies.parse(b"<html><br></html>", "xml"))
    with pytest.raises(PlatformError, match="The ISO 4217 list has no currencies"):
        list(currencies.parse(b"<html/>", "xml"))
    with pytest.raises(DataError, match="The ISO 4217 entry of FRANCE lacks a code, number or name"):
        list(currencies.parse(ISO.format(ENTRY.format("FRANCE", "Euro", "EUR", "")).encode(), "xml"))
