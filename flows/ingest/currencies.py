"""The currencies child: ISO 4217 list one in, table reference.currencies out.

Started by `weekly-full-refresh` and `jaffle-shop`, or on its own.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from importlib.util import find_spec
from xml.etree import ElementTree as ET

from flow_of_flows import ChildReport, ConfigurationError, DataError, PlatformError, child
from flow_of_flows.load import Column, ColumnType, Row, Table, Value, download, in_pages, load, public
from flow_of_flows.settings import Settings
from flow_of_flows.warehouse import from_settings
from flows.settings import Currencies, CurrenciesSource

CURRENCIES = Table(
    "reference",
    "currencies",
    ("code",),
    (Column("code", ColumnType.TEXT), Column("numeric_code", ColumnType.TEXT), Column("name", ColumnType.TEXT)),
)
CODE = re.compile(r"[A-Z]{3}")
NUMBER = re.compile(r"[0-9]{3}")
HINT = "look at what this address serves; try again later, or set FLOWS_CURRENCIES_SOURCE to snapshot"
logger = logging.getLogger(__name__)


@child("currencies")
def currencies(source: CurrenciesSource | None = None) -> ChildReport:
    """Load the currencies of ISO 4217; all of them, merged by code.

    Args:
        source: iso (the live list) or snapshot (the list in pycountry); default: FLOWS_CURRENCIES_SOURCE.
    """
    settings, own = Settings.load(), Currencies.load()
    live = (source or own.source) is CurrenciesSource.ISO
    where = public(own.url) if live else "snapshot of pycountry"
    logger.info("%s: reading %s", CURRENCIES.name, where)
    loaded = load(
        CURRENCIES,
        lambda _: in_pages(parse(download(own.url), where) if live else _snapshot()),
        target=from_settings(settings),
        source=where,
    )
    return loaded.report(CURRENCIES, where)


def parse(content: bytes, where: str) -> Iterator[Row]:
    """Currencies of SIX's list-one.xml, which has one entry per country: equal entries once.

    Args:
        content: the file.
        where: its address, for messages.

    Raises:
        PlatformError: not whole XML, or XML without a table of currencies.
        DataError: an entry with a code or number that is none.
    """
    try:
        root = ET.fromstring(content)  # noqa: S314 - expat refuses entity bombs since 2.4.1, external ones are not read
    except ET.ParseError as error:
        raise PlatformError(f"The ISO 4217 list is not XML: {error}", location=where, hint=HINT) from error
    if root.find("CcyTbl") is None:
        raise PlatformError("The ISO 4217 list has no currencies", location=where, hint=HINT)
    seen: set[tuple[Value, ...]] = set()
    for entry in root.iter("CcyNtry"):
        # Antarctica and a few others have no currency.
        if entry.find("Ccy") is None:
            continue
        row = _row(entry, where)
        if tuple(row.values()) not in seen:
            seen.add(tuple(row.values()))
            yield row


def _row(entry: ET.Element, where: str) -> Row:
    code, number, name = (entry.findtext(tag, "").strip() for tag in ("Ccy", "CcyNbr", "CcyNm"))
    if not (CODE.fullmatch(code) and NUMBER.fullmatch(number) and name):
        country = entry.findtext("CtryNm", "a country without name")
        raise DataError(f"The ISO 4217 entry of {country} lacks a code, number or name", location=where, hint=HINT)
    return {"code": code, "numeric_code": number, "name": name}


def _snapshot() -> Iterator[Row]:
    if find_spec("pycountry") is None:
        todo = "install the extra `ingest` of flow-of-flows, or set FLOWS_CURRENCIES_SOURCE to iso"
        raise ConfigurationError("pycountry, which carries the snapshot of ISO 4217, is not installed", hint=todo)
    import pycountry

    for currency in pycountry.currencies:
        yield {"code": currency.alpha_3, "numeric_code": currency.numeric, "name": currency.name}
