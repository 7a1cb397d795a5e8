"""`changed_only`: what changed in code or has fresher sources since the last success is built, and nothing else."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest

from flow_of_flows.dbt.state import opened
from flow_of_flows.errors import ConfigurationError, DataError
from flow_of_flows.settings import Settings
from tests.fixtures import dbt_projects
from tests.fixtures.dbt_builds import add_order, build, execute
from tests.fixtures.dbt_projects import Place

# `loaded` reads the source; the chain does not.
FILES = {
    **dbt_projects.CHAIN,
    "models/sources.yml": dbt_projects.SOURCE,
    "models/loaded.sql": "select count(*) as rows_read from {{ source('jaffle_shop', 'raw_orders') }}",
    "models/behind.sql": "select rows_read from {{ ref('loaded') }}",
}


@pytest.fixture(params=["folder", "s3"])
def anywhere(place: Place, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A place whose state store is a folder, or a bucket."""
    if request.param == "s3":
        bucket = request.getfixturevalue("bucket")
        monkeypatch.setenv("FLOWS_STATE_STORE", f"s3://{bucket.name}")
    return place


def published(name: str) -> dict[str, Any]:
    """One of the production artifacts."""
    return dict(json.loads(opened(Settings.load()).read(f"artifacts/{name}") or b""))


def results() -> list[str]:
    """Names of the nodes that the production run results speak of."""
    return sorted(result["unique_id"].split(".")[2] for result in published("run_results.json")["results"])


def test_only_what_changed_is_built_and_the_report_says_what_was_not_built(anywhere: Place) -> None:
    """A first run in full; nothing; a fresher source; a changed model; and what is production stays whole."""
    project = anywhere.use(FILES)
    add_order(anywhere, "2 hours")
    first = build(changed_only=True)
    assert first.summary == "7 dbt nodes: 1 pass, 6 success"
    store = opened(Settings.load()).describe()
    assert first.warnings == (f"First run: no production manifest in {store}, so everything is built",)

    assert build(changed_only=True).summary == "Nothing to build: nothing differs from production"

    add_order(anywhere)
    fresher = build(changed_only=True)
    assert fresher.summary.startswith("2 dbt nodes: 2 success; 5 not built (unchanged since 20"), fresher.summary
    assert fresher.facts["not built"] == 5
    assert fresher.facts["not built, without tests"] == "model beside, model first, model second, model third"
    assert execute(anywhere.warehouse, "select * from analytics.behind") == [(2,)]
    assert results() == ["behind", "beside", "first", "loaded", "not_null_first_id", "second", "third"]

    (project / "models" / "third.sql").write_text("select id + 5 as id from {{ ref('second') }}")
    modified = build(changed_only=True)
    assert modified.summary.startswith("1 dbt nodes: 1 success; 6 not built")
    assert build(changed_only=True).summary == "Nothing to build: nothing differs from production"


def test_a_run_of_modified_code_leaves_fresher_sources_for_the_next(place: Place) -> None:
    """It did not build what they feed, so they count as fresher still."""
    place.use(FILES)
    add_order(place, "2 hours")
    build()
    add_order(place)
    assert build(select="state:modified+").summary == "Nothing to build: nothing differs from production"
    assert build(changed_only=True).summary.startswith("2 dbt nodes: 2 success; 5 not built")


def test_a_retry_of_a_changed_only_run_goes_on_with_what_it_selected(place: Place) -> None:
    """And only the rest is built; production is whole afterwards."""
    project = place.use(FILES)
    add_order(place, "3 hours")
    build()
    add_order(place, "2 hours")
    late = "select r.id from {{ source('jaffle_shop', 'raw_orders') }} r, {{ ref('loaded') }}, jaffle_shop.late"
    (project / "models" / "behind.sql").write_text(late)
    with pytest.raises(DataError):
        build(changed_only=True)
    run = UUID(place.saved_run)
    add_order(place, "1 hours")
    execute(place.warehouse, "create schema jaffle_shop", "create table jaffle_shop.late (id int)")

    report = build(changed_only=True, retry_of=run)

    assert report.warnings == ()
    assert report.summary == "1 dbt nodes: 1 success; resumed after 1 nodes were done already"
    assert results() == ["behind", "beside", "first", "loaded", "not_null_first_id", "second", "third"]
    # The row that came before the retry is not in what the first try had built.
    assert build(changed_only=True).summary.startswith("2 dbt nodes: 2 success; 5 not built")


def test_without_sources_to_compare_with_everything_is_built(place: Place) -> None:
    """The last success did not look at them."""
    place.use(FILES)
    add_order(place)
    build(freshness="off")
    report = build(changed_only=True)
    assert report.summary == "7 dbt nodes: 1 pass, 6 success"
    (warning,) = report.warnings
    assert warning.startswith(
        "Everything is built: which sources are fresher is not known, for there is no sources.json"
    )


def test_a_project_without_freshness_builds_what_changed_in_code(place: Place) -> None:
    """And says which sources it cannot see changes in."""
    blind = dbt_projects.SOURCE.partition("    config:\n")[0] + "    tables:\n      - name: raw_orders\n"
    place.use({**FILES, "models/sources.yml": blind})
    add_order(place)
    build(changed_only=True)
    add_order(place)
    report = build(changed_only=True)
    assert report.summary == "Nothing to build: nothing differs from production"
    assert report.warnings == (
        "New rows are not seen in sources that declare no freshness: source.tiny.jaffle_shop.raw_orders",
    )


@pytest.mark.parametrize(
    ("parameters", "what"),
    [
        ({"select": "first"}, "changed_only and select contradict each other"),
        ({"full_refresh": True}, "changed_only and full_refresh contradict each other"),
        ({"freshness": "off"}, "changed_only has to know which sources are fresher, and freshness is off"),
    ],
)
def test_contradictions_are_refused(place: Place, parameters: dict[str, Any], what: str) -> None:
    """Before anything runs."""
    with pytest.raises(ConfigurationError) as caught:
        build(changed_only=True, **parameters)
    assert caught.value.message == what
    assert not place.warehouse.exists()


def test_production_of_another_project_stays_and_this_one_gets_its_own(place: Place) -> None:
    """Neither is compared with the other, and neither refuses the other."""
    place.use()
    build()
    store = opened(Settings.load())
    log = (store.read("artifacts/publications.json") or b"").replace(b'"project":"tiny"', b'"project":"another"')
    store.write("artifacts/publications.json", log)

    (warning,) = build(changed_only=True).warnings

    own = f"{store.describe()}/projects/tiny/duckdb"
    assert warning == f"First run: no production manifest in {own}, so everything is built"
    assert build(changed_only=True).summary == "Nothing to build: nothing differs from production"
    assert store.read("artifacts/publications.json") == log


def test_a_broken_manifest_is_refused_and_everything_is_built(place: Place) -> None:
    """And replaced."""
    place.use()
    place.artifacts.mkdir(parents=True)
    (place.artifacts / "manifest.json").write_text('{"metadata": {')
    report = build(changed_only=True)
    assert report.summary == "5 dbt nodes: 1 pass, 4 success"
    assert report.warnings == (
        "The production manifest is refused: it is not JSON, or only a part of it, so everything is built",
    )
    assert build(changed_only=True).summary == "Nothing to build: nothing differs from production"


def test_production_stays_as_it_is_where_publishing_is_off(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A laptop compares with production and does not become it."""
    project = place.use()
    build()
    before = published("publications.json")
    monkeypatch.setenv("FLOWS_STATE_PUBLISH", "false")
    monkeypatch.setenv("FLOWS_TARGET_SCHEMA", "review")
    (project / "models" / "third.sql").write_text("select id + 5 as id from {{ ref('second') }}")
    assert build(select="state:modified+").summary.startswith("1 dbt nodes: 1 success; 4 not built")
    assert published("publications.json") == before


def test_a_part_built_in_another_schema_is_not_production(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest was never built there."""
    project = place.use()
    build()
    before = published("publications.json")
    monkeypatch.setenv("FLOWS_TARGET_SCHEMA", "review")
    (project / "models" / "third.sql").write_text("select id + 5 as id from {{ ref('second') }}")
    (warning,) = build(select="state:modified+").warnings
    assert warning.startswith("The production artifacts stay as they are: they are of duckdb ")
    assert published("publications.json") == before


def test_a_store_that_fails_after_the_build_is_a_warning(place: Place) -> None:
    """What was built stays built."""
    place.use()
    place.artifacts.parent.mkdir(parents=True)
    place.artifacts.write_text("a file in the way")
    report = build()
    assert report.summary == "5 dbt nodes: 1 pass, 4 success"
    (warning,) = report.warnings
    assert warning.startswith("The production artifacts may not be those of this run: The state store cannot be used:")
