"""The ingest children on a real Postgres server: side by side, and refused."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from contextlib import ExitStack
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from flow_of_flows.errors import PlatformError
from flow_of_flows.settings import Settings
from flow_of_flows.warehouse.reading import query
from flow_of_flows.warehouse.targets import from_settings
from flows.ingest import shop
from flows.ingest.currencies import currencies
from flows.settings import CurrenciesSource
from tests.fixtures.environment import set_variables
from tests.fixtures.postgres import PostgresDatabase, fresh_database
from tests.fixtures.shop_files import ORDERS, load, put

CHILDREN = ("raw_customers", "raw_orders", "raw_payments")
ROUNDS = 3
Answer = tuple[int, str, str]


@pytest.fixture
def empty_databases(postgres_server: PostgresDatabase) -> Iterator[list[PostgresDatabase]]:
    """One empty database per round."""
    with ExitStack() as stack:
        yield [stack.enter_context(fresh_database(postgres_server)) for _ in range(ROUNDS)]


def load_in_step(child: str, databases: list[PostgresDatabase], barrier: Barrier, answers: Queue[Answer]) -> None:
    """Load each database at the same moment as the other processes do."""
    for number, database in enumerate(databases):
        os.environ.update(database.environment())
        barrier.wait(timeout=60)
        try:
            answers.put((number, child, str(load(getattr(shop, child)).facts["rows_total"])))
        except Exception as error:  # noqa: BLE001 - whatever it is, the test has to see it
            answers.put((number, child, str(error)))


def test_first_loads_run_side_by_side(empty_databases: list[PostgresDatabase]) -> None:
    """Three processes load into the same empty database at the same moment; none fails, every row is there."""
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(len(CHILDREN)), context.Queue()
    started = [context.Process(target=load_in_step, args=(c, empty_databases, barrier, answers)) for c in CHILDREN]
    for process in started:
        process.start()
    found = sorted(answers.get(timeout=120) for _ in range(ROUNDS * len(CHILDREN)))
    for process in started:
        process.join()
    counts = dict(zip(CHILDREN, ("120", "1040", "1254"), strict=True))
    assert found == [(number, child, counts[child]) for number in range(ROUNDS) for child in CHILDREN]


def test_load_twice_on_postgres(tmp_path: Path, postgres: PostgresDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading twice leaves the same rows, typed, and two loads; the second loads nothing."""
    set_variables(monkeypatch, postgres.environment())
    folder = put(tmp_path / "in", "raw_orders", ORDERS)
    assert [load(shop.raw_orders, folder).facts["rows_loaded"] for _ in range(2)] == [2, 0]
    types = "select column_name, data_type from information_schema.columns where table_schema = 'jaffle_shop'"
    assert postgres.execute(f"{types} and table_name = 'raw_orders' and column_name not like '\\_dlt%'") == [
        ("id", "bigint"),
        ("customer_id", "bigint"),
        ("ordered_at", "timestamp with time zone"),
        ("status", "character varying"),
        ("updated_at", "timestamp with time zone"),
    ]
    loads = "select schema_name, status from jaffle_shop._dlt_loads"
    assert postgres.execute(loads) == [("raw_orders", 0), ("raw_orders", 0)]


def test_wrong_password(tmp_path: Path, postgres: PostgresDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong password is one clear error without the password, and makes nothing in the database."""
    set_variables(monkeypatch, {**postgres.environment(), "PGPASSWORD": "not-the-password"})
    with pytest.raises(PlatformError) as caught:
        load(shop.raw_orders, put(tmp_path / "in", "raw_orders", ORDERS))
    assert f'password authentication failed for user "{postgres.user}"' in caught.value.message
    assert caught.value.location == f"{postgres.user}@{postgres.host}:{postgres.port}/{postgres.database}"
    assert caught.value.hint is not None
    assert caught.value.hint.startswith("check PGHOST, PGPORT, PGUSER, PGPASSWORD and PGDATABASE")
    assert "not-the-password" not in str(caught.value)


def test_unreachable_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that nobody listens on is one clear error."""
    set_variables(monkeypatch, {"DBT_TARGET": "postgres", "PGHOST": "127.0.0.1", "PGPORT": "1"})
    with pytest.raises(PlatformError, match="Connection refused"):
        currencies.fn.__wrapped__(source=CurrenciesSource.SNAPSHOT)  # type: ignore[attr-defined]


def test_role_without_rights(postgres: PostgresDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    """A role without permission to create schemas gets a message that says so."""
    role = f"reader_{postgres.database}"
    postgres.execute(f"create role {role} login password 'reader'")
    set_variables(monkeypatch, {**postgres.environment(), "PGUSER": role, "PGPASSWORD": "reader"})
    with pytest.raises(PlatformError) as caught:
        currencies.fn.__wrapped__(source=CurrenciesSource.SNAPSHOT)  # type: ignore[attr-defined]
    assert caught.value.message == f"Postgres refused currencies: permission denied for database {postgres.database}"


def test_a_fault_of_the_server_is_the_operators(
    tmp_path: Path, postgres: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A load that does not get its lock, and a query whose session ends, may be tried again and say why."""
    set_variables(monkeypatch, postgres.environment())
    folder = put(tmp_path / "in", "raw_orders", ORDERS)
    load(shop.raw_orders, folder)
    postgres.execute(f"alter database {postgres.database} set lock_timeout = '200ms'")
    with postgres.locked("jaffle_shop.raw_orders"), pytest.raises(PlatformError) as caught:
        load(shop.raw_orders, put(folder, "raw_orders", ORDERS.replace("placed", "shipped")))
    assert caught.value.message == "Postgres refused raw_orders: canceling statement due to lock timeout"
    assert caught.value.hint == "see whether the warehouse is up and has room for this session; then run this again"
    with pytest.raises(PlatformError, match=r"^A fault of the warehouse ended the query: "):
        query(from_settings(Settings.load()), "select pg_terminate_backend(pg_backend_pid())")
