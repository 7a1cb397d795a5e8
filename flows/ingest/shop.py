"""The shop children: CSV files of a folder or URL in, tables raw_customers, raw_orders, raw_payments out.

Started by the `staging` pipeline or on their own, each in its own process.
"""

from __future__ import annotations

import logging
from pathlib import Path

from flow_of_flows import ChildReport, child
from flow_of_flows.load import Column, ColumnType, CsvFile, Table, file_in, in_pages, load, public
from flow_of_flows.settings import Settings
from flow_of_flows.warehouse import from_settings
from flows.ingest.sample import sample_source
from flows.settings import Shop

SCHEMA = "jaffle_shop"
CUSTOMERS = Table(
    SCHEMA,
    "raw_customers",
    ("id",),
    (
        Column("id", ColumnType.BIGINT),
        Column("first_name", ColumnType.TEXT, required=False),
        Column("last_name", ColumnType.TEXT, required=False),
        Column("email", ColumnType.TEXT, required=False),
        Column("country", ColumnType.TEXT, required=False),
        Column("created_at", ColumnType.TIMESTAMP),
        Column("updated_at", ColumnType.TIMESTAMP),
    ),
    order="updated_at",
)
ORDERS = Table(
    SCHEMA,
    "raw_orders",
    ("id",),
    (
        Column("id", ColumnType.BIGINT),
        Column("customer_id", ColumnType.BIGINT),
        Column("ordered_at", ColumnType.TIMESTAMP),
        Column("status", ColumnType.TEXT, required=False),
        Column("updated_at", ColumnType.TIMESTAMP),
    ),
    cursor="updated_at",
    order="updated_at",
)
PAYMENTS = Table(
    SCHEMA,
    "raw_payments",
    ("id",),
    (
        Column("id", ColumnType.BIGINT),
        Column("order_id", ColumnType.BIGINT),
        Column("payment_method", ColumnType.TEXT, required=False),
        Column("amount", ColumnType.BIGINT),
        Column("currency", ColumnType.TEXT, required=False),
        Column("paid_at", ColumnType.TIMESTAMP),
        Column("updated_at", ColumnType.TIMESTAMP),
    ),
    cursor="updated_at",
    order="updated_at",
)
logger = logging.getLogger(__name__)


@child("raw-customers")
def raw_customers(source: str | None = None) -> ChildReport:
    """Load the shop's customers; all of them, merged by id.

    Args:
        source: folder or URL (any fsspec address) of raw_customers.csv; default: FLOWS_SHOP_SOURCE, else the sample.
    """
    return _ingest(CUSTOMERS, source, Settings.load())


@child("raw-orders")
def raw_orders(source: str | None = None) -> ChildReport:
    """Load the shop's orders; those updated since the last load, merged by id.

    Args:
        source: folder or URL (any fsspec address) of raw_orders.csv; default: FLOWS_SHOP_SOURCE, else the sample.
    """
    return _ingest(ORDERS, source, Settings.load())


@child("raw-payments")
def raw_payments(source: str | None = None) -> ChildReport:
    """Load the shop's payments; those updated since the last load, merged by id.

    Args:
        source: folder or URL (any fsspec address) of raw_payments.csv; default: FLOWS_SHOP_SOURCE, else the sample.
    """
    return _ingest(PAYMENTS, source, Settings.load())


def _ingest(table: Table, source: str | None, settings: Settings) -> ChildReport:
    folder = source or Shop.load().source or str(sample_source(settings.home))
    if "://" not in folder:
        folder = str(Path(folder).expanduser().absolute())
    file = CsvFile(file_in(folder, f"{table.name}.csv"), table, setting="the parameter source or FLOWS_SHOP_SOURCE")
    logger.info("%s: reading %s", table.name, public(file.address))
    loaded = load(table, lambda _: in_pages(file.rows()), target=from_settings(settings), source=public(file.address))
    ignored = ", ".join(file.ignored)
    warnings = (f"{table.name}.csv: columns left out because the table has none: {ignored}",) if ignored else ()
    return loaded.report(table, public(file.address), warnings)
