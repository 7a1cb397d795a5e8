"""Stopping the dbt child: SIGTERM cancels the query in the warehouse, and a retry goes on from there."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import duckdb
import psycopg2
import pytest
from dbt.adapters.contracts.connection import Connection, ConnectionState, Identifier
from dbt.adapters.factory import FACTORY
from dbt_common.dataclass_schema import dbtClassMixin

from flow_of_flows.dbt import cancellation
from tests.conditions import eventually
from tests.fixtures import dbt_projects
from tests.fixtures.dbt_builds import build, started, stopped, wait_for
from tests.fixtures.dbt_projects import Place
from tests.fixtures.environment import set_variables
from tests.fixtures.postgres import ACTIVE, PostgresDatabase

SLOW = "select 2 as id from {{ ref('first') }}, pg_sleep((select s from public.pace))"
ENDLESS = "select sum(a.i * b.i) as n from range(10000000) a(i), range(10000000) b(i)"


def test_sigterm_cancels_the_query_in_postgres_and_a_new_pod_goes_on(
    monkeypatch: pytest.MonkeyPatch, place: Place, postgres: PostgresDatabase
) -> None:
    """No query is left on the server, the process ends by the signal, the retry elsewhere runs what was not done."""
    set_variables(monkeypatch, postgres.environment())
    monkeypatch.setenv("FLOWS_STATE_STORE", str(place.home / "state"))
    place.use({**dbt_projects.CHAIN, "models/second.sql": SLOW})
    postgres.execute("create table public.pace as select 600 as s")

    with started() as process:
        wait_for(process, "START sql table model analytics.second")
        eventually(lambda: postgres.execute(ACTIVE) == [(1,)], "the query runs")
        output = stopped(process, 60)
    assert postgres.execute(ACTIVE) == [(0,)]
    assert "dbt was stopped with 3 nodes done; its queries are cancelled" in output
    postgres.execute("update public.pace set s = 0")
    monkeypatch.setenv("FLOWS_HOME", str(place.folder / "home" / "another-pod"))
    report = build(retry_of=UUID(place.saved_run))
    assert report.summary == "2 dbt nodes: 2 success; resumed after 3 nodes were done already"
    assert (report.facts["models"], report.facts["rows"]) == (2, 2)
    assert report.warnings == ()
    assert postgres.execute("select id from analytics.third") == [(3,)]


def test_sigterm_ends_a_duckdb_build_promptly(place: Place) -> None:
    """A query that would run for hours is interrupted, and the process ends by the signal."""
    place.use({"models/endless.sql": ENDLESS})

    with started() as process:
        wait_for(process, "START sql table model analytics.endless")
        stopped(process, 30)


@dataclass(frozen=True)
class Adapter:
    """What `cancel` looks at of an adapter: its type, and its connections by process and thread."""

    name: str
    connections: Any

    def type(self) -> str:
        """Name of the warehouse, in dbt's words."""
        return self.name


@pytest.mark.parametrize(
    ("warehouse", "message"),
    [("duckdb", "Interrupted"), ("postgres", "canceling statement due to user request")],
)
def test_a_query_that_dbt_missed_is_cancelled(
    monkeypatch: pytest.MonkeyPatch, postgres: PostgresDatabase, warehouse: str, message: str
) -> None:
    """A query of another thread ends; a closed connection, and one that is not open yet, are no hindrance."""
    handle, query = _duckdb() if warehouse == "duckdb" else _postgres(postgres)
    failed: list[Exception] = []
    thread = threading.Thread(target=_expect_failure, args=(query, failed))
    closed, _ = _duckdb() if warehouse == "duckdb" else _postgres(postgres)
    closed.close()
    open_ones = {(1, 1): _connection(warehouse, closed), (1, 2): _connection(warehouse, handle)}
    unopened = Connection(Identifier(warehouse), "c", dbtClassMixin(), ConnectionState.INIT)
    connections = SimpleNamespace(thread_connections={**open_ones, (1, 3): unopened})
    monkeypatch.setattr(FACTORY, "adapters", {warehouse: Adapter(warehouse, connections)})

    thread.start()

    def over() -> bool:
        cancellation.running_queries()
        return not thread.is_alive()

    eventually(over, "the query ends")
    assert message in str(failed[0])
    handle.close()


def _duckdb() -> tuple[Any, Callable[[], object]]:
    connection = duckdb.connect()
    # dbt's handle is a wrapper, whose cursor is the one that runs the query.
    return SimpleNamespace(cursor=lambda: connection, close=connection.close), lambda: connection.execute(ENDLESS)


def _postgres(postgres: PostgresDatabase) -> tuple[Any, Callable[[], object]]:
    connection = postgres.connect()
    return connection, lambda: connection.cursor().execute("select pg_sleep(600)")


def _connection(warehouse: str, handle: object) -> Connection:
    connection = Connection(Identifier(warehouse), "c", dbtClassMixin(), ConnectionState.OPEN)
    connection.handle = handle
    return connection


def _expect_failure(query: Callable[[], object], failed: list[Exception]) -> None:
    try:
        query()
    except (duckdb.Error, psycopg2.Error) as error:
        failed.append(error)
