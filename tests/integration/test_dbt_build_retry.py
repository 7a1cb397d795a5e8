"""Retries of the dbt child on a real DuckDB: what runs again, and when everything does."""

from __future__ import annotations

import shutil
from pathlib import Path
from uuid import UUID

import pytest

from flow_of_flows.errors import DataError
from tests.fixtures import dbt_projects
from tests.fixtures.dbt_builds import build, built, load_raw
from tests.fixtures.dbt_projects import NEEDS_RAW, Place


def test_retry_runs_only_what_did_not_succeed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: Place) -> None:
    """In another pod, with the project elsewhere and no file of dbt left, a chain of retries goes to the end."""
    project = place.use(NEEDS_RAW)
    with pytest.raises(DataError):
        build(freshness="off")
    first = place.saved_run
    shutil.rmtree(place.home / "dbt")
    monkeypatch.setenv("FLOWS_DBT_PROJECT", str(project.rename(tmp_path / "elsewhere")))

    with pytest.raises(DataError) as failure:
        build(freshness="off", retry_of=UUID(first))
    assert failure.value.message.startswith("1 of 2 dbt nodes failed: model second")
    (second,) = {folder.name for folder in (place.home / "state" / "runs").iterdir()} - {first}
    load_raw(place)
    report = build(freshness="off", retry_of=UUID(second))

    assert report.summary == "2 dbt nodes: 2 success; resumed after 3 nodes were done already"
    assert report.facts["retry of"] == second
    assert report.warnings == ()
    assert built(place)["third"] == [(3,)]
    assert (place.artifacts / "manifest.json").exists()


def test_retry_keeps_vars_and_selection(place: Place) -> None:
    """A retry builds with the variables and the full refresh of the run it goes on from, nulls and texts included."""
    sql = "select '{{ var('a') }}' as a, '{{ var('b') }}' as b from {{ source('jaffle_shop', 'raw_orders') }}"
    files = {"models/only.sql": sql, "models/other.sql": "select 1 as id", "models/sources.yml": dbt_projects.SOURCE}
    place.use(files)
    values = {"a": "it's: {x}", "b": None}
    with pytest.raises(DataError):
        build(freshness="off", select="only", vars={"a": "it''s: {x}", "b": None}, full_refresh=True)
    load_raw(place)

    report = build(freshness="off", retry_of=UUID(place.saved_run))

    assert report.summary == "1 dbt nodes: 1 success; resumed after 0 nodes were done already"
    assert built(place) == {"only": [(values["a"], "None")]}


def test_retry_with_other_parameters_is_a_full_run(place: Place) -> None:
    """If the selection is not the same, everything runs, and the report says why."""
    place.use(NEEDS_RAW)
    with pytest.raises(DataError):
        build(freshness="off")
    run = place.saved_run
    load_raw(place)

    report = build(freshness="off", retry_of=UUID(run), full_refresh=True)

    assert report.summary == "5 dbt nodes: 1 pass, 4 success"
    assert report.warnings == (f"Full run instead of a retry: run {run} had other parameters",)


def test_retry_of_an_unknown_run_is_a_full_run(place: Place) -> None:
    """A run that left nothing cannot be continued; everything runs."""
    place.use()
    run = UUID(int=7)

    report = build(retry_of=run)

    assert report.summary == "5 dbt nodes: 1 pass, 4 success"
    assert report.warnings == (f"Full run instead of a retry: the state store has no results of run {run}",)
