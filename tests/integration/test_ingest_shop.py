"""The shop children load real CSV files into real DuckDB files, again and again."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import fsspec  # type: ignore[import-untyped] # has no types
import pytest

from flows.ingest import shop
from tests.fixtures.shop_files import ORDERS, load, put, rows

CUSTOMERS = """id,first_name,last_name,email,country,created_at,updated_at
7,Ada,,ada@example.com,DE,2024-01-01T00:00:00Z,2024-01-01T00:00:00Z
"""


def test_sample_lands_in_three_files(tmp_path: Path) -> None:
    """Without a source the sample is made and loaded, each table into its own file with the promised columns."""
    reports = [load(child) for child in (shop.raw_customers, shop.raw_orders, shop.raw_payments)]
    assert [report.summary for report in reports] == [
        "raw_customers: 120 rows loaded (new or changed), 120 in the table",
        "raw_orders: 1,040 rows loaded (new or changed), 1,040 in the table",
        "raw_payments: 1,254 rows loaded (new or changed), 1,254 in the table",
    ]
    columns = "select column_name, data_type from information_schema.columns where table_name = '{0}'"
    columns += " and table_schema = '{1}'"
    timestamp = "TIMESTAMP WITH TIME ZONE"
    assert rows(tmp_path, "raw_payments", columns.format("raw_payments", "jaffle_shop")) == [
        ("id", "BIGINT"),
        ("order_id", "BIGINT"),
        ("payment_method", "VARCHAR"),
        ("amount", "BIGINT"),
        ("currency", "VARCHAR"),
        ("paid_at", timestamp),
        ("updated_at", timestamp),
        ("_dlt_load_id", "VARCHAR"),
        ("_dlt_id", "VARCHAR"),
    ]


def test_report_has_facts(tmp_path: Path) -> None:
    """The report counts rows and names the source; nothing is wrong."""
    report = load(shop.raw_orders, put(tmp_path / "in", "raw_orders", ORDERS))
    facts = {**report.facts, "seconds": 0}
    counts = {"rows_loaded": 2, "rows_dropped": 0, "rows_total": 2}
    assert facts == {**counts, "seconds": 0, "source": f"{tmp_path}/in/raw_orders.csv"}
    assert report.warnings == ()


def test_second_load_changes_nothing(tmp_path: Path) -> None:
    """The same input twice leaves the same rows, and each run leaves its row in _dlt_loads."""
    folder = put(tmp_path / "in", "raw_orders", ORDERS)
    everything = "select * exclude (_dlt_id) from jaffle_shop.raw_orders order by id"
    load(shop.raw_orders, folder)
    before = rows(tmp_path, "raw_orders", everything)
    assert load(shop.raw_orders, folder).facts["rows_loaded"] == 0
    assert rows(tmp_path, "raw_orders", everything) == before
    loads = "select schema_name, status from jaffle_shop._dlt_loads"
    assert rows(tmp_path, "raw_orders", loads) == [("raw_orders", 0), ("raw_orders", 0)]


def test_customers_are_merged_by_id(tmp_path: Path) -> None:
    """A customer who comes again replaces the old row; an empty field is NULL."""
    folder = put(tmp_path / "in", "raw_customers", CUSTOMERS)
    load(shop.raw_customers, folder)
    put(folder, "raw_customers", CUSTOMERS.replace("Ada", "Eda") + CUSTOMERS.splitlines()[1].replace("7,", "8,", 1))
    assert load(shop.raw_customers, folder).facts["rows_total"] == 2
    names = rows(
        tmp_path, "raw_customers", "select id, first_name, last_name from jaffle_shop.raw_customers order by id"
    )
    assert names == [(7, "Eda", None), (8, "Ada", None)]


def test_only_rows_from_the_cursor_on_are_loaded(tmp_path: Path) -> None:
    """A row before the cursor is left alone; changed and new rows, also at the very cursor, are loaded."""
    folder = put(tmp_path / "in", "raw_orders", ORDERS)
    load(shop.raw_orders, folder)
    older = ORDERS.replace("completed", "returned")
    put(
        folder,
        "raw_orders",
        older.replace("placed", "shipped") + "3,9,2025-01-03T10:00:00Z,placed,2025-01-06T00:00:00Z\n"
        "4,9,2025-01-04T10:00:00Z,placed,2025-01-07T00:00:00Z\n",
    )
    assert load(shop.raw_orders, folder).facts["rows_loaded"] == 3
    status = rows(tmp_path, "raw_orders", "select id, status from jaffle_shop.raw_orders order by id")
    assert status == [(1, "completed"), (2, "shipped"), (3, "placed"), (4, "placed")]


def test_newest_of_two_rows_with_one_id_wins(tmp_path: Path) -> None:
    """A key that comes twice in a file leaves one row, the newest."""
    newer = "1,7,2025-01-01T10:00:00Z,returned,2025-01-09T00:00:00Z\n"
    header, *lines = ORDERS.splitlines(keepends=True)
    load(shop.raw_orders, put(tmp_path / "in", "raw_orders", header + newer + "".join(lines)))
    status = rows(tmp_path, "raw_orders", "select id, status from jaffle_shop.raw_orders order by id")
    assert status == [(1, "returned"), (2, "placed")]


def test_another_source_is_read_in_full(tmp_path: Path) -> None:
    """The cursor of one source does not hide older rows of another; the report says so."""
    load(shop.raw_orders, put(tmp_path / "one", "raw_orders", ORDERS))
    other = put(tmp_path / "two", "raw_orders", ORDERS.replace("2025-", "2019-").replace("completed", "returned"))
    report = load(shop.raw_orders, other)
    assert report.facts["rows_loaded"] == 2
    assert report.warnings == (
        "raw_orders: the source is another one than last time: read in full; rows only the old one had are still there",
    )
    assert load(shop.raw_orders, other).warnings == ()


def test_unknown_columns_are_left_out_and_named(tmp_path: Path) -> None:
    """A column the table lacks is a warning, whatever the order of columns; a byte order mark is not part of a name."""
    text = "\ufeffnote,id,customer_id,ordered_at,status,updated_at\nx,1,7,2025-01-01,placed,2025-01-01\n\n"
    report = load(shop.raw_orders, put(tmp_path / "in", "raw_orders", text))
    assert report.warnings == ("raw_orders.csv: columns left out because the table has none: note",)
    assert rows(tmp_path, "raw_orders", "select id, status from jaffle_shop.raw_orders") == [(1, "placed")]


@pytest.mark.parametrize("scheme", ["memory", "file"])
def test_source_is_any_fsspec_address(tmp_path: Path, scheme: str) -> None:
    """A source is read from any file system that fsspec knows."""
    folder = f"{scheme}://{tmp_path}/in"
    with fsspec.open(f"{folder}/raw_orders.csv", "w", auto_mkdir=True) as file:
        file.write(ORDERS)
    assert load(shop.raw_orders, folder).facts["rows_loaded"] == 2


def test_source_of_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FLOWS_SHOP_SOURCE is the source when the parameter is not given; a relative folder is allowed."""
    put(tmp_path / "in", "raw_orders", ORDERS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FLOWS_SHOP_SOURCE", "in")
    assert load(shop.raw_orders).facts["rows_total"] == 2


def test_load_leaves_nothing_but_the_warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither home folder, current folder nor temporary folder has a file more; dlt's own settings are not read."""
    for name in ("home", "here", "tmp"):
        (tmp_path / "empty" / name).mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path / "empty" / "home"))
    monkeypatch.setenv("DATA_WRITER__DISABLE_COMPRESSION", "nonsense")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "empty" / "tmp"))
    monkeypatch.chdir(tmp_path / "empty" / "here")
    load(shop.raw_orders, put(tmp_path / "in", "raw_orders", ORDERS))
    assert [names for _, _, names in os.walk(tmp_path / "empty") if names] == []
    assert [path.name for path in (tmp_path / "home" / "warehouse").iterdir()] == ["raw_orders.duckdb"]
