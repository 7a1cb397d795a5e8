"""The European Central Bank's file formats: bytes of a feed in, rates out. Pure.

History: a zip with one CSV, a column per currency, "N/A" where there was no rate. 90 days: XML, a `Cube` per day.
"""

from __future__ import annotations

import csv
import io
import math
import re
import zipfile
import zlib
from collections.abc import Iterator
from datetime import date
from xml.etree import ElementTree as ET

from flow_of_flows import DataError, PlatformError
from flow_of_flows.load import Row

CURRENCY = re.compile(r"[A-Z]{3}")
NO_RATE = frozenset({"", "N/A"})
TODO = "look at what this address serves; try again later, or set FLOWS_RATES_SOURCE to snapshot"


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
        raise DataError("The ECB's history has no column Date first", location=where, hint=TODO)
    currencies = [(place, name) for place, name in enumerate(header) if CURRENCY.fullmatch(name)]
    for cells in reader:
        line = f"{where}, line {reader.line_num}"
        if not cells or (day := _day(cells[0], line)) < first_day:
            continue
        for place, currency in currencies:
            if place < len(cells) and (text := cells[place].strip()) not in NO_RATE:
                yield _rate(day, currency, text, line)


def recent(content: bytes, where: str, first_day: date) -> Iterator[Row]:
    """Rates of eurofxref-hist-90d.xml or eurofxref-daily.xml from a day on; none where the feed lists no day.

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
        raise PlatformError(f"The ECB's answer is not XML: {error}", location=where, hint=TODO) from error
    if root.find("{*}Cube") is None:
        raise PlatformError("The ECB's answer has no rates", location=where, hint=TODO)
    for cubes in root.findall(".//{*}Cube[@time]"):
        if (day := _day(cubes.get("time", ""), where)) < first_day:
            continue
        for cube in cubes.findall("{*}Cube"):
            yield _rate(day, cube.get("currency", ""), cube.get("rate", ""), where)


def _unzip(content: bytes, where: str) -> str:
    if content.lstrip()[:1] == b"<":
        raise PlatformError("The ECB's answer is a web page, not a zip", location=where, hint=TODO)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return archive.read(archive.namelist()[0]).decode("utf-8-sig")
    except (zipfile.BadZipFile, zlib.error, EOFError, IndexError, UnicodeDecodeError) as error:
        raise PlatformError("The ECB's answer is not a whole zip", location=where, hint=TODO) from error


def _day(text: str, where: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise DataError("A day of the ECB's rates is not an ISO 8601 date", location=where, hint=TODO) from error


def _rate(day: date, currency: str, text: str, where: str) -> Row:
    try:
        rate = float(text)
    except ValueError:
        rate = math.nan
    if not (CURRENCY.fullmatch(currency) and math.isfinite(rate) and rate > 0):
        raise DataError(
            f"The rate of {currency or 'no currency'} on {day} is not a number above 0", location=where, hint=TODO
        )
    return {"rate_date": day, "currency": currency, "rate": rate}
