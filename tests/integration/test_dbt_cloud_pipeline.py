"""A whole pipeline with `flows run`, its transform in dbt Cloud: one setting, and everything around it as before."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.commands import flows
from tests.fixtures.dbt_cloud import TOKEN, StandIn
from tests.fixtures.dbt_cloud_runs import FAILING


def test_weekly_full_refresh_transforms_in_dbt_cloud_and_is_resumed_from_the_jobs_failure(
    dbt_cloud_api: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first run fails with the failed model in its answers; resumed, the job is retried, the rest is reused."""
    monkeypatch.setenv("FLOWS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FLOWS_CURRENCIES_SOURCE", "snapshot")
    monkeypatch.setenv("FLOWS_TRANSFORM_WEEKLY_FULL_REFRESH", "cloud")
    dbt_cloud_api.scripts = [FAILING]
    first = flows("run", "weekly-full-refresh")
    assert first.code == 1, first.out + first.err
    assert "1 of 2 steps completed; failed: dbt-build (dbt-nodes-failed)." in first.out
    assert "- `model.shop.orders` (error): Database Error in model orders no column total" in first.out
    assert "Skipped because of that: `model.shop.payments`" in first.out
    assert dbt_cloud_api.runs[1000].asked == {"steps_override": ["dbt build --full-refresh"]}
    run = re.search(r"flows resume (\S+)", first.out)
    assert run is not None
    again = flows("resume", run[1])
    assert again.code == 0, again.out + again.err
    assert "2 of 2 steps completed." in again.out
    assert "- `dbt-build`: 2 dbt nodes: 1 pass, 1 success (run 1001 in dbt Cloud)" in again.out
    assert dbt_cloud_api.posts() == ["/jobs/345/run/", "/runs/1000/retry/"]
    assert TOKEN not in first.out + first.err + again.out + again.err
    written = [file for file in (tmp_path / "home").rglob("*") if file.is_file()]
    assert [file for file in written if TOKEN.encode() in file.read_bytes()] == []
