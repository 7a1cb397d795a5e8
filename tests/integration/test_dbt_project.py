"""The baked dbt project, built by the real dbt on DuckDB, Postgres and fakesnow from raw tables with known rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.dbt_commands import Command, Left, copy_project, run_dbt
from tests.fixtures.postgres import PostgresDatabase, fresh_database
from tests.fixtures.raw_tables import SHOP, RawTables
from tests.fixtures.snowflake import SnowflakeDatabase, fresh_snowflake

COLUMNS = {
    "customers": "customer_id, full_name, country, first_order_at, most_recent_order_at, number_of_orders, "
    "lifetime_value_eur",
    "orders": "order_id, customer_id, ordered_at, status, number_of_payments, amount_eur",
    "payments": "payment_id, order_id, payment_method, currency, amount, amount_eur, rate_date, paid_at",
    "daily_revenue": "revenue_date, number_of_orders, number_of_payments, revenue_eur",
}
Rows = list[tuple[Any, ...]]

# A returned order, a payment that came late for an old order, a corrected payment, a new order, and Monday's rates,
# which also concern a payment that was there before.
LATER = SHOP.changed(
    raw_orders=[
        (1, 1, "2025-03-06 10:00:00+00", "returned", "2025-03-11 10:00:00+00"),
        (7, 3, "2025-03-11 09:00:00+00", "placed", "2025-03-11 09:00:00+00"),
    ],
    raw_payments=[
        (3, 2, "bank_transfer", 3300, "USD", "2025-03-09 23:30:00+00", "2025-03-11 08:00:00+00"),
        (8, 5, "coupon", 250, "EUR", "2025-03-03 08:00:00+00", "2025-03-11 08:00:00+00"),
        (9, 7, "credit_card", 1250, "USD", "2025-03-11 09:00:00+00", "2025-03-11 09:00:00+00"),
    ],
    exchange_rates=[("2025-03-10", "USD", 1.25)],
).aged(raw_orders=timedelta(days=5), raw_payments=timedelta(days=2))


@dataclass(frozen=True)
class Warehouse:
    """One place to build in: how to write raw tables, how to point dbt at it, how to read and change it."""

    write: Callable[[RawTables], None]
    environment: Mapping[str, str]
    execute: Callable[[str], Rows]

    def marts(self, schema: str) -> dict[str, Rows]:
        """All rows of the four marts, in the order of their keys."""
        return {
            name: self.execute(f"select {columns} from {schema}.{name} order by 1") for name, columns in COLUMNS.items()
        }


@dataclass(frozen=True)
class Built:
    """What two days of builds left behind."""

    first: dict[str, Rows]
    incremental: dict[str, Rows]
    refreshed: dict[str, Rows]
    build: Left
    fresh: Left
    stale: Left


def _duckdb(folder: Path) -> Warehouse:
    import duckdb

    def execute(sql: str) -> Rows:
        with closing(duckdb.connect(folder / "warehouse.duckdb")) as connection:
            return connection.execute(sql).fetchall()

    environment = {"DBT_TARGET": "duckdb", "DBT_DUCKDB_FOLDER": str(folder)}
    return Warehouse(lambda tables: tables.write_duckdb(folder), environment, execute)


def _postgres(database: PostgresDatabase) -> Warehouse:
    environment = {**database.environment(), "DBT_ENV_SECRET_PGPASSWORD": database.password}
    return Warehouse(
        lambda tables: tables.write(lambda _table, statements: database.execute(*statements)),
        environment,
        database.execute,
    )


def _snowflake(database: SnowflakeDatabase) -> Warehouse:
    return Warehouse(
        lambda tables: tables.write(lambda _table, statements: database.execute(*statements)),
        database.dbt_environment(),
        database.execute,
    )


@pytest.fixture(scope="class")
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    """Two days: a first build, then changed raw tables built both in increments and in full."""
    target: str = request.cls.target
    folder = tmp_path_factory.mktemp(target)
    with ExitStack() as stack:
        if target == "duckdb":
            warehouse = _duckdb(folder / "warehouse")
        elif target == "snowflake":
            warehouse = _snowflake(fresh_snowflake(request.getfixturevalue("snowflake_server")))
        else:
            server = request.getfixturevalue("postgres_server")
            warehouse = _postgres(stack.enter_context(fresh_database(server)))
        yield _two_days(warehouse, copy_project(folder))


def _two_days(warehouse: Warehouse, project: Path) -> Built:
    warehouse.write(SHOP)
    _, build, fresh = run_dbt(
        project, warehouse.environment, Command(["deps"]), Command(["build"]), Command(["source", "freshness"])
    )
    assert set(build.statuses().values()) == {"success", "pass", "no-op"}, build.output
    first = warehouse.marts("analytics")

    # A mark on an order that nothing changes on the second day: an increment leaves it alone.
    warehouse.execute("update analytics.orders set status = 'marked' where order_id = 6 returning order_id")
    warehouse.write(LATER)
    again, refresh, stale = run_dbt(
        project,
        warehouse.environment,
        Command(["build"]),
        Command(["build", "--full-refresh"], {"DBT_SCHEMA": "refreshed"}),
        Command(["source", "freshness"]),
    )
    for second in (again, refresh):
        assert set(second.statuses().values()) == {"success", "pass", "no-op"}, second.output
    return Built(first, warehouse.marts("analytics"), warehouse.marts("refreshed"), build, fresh, stale)


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text)


class Marts:
    """What holds on every warehouse. One class per warehouse, so that `pytest --dist loadscope` builds each once."""

    def test_payments_are_converted_with_the_latest_rate_on_or_before_their_day(self, built: Built) -> None:
        """Weekends take Friday's rate, euros stay as they are, and a day ends at midnight UTC."""
        friday = date(2025, 3, 7)
        assert built.first["payments"] == [
            (1, 1, "credit_card", "USD", Decimal("11.00"), Decimal("10.00"), friday, _at("2025-03-07 12:00:00")),
            (2, 1, "gift_card", "EUR", Decimal("5.00"), Decimal("5.00"), None, _at("2025-03-07 12:00:00")),
            (3, 2, "bank_transfer", "USD", Decimal("22.00"), Decimal("20.00"), friday, _at("2025-03-09 23:30:00")),
            (4, 3, "credit_card", "GBP", Decimal("8.00"), Decimal("10.00"), friday, _at("2025-03-09 09:00:00")),
            (5, 2, "coupon", "CHF", Decimal("9.99"), Decimal("10.52"), friday, _at("2025-03-09 22:30:00")),
            (6, 4, "credit_card", "USD", Decimal("11.00"), Decimal("10.00"), friday, _at("2025-03-10 08:00:00")),
            (
                7,
                5,
                "credit_card",
                "USD",
                Decimal("1.05"),
                Decimal("1.00"),
                date(2025, 3, 6),
                _at("2025-03-06 08:00:00"),
            ),
        ]

    def test_orders_sum_their_payments(self, built: Built) -> None:
        """Each order carries its payments in euros; an order that is not paid carries none."""
        assert built.first["orders"] == [
            (1, 1, _at("2025-03-06 10:00:00"), "completed", 2, Decimal("15.00")),
            (2, 1, _at("2025-03-07 23:30:00"), "shipped", 2, Decimal("30.52")),
            (3, 2, _at("2025-03-09 09:00:00"), "returned", 1, Decimal("10.00")),
            (4, 2, _at("2025-03-10 07:00:00"), "placed", 1, Decimal("10.00")),
            (5, 2, _at("2025-03-01 07:00:00"), "completed", 1, Decimal("1.00")),
            (6, 1, _at("2025-03-02 07:00:00"), "placed", 0, Decimal("0.00")),
        ]

    def test_customers_know_their_orders_and_value(self, built: Built) -> None:
        """Returned orders count as orders but not as value; a customer without orders is there."""
        ada = (_at("2025-03-02 07:00:00"), _at("2025-03-07 23:30:00"), 3, Decimal("45.52"))
        grace = (_at("2025-03-01 07:00:00"), _at("2025-03-10 07:00:00"), 3, Decimal("11.00"))
        assert built.first["customers"] == [
            (1, "Ada Lovelace", "GB", *ada),
            (2, "Grace", "US", *grace),
            (3, None, None, None, None, 0, Decimal("0.00")),
        ]

    def test_daily_revenue_leaves_out_returned_orders(self, built: Built) -> None:
        """Money counts on the day it came in, unless its order went back."""
        assert built.first["daily_revenue"] == [
            (date(2025, 3, 6), 1, 1, Decimal("1.00")),
            (date(2025, 3, 7), 1, 2, Decimal("15.00")),
            (date(2025, 3, 9), 1, 2, Decimal("30.52")),
            (date(2025, 3, 10), 1, 1, Decimal("10.00")),
        ]

    def test_an_increment_takes_in_every_kind_of_change(self, built: Built) -> None:
        """Changed orders, late and corrected payments and late rates arrive; what did not change is left alone."""
        assert built.incremental["orders"] == [
            (1, 1, _at("2025-03-06 10:00:00"), "returned", 2, Decimal("15.00")),
            (2, 1, _at("2025-03-07 23:30:00"), "shipped", 2, Decimal("40.52")),
            (3, 2, _at("2025-03-09 09:00:00"), "returned", 1, Decimal("10.00")),
            (4, 2, _at("2025-03-10 07:00:00"), "placed", 1, Decimal("8.80")),
            (5, 2, _at("2025-03-01 07:00:00"), "completed", 2, Decimal("3.50")),
            (6, 1, _at("2025-03-02 07:00:00"), "marked", 0, Decimal("0.00")),
            (7, 3, _at("2025-03-11 09:00:00"), "placed", 1, Decimal("10.00")),
        ]

    def test_increments_equal_a_full_refresh(self, built: Built) -> None:
        """Building day by day and building at once give the same rows, but for the mark that the test made."""
        unmarked = [
            (*row[:3], "placed", *row[4:]) if row[3] == "marked" else row for row in built.incremental["orders"]
        ]
        assert {**built.incremental, "orders": unmarked} == built.refreshed

    def test_fresh_sources_pass(self, built: Built) -> None:
        """A source is fresh if its load succeeded lately, whatever is in it."""
        assert built.fresh.statuses() == {f"source.flow_of_flows.{name}.{name}": "pass" for name in SHOP.rows}

    def test_stale_sources_are_found(self, built: Built) -> None:
        """Two days without a successful load warn, five are an error; a load that failed just now is none."""
        assert built.stale.statuses() == {
            "source.flow_of_flows.raw_customers.raw_customers": "pass",
            "source.flow_of_flows.raw_orders.raw_orders": "error",
            "source.flow_of_flows.raw_payments.raw_payments": "warn",
            "source.flow_of_flows.exchange_rates.exchange_rates": "pass",
            "source.flow_of_flows.currencies.currencies": "pass",
        }


class TestOnDuckDB(Marts):
    """The project on DuckDB, each raw table a file of its own."""

    target = "duckdb"


class TestOnPostgres(Marts):
    """The project on Postgres, everything in one database."""

    target = "postgres"


class TestOnSnowflake(Marts):
    """The project on Snowflake, as fakesnow's server is one."""

    target = "snowflake"
