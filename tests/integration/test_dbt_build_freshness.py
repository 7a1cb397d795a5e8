"""Freshness of sources in the dbt child, on a real DuckDB: reported, or a reason to build nothing."""

from __future__ import annotations

import json

import pytest

from flow_of_flows.errors import DataError
from tests.fixtures.dbt_builds import build, built, load_raw
from tests.fixtures.dbt_projects import NEEDS_RAW, Place


def test_stale_source_warns_and_the_build_goes_on(place: Place) -> None:
    """By default a stale source is reported, and its verdict is published with the manifest."""
    place.use(NEEDS_RAW)
    load_raw(place, "timestamp '2020-01-01'")

    report = build()

    assert report.summary == "5 dbt nodes: 1 pass, 4 success"
    assert report.warnings == (
        "source.tiny.jaffle_shop.raw_orders is not fresh (error: last loaded 2020-01-01T00:00:00+00:00)",
    )
    assert (report.facts["sources"], report.facts["sources fresh"]) == (1, 0)
    sources = json.loads((place.artifacts / "sources.json").read_text())
    assert [(s["unique_id"], s["status"]) for s in sources["results"]] == [
        ("source.tiny.jaffle_shop.raw_orders", "error")
    ]


def test_stale_source_can_fail_the_run(place: Place) -> None:
    """With `error` the source is named and nothing is built."""
    place.use(NEEDS_RAW)
    load_raw(place, "timestamp '2020-01-01'")

    with pytest.raises(DataError) as failure:
        build(freshness="error")

    assert [(p.name, p.status) for p in failure.value.problems] == [("source.tiny.jaffle_shop.raw_orders", "error")]
    assert built(place) == {}


def test_missing_source_table_is_not_fresh(place: Place) -> None:
    """A source that cannot be checked counts as stale."""
    place.use(NEEDS_RAW)

    with pytest.raises(DataError) as failure:
        build(freshness="error")

    assert [(p.name, p.status) for p in failure.value.problems] == [
        ("source.tiny.jaffle_shop.raw_orders", "runtime error")
    ]


def test_fresh_source_passes(place: Place) -> None:
    """A fresh source is counted, and freshness leaves nothing that disturbs the build in the same process."""
    place.use(NEEDS_RAW)
    load_raw(place)

    report = build(freshness="error")

    assert report.warnings == ()
    assert (report.facts["sources"], report.facts["sources fresh"]) == (1, 1)
    assert report.summary == "5 dbt nodes: 1 pass, 4 success"
