"""Cancelling a child at any stage: Cancelled within 30 s, no query left in the warehouse, nothing half done."""

from __future__ import annotations

import socket
import subprocess
import time
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from flow_of_flows.dbt.state import S3Store
from flow_of_flows.dbt.state.publishing import read_log
from tests.conditions import eventually
from tests.fixtures import dbt_projects
from tests.fixtures.aws import BUCKET, REGION
from tests.fixtures.dbt_builds import execute
from tests.fixtures.dbt_projects import Place
from tests.fixtures.environment import set_variables
from tests.fixtures.pods import Pod
from tests.fixtures.postgres import PostgresDatabase
from tests.fixtures.shop_files import ORDERS, put
from tests.fixtures.slow_front import CUTS, SlowFront, slow_front

DBT, LOAD = "flow_of_flows.dbt.children.dbt_build", "flows.ingest.shop.raw_orders"
PROMISED_SECONDS = 30
OTHERS = """
select application_name, state, query from pg_stat_activity
where backend_type = 'client backend' and datname = current_database() and pid <> pg_backend_pid()
"""
WAITING = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files of the pods of this test."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


@pytest.fixture
def database(postgres: PostgresDatabase, place: Place, monkeypatch: pytest.MonkeyPatch) -> PostgresDatabase:
    """The warehouse of the pods of this test."""
    assert place
    set_variables(monkeypatch, postgres.environment())
    return postgres


def cancelled(pod: Pod, run: UUID, process: subprocess.Popen[bytes]) -> None:
    """Cancel a run, and see it Cancelled and its pod gone in time."""
    began = time.monotonic()
    pod.embedded.cancel(run)
    process.wait(60)
    assert pod.state(run)[0] == "Cancelled", pod.text()
    assert time.monotonic() - began < PROMISED_SECONDS, pod.text()


def waits(database: PostgresDatabase) -> None:
    """Wait until somebody waits for a lock."""
    eventually(lambda: database.execute(WAITING)[0][0] > 0, "it waits for the lock", within=60)


def left(folder: Path) -> list[str]:
    """What is left of the folders for temporary files."""
    return sorted(path.name for path in folder.iterdir() if path.name.startswith(("ingest-", "run-")))


def test_while_it_reads_a_slow_source(pod: Pod, temporary: Path, place: Place) -> None:
    """The table is not made."""
    with slow_front(SlowFront()) as front:
        run = pod.run_of(LOAD, source=front.address)
        process = pod.start(run)
        eventually(lambda: front.held, "the file is asked for", within=60)
        cancelled(pod, run, process)
    assert left(temporary) == []
    tables = "select count(*) from information_schema.tables where table_name = 'raw_orders'"
    assert execute(place.home / "warehouse" / "raw_orders.duckdb", tables) == [(0,)]


@pytest.mark.parametrize("stage", ["loads", "waits for a first load"])
def test_while_a_load_waits_in_postgres(
    pod: Pod, temporary: Path, tmp_path: Path, database: PostgresDatabase, stage: str
) -> None:
    """No session is left, and the table is as it was."""
    folder = str(put(tmp_path / "in", "raw_orders", ORDERS))
    table = "jaffle_shop.raw_orders"
    if stage == "waits for a first load":
        database.execute("create table public.held (id int)")
        table = "public.held"
    else:
        assert pod.start(pod.run_of(LOAD, source=folder)).wait(120) == 0
        put(tmp_path / "in", "raw_orders", ORDERS + "3,3,2026-01-03T00:00:00Z,placed,2026-01-03T00:00:00Z\n")
    with database.locked(table) as cursor:
        if stage == "waits for a first load":
            cursor.execute("select pg_advisory_lock(4217001)")
        run = pod.run_of(LOAD, source=folder)
        process = pod.start(run)
        waits(database)
        cancelled(pod, run, process)
        assert database.execute(WAITING) == [(0,)]
    eventually(lambda: database.execute(OTHERS) == [], "no session is left", within=10)
    assert left(temporary) == []
    if stage == "loads":
        assert database.execute("select count(*) from jaffle_shop.raw_orders") == [(2,)]


def test_while_freshness_waits_in_postgres(pod: Pod, place: Place, database: PostgresDatabase) -> None:
    """Before dbt builds anything."""
    place.use({**dbt_projects.CHAIN, "models/sources.yml": dbt_projects.SOURCE})
    database.execute("create schema jaffle_shop", "create table jaffle_shop.raw_orders (updated_at timestamptz)")
    with database.locked("jaffle_shop.raw_orders"):
        run = pod.run_of(DBT)
        process = pod.start(run)
        waits(database)
        cancelled(pod, run, process)
        assert database.execute(WAITING) == [(0,)]
    assert database.execute("select to_regclass('analytics.first')") == [(None,)]
    assert _dbt_folders(place) == []


LOOPS = "{% for a in range(90000) %}{% for b in range(90000) %}{% set c = a * b %}{% endfor %}{% endfor %}"


def test_while_dbt_parses(pod: Pod, place: Place) -> None:
    """A model that takes hours to render."""
    place.use({"models/endless.sql": LOOPS + "select 1 as id"})
    run = pod.run_of(DBT)
    process = pod.start(run)
    eventually(lambda: _dbt_folders(place), "dbt has its folder", within=60)
    cancelled(pod, run, process)
    assert _dbt_folders(place) == []


def test_while_packages_are_fetched(pod: Pod, place: Place, temporary: Path) -> None:
    """From a git host that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as host:
        host.settimeout(60)
        package = f"packages:\n  - git: https://127.0.0.1:{host.getsockname()[1]}/package.git\n    revision: v1\n"
        place.use({**dbt_projects.CHAIN, "packages.yml": package})
        run = pod.run_of(DBT)
        process = pod.start(run)
        connection, _ = host.accept()
        cancelled(pod, run, process)
        connection.close()
    assert _dbt_folders(place) == []
    assert left(temporary) == []


def test_while_a_dashboard_waits_in_postgres(pod: Pod, database: PostgresDatabase) -> None:
    """No session is left, and no dashboard is made."""
    database.execute("create schema analytics", "create table analytics.customers (customer_id bigint)")
    with database.locked("analytics.customers"):
        run = pod.run_of("flows.serve.dashboards.dashboard_customers")
        process = pod.start(run)
        waits(database)
        cancelled(pod, run, process)
        assert database.execute(WAITING) == [(0,)]


@pytest.fixture
def s3(bucket: Any, aws_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The state store of the pods of this test; the address of the server it is on."""
    monkeypatch.setenv("FLOWS_STATE_STORE", f"s3://{bucket.name}")
    return aws_endpoint


@pytest.mark.parametrize("cut", list(CUTS))
def test_while_it_publishes(pod: Pod, place: Place, s3: str, cut: str) -> None:
    """Production is what the log says, whole: the old one, or the new one where the log was written."""
    place.use()
    assert pod.start(pod.run_of(DBT)).wait(120) == 0
    store = S3Store(BUCKET, "", REGION)
    before = read_log(store)[0].current
    assert before is not None
    with slow_front(SlowFront(s3, CUTS[cut])) as front:
        run = pod.run_of(DBT)
        process = pod.start(run, AWS_ENDPOINT_URL=front.address)
        eventually(lambda: front.held, f"it is at the {cut}", within=60)
        cancelled(pod, run, process)
    current = read_log(store)[0].current
    assert current is not None
    assert current.run == (run if cut == "copies" else before.run)
    for name in current.files:
        assert store.read(f"{current.folder}/{name}") is not None
    assert _dbt_folders(place) == []


def _dbt_folders(place: Place) -> list[str]:
    return sorted(path.name for path in (place.home / "dbt").glob("*/run-*"))
