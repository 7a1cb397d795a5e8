"""The ingest children and `flows doctor` on Snowflake, as fakesnow's server is one."""

from __future__ import annotations

from pathlib import Path

import pytest

from flow_of_flows.errors import PlatformError
from flow_of_flows.load import destination
from flow_of_flows.retrying import RetryPolicy
from flow_of_flows.settings import Settings
from flow_of_flows.warehouse.reading import probe, query
from flow_of_flows.warehouse.targets import from_settings
from flows.ingest import shop
from tests.fixtures.environment import set_variables
from tests.fixtures.shop_files import ORDERS, load, put
from tests.fixtures.snowflake import SnowflakeDatabase


def test_load_twice(tmp_path: Path, snowflake: SnowflakeDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading twice leaves the same rows, typed, and two loads; the second loads nothing."""
    set_variables(monkeypatch, snowflake.environment())
    folder = put(tmp_path / "in", "raw_orders", ORDERS)
    assert [load(shop.raw_orders, folder).facts["rows_loaded"] for _ in range(2)] == [2, 0]
    types = "select column_name, data_type from information_schema.columns where table_schema = 'JAFFLE_SHOP'"
    assert snowflake.execute(f"{types} and table_name = 'RAW_ORDERS' order by ordinal_position")[:5] == [
        ("ID", "NUMBER"),
        ("CUSTOMER_ID", "NUMBER"),
        ("ORDERED_AT", "TIMESTAMP_TZ"),
        ("STATUS", "TEXT"),
        ("UPDATED_AT", "TIMESTAMP_TZ"),
    ]
    loads = "select schema_name, status from jaffle_shop._dlt_loads"
    assert snowflake.execute(loads) == [("raw_orders", 0), ("raw_orders", 0)]


def test_a_merge_is_one_transaction(
    tmp_path: Path, snowflake: SnowflakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody sees the table between the deletion of the old rows and the insertion of the new ones."""
    set_variables(monkeypatch, snowflake.environment())
    load(shop.raw_orders, put(tmp_path / "in", "raw_orders", ORDERS))
    said = [" ".join(statement.split()[:3]).upper() for statement in snowflake.front.statements]
    start = said.index('DELETE FROM "JAFFLE_SHOP"."RAW_ORDERS"')
    assert said[start - 1] == "ALTER SESSION SET"
    assert snowflake.front.statements[start - 1] == "ALTER SESSION SET autocommit=False"
    assert said[start + 1].startswith("INSERT INTO")
    assert said[start + 2] == "COMMIT"


@pytest.mark.parametrize("made", ["CREATE SCHEMA", 'CREATE TABLE IF NOT EXISTS "JAFFLE_SHOP"."_DLT_LOADS"'])
def test_another_child_made_it_first(
    made: str, tmp_path: Path, snowflake: SnowflakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two first loads at once: the one that meets an existing schema or table tries again, and misses no row."""
    set_variables(monkeypatch, snowflake.environment())
    snowflake.front.refusals[made] = ("002002", "SQL compilation error:\nObject already exists.")
    folder = put(tmp_path / "in", "raw_orders", ORDERS)
    assert load(shop.raw_orders, folder).facts["rows_total"] == 2
    assert snowflake.front.refusals == {}


def test_a_role_without_rights(tmp_path: Path, snowflake: SnowflakeDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    """A role without permission to create schemas gets Snowflake's own message."""
    set_variables(monkeypatch, snowflake.environment())
    denied = "SQL access control error:\nInsufficient privileges to operate on database 'SHOP'."
    monkeypatch.setattr(destination, "RETRY", RetryPolicy(attempts=1))
    snowflake.front.refusals["CREATE SCHEMA"] = ("003001", denied)
    with pytest.raises(PlatformError) as caught:
        load(shop.raw_orders, put(tmp_path / "in", "raw_orders", ORDERS))
    assert caught.value.message == f"Snowflake refused raw_orders: 003001 (42710): {' '.join(denied.split())}"
    assert caught.value.location == f"LOADER@acme-main/{snowflake.database}"


@pytest.mark.parametrize(
    ("number", "said"),
    [
        ("000608", "Warehouse 'LOADING' is suspended."),
        ("000625", "Your statement was aborted because the number of waiters for this lock exceeds the 20 limit."),
        ("390111", "Session no longer exists. New login required to access the service."),
    ],
)
def test_a_fault_of_snowflake_is_the_operators(
    number: str, said: str, tmp_path: Path, snowflake: SnowflakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A load and a dashboard's query that Snowflake ends for a reason of its own may be tried again."""
    set_variables(monkeypatch, snowflake.environment())
    monkeypatch.setattr(destination, "RETRY", RetryPolicy(attempts=1))
    snowflake.front.refusals["CREATE SCHEMA"] = (number, said)
    snowflake.front.refusals["select 1"] = (number, said)
    with pytest.raises(PlatformError, match=f"^A fault of Snowflake ended the statement: {number} "):
        load(shop.raw_orders, put(tmp_path / "in", "raw_orders", ORDERS))
    with pytest.raises(PlatformError, match=f"^A fault of Snowflake ended the statement: {number} "):
        query(from_settings(Settings.load()), "select 1")


def test_doctor_says_what_it_found(snowflake: SnowflakeDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    """User, account, database and version; no secret."""
    set_variables(monkeypatch, snowflake.environment())
    found = probe(from_settings(Settings.load()))
    assert found == f"LOADER@acme-main/{snowflake.database} (snowflake 10.0.0)"
