"""daily-pipeline as a person runs it, with Airbyte's stand-in: with HubSpot, and with its failure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from flow_of_flows.warehouse.targets import DuckDBTarget
from flows.ingest.currencies import currencies
from flows.settings import CurrenciesSource
from tests.commands import Ended, flows
from tests.fixtures.airbyte import SECRET, Airbyte, serving
from tests.fixtures.hubspot import HUBSPOT, deliver_to

# Not measured for coverage, which would double the time of these whole runs.
OFFLINE = {"FLOWS_RATES_SOURCE": "snapshot", "FLOWS_CURRENCIES_SOURCE": "snapshot", "COVERAGE_PROCESS_CONFIG": ""}
QUICK = {"FLOWS_AIRBYTE_ENABLED": "true", "FLOWS_AIRBYTE_POLL_SECONDS": "0.1", "FLOWS_AIRBYTE_POLL_MAX_SECONDS": "0.2"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the runs of this module, with the currencies that the weekly pipeline loads."""
    home = tmp_path_factory.mktemp("daily")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLOWS_HOME", str(home))
        currencies.fn.__wrapped__(source=CurrenciesSource.SNAPSHOT)  # type: ignore[attr-defined]
    return home


@pytest.fixture(scope="module")
def airbyte(home: Path) -> Iterator[Airbyte]:
    """Airbyte, whose syncs land in the DuckDB files of the home."""
    target = DuckDBTarget(home / "warehouse", "analytics", 4)
    with serving(Airbyte(deliver=lambda: deliver_to(target, HUBSPOT, "hubspot"))) as server:
        yield server


def daily(home: Path, airbyte: Airbyte, **more: str) -> Ended:
    """A run of the pipeline with HubSpot."""
    secret = {"AIRBYTE_API_CREDENTIALS": json.dumps(airbyte.credentials)}
    return flows("run", "daily-pipeline", FLOWS_HOME=str(home), **{**OFFLINE, **QUICK, **secret, **more})


def deals(home: Path) -> list[tuple[object, ...]]:
    """The mart."""
    with duckdb.connect(str(home / "warehouse" / "warehouse.duckdb"), read_only=True) as connection:
        return connection.execute("select deal_id, company_name from analytics.deals order by 1").fetchall()


def test_hubspot_is_loaded_built_and_kept_secret(home: Path, airbyte: Airbyte) -> None:
    """All six steps; one sync; the mart; no credential in anything that the run has written."""
    ended = daily(home, airbyte)
    assert ended.code == 0, ended.out + ended.err
    assert "6 of 6 steps completed" in ended.out
    assert "hubspot: completed" in ended.out
    assert [job.status for job in airbyte.jobs] == ["succeeded"]
    assert deals(home) == [("31", "Analytical Engines"), ("32", "Compilers"), ("33", None)]
    assert SECRET not in ended.out + ended.err
    kept = [path for path in home.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]
    assert kept == []


def test_a_failed_sync_is_named_and_nothing_is_transformed(home: Path, airbyte: Airbyte) -> None:
    """With Airbyte's own reason; what does not depend on it runs to its end."""
    airbyte.script = ("running", "failed")
    try:
        ended = daily(home, airbyte)
    finally:
        airbyte.script = Airbyte.script
    assert ended.code == 1, ended.out + ended.err
    assert "The HubSpot access token has expired" in ended.out
    assert "exchange-rates: completed" in ended.out
    assert "staging: completed" in ended.out
    for step in ("dbt-build", "dashboard-customers", "dashboard-sales"):
        assert f"{step}: not run" in ended.out
    assert "2 of 6 steps completed; failed: hubspot (platform; attempt 3 of 3); not run: dbt-build" in ended.out
