"""Sources without rows and sources with duplicates, through the ingest children into each warehouse."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flow_of_flows.errors import DataError
from flows.ingest import shop
from tests.fixtures import dbt_projects
from tests.fixtures.dbt_builds import build, built
from tests.fixtures.dbt_projects import Place
from tests.fixtures.environment import set_variables
from tests.fixtures.shop_files import ORDERS, load, put, rows

HEADER = ORDERS.splitlines(keepends=True)[0]
PAYMENTS = "id,order_id,payment_method,amount,currency,paid_at,updated_at\n"
CUSTOMERS = "id,first_name,last_name,email,country,created_at,updated_at\n"
Read = Callable[[str], list[tuple[Any, ...]]]


@pytest.fixture(params=["duckdb", "postgres", "snowflake"])
def read(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Read:
    """A warehouse as the target of the settings; reads the rows of a query on the orders' database."""
    if request.param == "duckdb":
        return lambda sql: rows(tmp_path, "raw_orders", sql)
    database = request.getfixturevalue(request.param)
    set_variables(monkeypatch, database.environment())
    read: Read = database.execute
    return read


def test_a_source_without_rows_makes_the_table(tmp_path: Path, read: Read) -> None:
    """A file that has only a header leaves an empty table with its columns, again and again, and says so."""
    folder = put(tmp_path / "in", "raw_orders", HEADER)
    first, second = load(shop.raw_orders, folder), load(shop.raw_orders, folder)
    assert first.summary == second.summary == "raw_orders: 0 rows loaded (new or changed), 0 in the table"
    assert first.warnings == ("raw_orders: the source has no rows",)
    assert read("select id, customer_id, ordered_at, status, updated_at from jaffle_shop.raw_orders") == []
    assert read("select status from jaffle_shop._dlt_loads") == [(0,), (0,)]


def test_rows_come_after_a_source_without_rows(tmp_path: Path, read: Read) -> None:
    """The first rows land in the table that an empty source has made, with their types."""
    folder = put(tmp_path / "in", "raw_orders", HEADER)
    load(shop.raw_orders, folder)
    put(folder, "raw_orders", ORDERS)
    assert load(shop.raw_orders, folder).facts["rows_loaded"] == 2
    assert read("select id, status from jaffle_shop.raw_orders order by id") == [(1, "completed"), (2, "placed")]


def test_a_source_without_rows_leaves_the_rows_before(tmp_path: Path, read: Read) -> None:
    """Rows are merged by their key, so an empty source takes none away."""
    folder = put(tmp_path / "in", "raw_orders", ORDERS)
    load(shop.raw_orders, folder)
    put(folder, "raw_orders", HEADER)
    report = load(shop.raw_orders, folder)
    assert report.summary == "raw_orders: 0 rows loaded (new or changed), 2 in the table"
    assert read("select id from jaffle_shop.raw_orders order by id") == [(1,), (2,)]


def test_the_newest_of_rows_with_one_key_stays(tmp_path: Path, read: Read) -> None:
    """The greatest `updated_at` wins wherever it stands; of rows that tie, the last; the report counts the others."""
    lines = (
        "1,7,2025-01-01,shipped,2025-01-02T00:00:00.5Z\n",
        "1,7,2025-01-01,placed,2025-01-02T00:00:00Z\n",
        "2,8,2025-01-01,placed,2025-01-02T01:00:00+02:00\n",
        "2,8,2025-01-01,shipped,2025-01-01T23:30:00Z\n",
        "3,9,2025-01-01,placed,2025-01-03\n",
        "3,9,2025-01-01,returned,2025-01-03\n",
        "4,9,2025-01-01,placed,2025-01-03\n",
        "4,9,2025-01-01,placed,2025-01-03\n",
    )
    report = load(shop.raw_orders, put(tmp_path / "in", "raw_orders", HEADER + "".join(lines)))
    assert report.summary == "raw_orders: 4 rows loaded (new or changed), 4 in the table, 4 duplicates dropped"
    assert report.facts["rows_dropped"] == 4
    assert read("select id, status from jaffle_shop.raw_orders order by id") == [
        (1, "shipped"),
        (2, "shipped"),
        (3, "returned"),
        (4, "placed"),
    ]


@pytest.mark.parametrize(
    ("table", "column", "rest"),
    [
        ("raw_customers", "first_name", "Li,a@example.com,DE,2026-01-01"),
        ("raw_payments", "payment_method", "100,EUR,2026-01-01"),
    ],
)
def test_each_table_keeps_its_newest_row(table: str, column: str, rest: str, tmp_path: Path) -> None:
    """The order of two versions in the file does not matter."""
    customers = table == "raw_customers"
    child: Any = shop.raw_customers if customers else shop.raw_payments
    start = "1," if customers else "1,1,"
    old, new = f"{start}old,{rest},2026-01-01\n", f"{start}new,{rest},2026-01-02\n"
    for folder, text in (("one", old + new), ("two", new + old)):
        report = load(child, put(tmp_path / folder, table, (CUSTOMERS if customers else PAYMENTS) + text))
        assert report.facts["rows_dropped"] == 1
        assert report.summary.endswith(", 1 in the table, 1 duplicate dropped")
        assert rows(tmp_path, table, f"select {column} from jaffle_shop.{table}") == [("new",)]


def test_dbt_builds_on_a_source_without_rows(tmp_path: Path, place: Place) -> None:
    """Models that read the empty table are built, and have no rows."""
    load(shop.raw_orders, put(tmp_path / "in", "raw_orders", HEADER))
    reads = "select orders.id from {{ source('jaffle_shop', 'raw_orders') }} as orders"
    place.use({**dbt_projects.NEEDS_RAW, "models/second.sql": reads})
    assert build(freshness="off").summary == "5 dbt nodes: 1 pass, 4 success"
    assert built(place)["second"] == []


@pytest.mark.parametrize("text", ["", "\n", "\ufeff"])
def test_a_file_without_a_header_is_refused(tmp_path: Path, text: str) -> None:
    """It has no rows either, and does not say which columns it would have."""
    with pytest.raises(DataError, match="the file is empty"):
        load(shop.raw_orders, put(tmp_path / "in", "raw_orders", text))
