"""The pipelines of this repository's project, with the test kit, as every other project is tested."""

from __future__ import annotations

from pathlib import Path

import pytest

from flow_of_flows.testing import DuckDBWarehouse, FailStep, KillStep, RunPipeline
from tests.fixtures.shop_files import ORDERS, put

STAGING = ("staging", "staging/raw-customers", "staging/raw-orders", "staging/raw-payments")
BEHIND = ("dbt-build", "dashboard-customers", "dashboard-sales")


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Feeds come from the snapshots in their packages."""
    monkeypatch.setenv("FLOWS_RATES_SOURCE", "snapshot")
    monkeypatch.setenv("FLOWS_CURRENCIES_SOURCE", "snapshot")


def test_staging_loads_the_shop(run_pipeline: RunPipeline, duckdb_target: DuckDBWarehouse) -> None:
    """Three children, three tables."""
    result = run_pipeline("staging")
    assert result.verdict == "completed"
    assert result.states == dict.fromkeys(("raw-customers", "raw-orders", "raw-payments"), "completed")
    assert duckdb_target.rows(
        "select (select count(*) from jaffle_shop.raw_customers), (select count(*) from jaffle_shop.raw_orders)"
    ) == [(120, 1040)]


def test_a_bad_file_fails_its_child_alone_and_the_rest_is_reused(
    run_pipeline: RunPipeline, duckdb_target: DuckDBWarehouse, tmp_path: Path
) -> None:
    """The page names file, line and column; once the file is correct, resume loads it and nothing else."""
    folder = put(tmp_path / "in", "raw_orders", ORDERS.replace("1,7", "1,seven"))
    failed = run_pipeline("staging", parameters={"raw-orders": {"source": str(folder)}})
    assert (failed.verdict, failed.causes) == ("failed", {"raw-orders": "data"})
    assert "raw_orders.csv: line 2, column customer_id is not a whole number" in failed.page

    put(folder, "raw_orders", ORDERS)
    resumed = failed.resume()
    assert resumed.verdict == "completed"
    assert [step for step, outcome in resumed.outcomes.items() if outcome.reused] == ["raw-customers", "raw-payments"]
    assert duckdb_target.rows("select id from jaffle_shop.raw_orders order by id") == [(1,), (2,)]


def test_daily_without_rates_builds_nothing(run_pipeline: RunPipeline, fail_step: FailStep) -> None:
    """A feed that is down is tried three times; what does not need it is loaded, what does does not run."""
    fail_step("exchange-rates", message="The feed does not answer", cause="platform")
    result = run_pipeline("daily-pipeline")
    assert result.verdict == "failed"
    assert result.states == {
        "exchange-rates": "failed",
        "hubspot": "left out",
        **dict.fromkeys(
            ("staging", "staging/raw-customers", "staging/raw-orders", "staging/raw-payments"), "completed"
        ),
        **dict.fromkeys(BEHIND, "not run"),
    }
    assert result.outcomes["exchange-rates"].tried == "attempt 3 of 3"
    assert {result.outcomes[step].held_up_by for step in BEHIND} == {("exchange-rates",)}


def test_daily_goes_on_after_its_loads_were_killed(run_pipeline: RunPipeline, kill_step: KillStep) -> None:
    """A child of staging that is killed once is loaded by its second attempt."""
    kill_step("staging/raw-orders", attempts=1)
    result = run_pipeline("daily-pipeline", only=["staging"])
    assert result.verdict == "completed"
    assert result.outcomes["staging/raw-orders"].child is not None
    assert result.outcomes["staging/raw-orders"].child.attempt == 2


def test_weekly_loads_the_currencies_before_it_builds(
    run_pipeline: RunPipeline, fail_step: FailStep, duckdb_target: DuckDBWarehouse
) -> None:
    """A build that fails leaves them loaded, and is not repeated by itself."""
    fail_step("dbt-build", message="A test failed", cause="data-tests-failed")
    result = run_pipeline("weekly-full-refresh")
    assert result.message == "1 of 2 steps completed; failed: dbt-build (data-tests-failed)"
    euro = "select code, numeric_code, name from reference.currencies where code = 'EUR'"
    assert duckdb_target.rows(euro) == [("EUR", "978", "Euro")]
