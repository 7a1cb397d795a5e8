"""SQLite, by an adapter that the platform does not know: build, resume, state, cancel and faults."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from uuid import UUID

import pytest

from flow_of_flows.dbt.locks.schemas import credentials, written
from flow_of_flows.errors import DataError, PlatformError
from tests.fixtures import dbt_projects
from tests.fixtures.dbt_builds import build, started, stopped, wait_for
from tests.fixtures.dbt_projects import Place

PROFILES = """\
flow_of_flows:
  target: prod
  outputs:
    prod:
      type: sqlite
      threads: 1
      database: database
      schema: main
      schemas_and_paths: {main: "{{ env_var('LITE_FOLDER') }}/etl.db"}
      schema_directory: "{{ env_var('LITE_FOLDER') }}"
"""
# Counts to a number: endless, or done at once.
SLOW = """\
with recursive n(i) as (select 1 union all select i + 1 from n where i < {{ env_var('PACE') }})
select max(id) + 1 as id from {{ ref('first') }}, n
"""
RAW = "select id + 1 as id from {{ ref('first') }}, raw_orders"


def use(place: Place, monkeypatch: pytest.MonkeyPatch, second: str) -> None:
    """Write a project of a chain of models with the profile; the folder of its files comes from a secret."""
    place.use({**dbt_projects.CHAIN, "models/second.sql": second, "profiles.yml": PROFILES})
    place.home.mkdir(exist_ok=True)
    monkeypatch.setenv("WAREHOUSE_LITE", json.dumps({"folder": str(place.home)}))
    mapping = {"LITE_FOLDER": {"secret": "warehouse/lite", "field": "folder", "redact": False}}
    monkeypatch.setenv("FLOWS_DBT_SECRETS", json.dumps(mapping))
    monkeypatch.setenv("FLOWS_THREADS", "1")
    monkeypatch.setenv("FLOWS_STATE_STORE", str(place.folder / "home" / "state"))


def execute(place: Place, statement: str) -> list[tuple[object, ...]]:
    """Run a statement on the warehouse."""
    with closing(sqlite3.connect(place.home / "etl.db")) as connection, connection:
        return connection.execute(statement).fetchall()


def test_a_failed_build_is_resumed_and_becomes_production(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was done is not built again; the next run compares with what was published; one file is one lock."""
    use(place, monkeypatch, RAW)
    with pytest.raises(DataError, match="no such table: raw_orders"):
        build()
    assert execute(place, "select id from first") == [(1,)]
    execute(place, "create table raw_orders as select 1 as one")

    report = build(retry_of=UUID(place.saved_run))

    assert report.summary == "2 dbt nodes: 2 success; resumed after 3 nodes were done already"
    assert execute(place, "select id from third") == [(3,)]
    assert build(changed_only=True).summary == "Nothing to build: nothing differs from production"
    locked = written(credentials(), [])
    assert locked.warehouse.startswith("sqlite ")
    assert locked.schemas == {("etl.db", "etl.db")}


def test_sigterm_cancels_the_query_and_another_process_goes_on(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the adapter's own `cancel`, which dbt calls for each connection."""
    use(place, monkeypatch, SLOW)
    monkeypatch.setenv("PACE", "1000000000000")
    with started() as process:
        wait_for(process, "START sql table model main.second")
        output = stopped(process, 60)
    assert "dbt was stopped with 3 nodes done; its queries are cancelled" in output

    monkeypatch.setenv("PACE", "10")
    build(retry_of=UUID(place.saved_run))

    assert execute(place, "select id from third") == [(3,)]


def test_a_file_that_another_process_writes_is_a_fault_that_passes(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The platform's to retry, not the analyst's to mend."""
    use(place, monkeypatch, "select 2 as id")
    execute(place, "create table t (i int)")
    with closing(sqlite3.connect(place.home / "etl.db")) as other:
        other.execute("begin immediate")
        with pytest.raises(PlatformError, match=r"by a fault of the warehouse: model first: .* database is locked"):
            build(select="first")
