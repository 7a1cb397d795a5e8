"""The main job as a person runs it: `flows run jaffle-shop` on DuckDB and Postgres, its failure and its resumption."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.commands import REPOSITORY, Ended, flows
from tests.fixtures.postgres import PostgresDatabase, fresh_database

# Not measured for coverage, which would double the time of these whole runs; each part is measured by its own tests.
OFFLINE = {"FLOWS_RATES_SOURCE": "snapshot", "FLOWS_CURRENCIES_SOURCE": "snapshot", "COVERAGE_PROCESS_CONFIG": ""}
STEPS = ("staging", "exchange-rates", "currencies", "dbt-build", "dashboard-customers", "dashboard-sales")
BROKEN = "select * from read_csv('{file}')"
Query = Callable[[str], list[tuple[Any, ...]]]


def run_of(ended: Ended) -> str:
    """Id of the run that a command printed."""
    found = re.search(r"flows resume ([0-9a-f-]{36})", ended.out)
    assert found, ended.out + ended.err
    return found[1]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One project folder for the runs of this module, so that only the first one starts from nothing."""
    return tmp_path_factory.mktemp("shop")


@pytest.fixture(scope="module")
def on_duckdb(home: Path) -> Ended:
    """The first run, on DuckDB."""
    return flows("run", "jaffle-shop", FLOWS_HOME=str(home), **OFFLINE)


@pytest.fixture(scope="module")
def database(postgres_server: PostgresDatabase) -> Iterator[PostgresDatabase]:
    """An empty Postgres database."""
    with fresh_database(postgres_server) as fresh:
        yield fresh


def in_duckdb(home: Path) -> Query:
    """Queries of the DuckDB warehouse."""

    def query(sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(home / "warehouse" / "warehouse.duckdb"), read_only=True) as connection:
            return connection.execute(sql).fetchall()

    return query


def marts(query: Query) -> dict[str, list[tuple[Any, ...]]]:
    """Every mart's columns that both warehouses give as the same Python values, in the order of its key."""
    return {
        "customers": query(
            "select customer_id, full_name, country, number_of_orders, cast(lifetime_value_eur as double precision)"
            " from analytics.customers order by 1"
        ),
        "orders": query(
            "select order_id, customer_id, status, number_of_payments, cast(amount_eur as double precision)"
            " from analytics.orders order by 1"
        ),
        "payments": query(
            "select payment_id, order_id, payment_method, currency, cast(amount_eur as double precision)"
            " from analytics.payments order by 1"
        ),
        "daily_revenue": query(
            "select revenue_date, number_of_orders, number_of_payments, cast(revenue_eur as double precision)"
            " from analytics.daily_revenue order by 1"
        ),
    }


def test_the_demo_completes_and_says_where_the_results_are(on_duckdb: Ended, home: Path) -> None:
    """Every step completes, each child in a run of its own; the marts and both pictures are there."""
    assert on_duckdb.code == 0, on_duckdb.out + on_duckdb.err
    assert "jaffle-shop completed" in on_duckdb.out
    assert "6 of 6 steps completed" in on_duckdb.out
    for step in STEPS:
        assert f"{step}: completed" in on_duckdb.out
    for child in ("raw-customers", "raw-orders", "raw-payments"):
        assert f"staging/{child}: completed" in on_duckdb.out
    assert f"Results:   {home / 'results'}" in on_duckdb.out
    for name in ("dashboard-customers.png", "dashboard-sales.png"):
        assert (home / "results" / name).read_bytes().startswith(b"\x89PNG")
    counts = {mart: len(rows) for mart, rows in marts(in_duckdb(home)).items()}
    assert counts == {"customers": 120, "orders": 1040, "payments": 1254, "daily_revenue": counts["daily_revenue"]}
    assert counts["daily_revenue"] > 365


@pytest.mark.usefixtures("on_duckdb")
def test_the_same_input_again_leaves_the_same_rows(home: Path) -> None:
    """Loads and models are idempotent."""
    before = marts(in_duckdb(home))
    again = flows("run", "jaffle-shop", FLOWS_HOME=str(home), **OFFLINE)
    assert again.code == 0, again.out + again.err
    assert marts(in_duckdb(home)) == before


@pytest.mark.usefixtures("on_duckdb")
@pytest.mark.parametrize(
    ("pipeline", "said"),
    [
        ("daily-pipeline", "5 of 6 steps completed; left out: hubspot"),
        ("weekly-full-refresh", "2 of 2 steps completed"),
    ],
)
def test_the_scheduled_pipelines_complete_after_it_and_leave_the_same_marts(
    home: Path, pipeline: str, said: str
) -> None:
    """Increments and a full refresh of the same input give the same rows."""
    before = marts(in_duckdb(home))
    ended = flows("run", pipeline, FLOWS_HOME=str(home), **OFFLINE)
    assert ended.code == 0, ended.out + ended.err
    assert said in ended.out
    assert marts(in_duckdb(home)) == before


@pytest.mark.usefixtures("on_duckdb")
def test_postgres_gives_the_same_marts_as_duckdb(home: Path, database: PostgresDatabase) -> None:
    """The same pipeline, another target by DBT_TARGET and PG*: equal rows, and the password nowhere in the folder."""
    ended = flows("run", "jaffle-shop", FLOWS_HOME=str(home), **database.environment(), **OFFLINE)
    assert ended.code == 0, ended.out + ended.err
    assert f"Warehouse: {database.user}@127.0.0.1:{database.port}/{database.database}" in ended.out
    assert marts(database.execute) == marts(in_duckdb(home))
    secret = database.password.encode()
    leaks = [path for path in home.rglob("*") if path.is_file() and secret in path.read_bytes()]
    assert leaks == []


@pytest.mark.usefixtures("on_duckdb")
def test_a_failing_model_fails_the_run_and_resume_builds_only_the_rest(home: Path, tmp_path: Path) -> None:
    """The answers name the model and its error; once that is mended, resume runs the model and what hung on it."""
    project, missing = tmp_path / "dbt", tmp_path / "budget.csv"
    shutil.copytree(REPOSITORY / "docker" / "dbt", project, ignore=shutil.ignore_patterns("target", "dbt_packages"))
    (project / "models" / "marts" / "budget.sql").write_text(BROKEN.format(file=missing) + "\n")
    (project / "models" / "marts" / "budget_total.sql").write_text("select count(*) as n from {{ ref('budget') }}\n")
    more = {"FLOWS_HOME": str(home), "FLOWS_DBT_PROJECT": str(project), **OFFLINE}
    failed = flows("run", "jaffle-shop", **more)
    assert failed.code == 1, failed.out + failed.err
    assert "dbt-build: failed (dbt-nodes-failed)" in failed.out
    assert "model.flow_of_flows.budget" in failed.out
    assert "No files found that match the pattern" in failed.out
    assert "dashboard-sales: not run, held up by dbt-build" in failed.out
    missing.write_text("month,amount\n2025-01,10\n2025-02,20\n")
    resumed = flows("resume", run_of(failed), **more)
    assert resumed.code == 0, resumed.out + resumed.err
    assert in_duckdb(home)("select n from analytics.budget_total") == [(2,)]
    assert "dbt-build: completed, attempt 2" in resumed.out
    log = next((home / "logs").glob("*-dbt-build-2.log")).read_text()
    assert re.search(r"Completed\('2 dbt nodes", log), log
