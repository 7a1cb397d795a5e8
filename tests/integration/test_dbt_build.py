"""The dbt child on a real DuckDB: builds, failures, what was modified, the catalog."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from dbt.adapters.base.impl import DEFAULT_BASE_BEHAVIOR_FLAGS

from flow_of_flows.errors import Cause, DataError
from tests.fixtures import dbt_projects
from tests.fixtures.dbt_builds import build, built, execute, load_raw
from tests.fixtures.dbt_projects import NEEDS_RAW, WARNING_TEST, Place
from tests.fixtures.environment import set_variables
from tests.fixtures.postgres import PostgresDatabase

NO_CATALOG = """
{% macro duckdb__get_catalog(information_schema, schemas) %}
{{ exceptions.raise_compiler_error("not today") }}
{% endmacro %}
"""


def test_build_makes_every_model_and_lets_go_of_the_file(place: Place) -> None:
    """A build ends with its counts, the tables are there, and another process can write the file at once."""
    place.use()

    report = build()

    assert report.summary == "5 dbt nodes: 1 pass, 4 success"
    facts = {name: value for name, value in report.facts.items() if name not in ("seconds", "published")}
    assert facts == {"nodes": 5, "dbt": "1.11.16", "models": 4, "tests": 1, "nodes pass": 1, "nodes success": 4}
    assert report.warnings == ()
    writer = f"import duckdb; duckdb.connect({str(place.warehouse)!r}).execute('create table main.t(i int)')"
    subprocess.run([sys.executable, "-c", writer], check=True)
    assert built(place)["third"] == [(3,)]


def test_build_equals_raw_dbt(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: Place) -> None:
    """Tables, statuses and the nodes of the manifest are those of dbt's own command line."""
    project = place.use()
    build()
    raw = tmp_path / "raw"
    execute(raw / "raw_orders.duckdb", "select 1")

    command: list[str | Path] = [
        Path(sys.executable).with_name("dbt"),
        "build",
        "--project-dir",
        project,
        "--profiles-dir",
        project,
    ]
    monkeypatch.setenv("DBT_DUCKDB_FOLDER", str(raw))
    subprocess.run([*command, "--target-path", tmp_path / "target", "--log-path", raw], check=True, capture_output=True)

    ours, theirs = place.artifacts, tmp_path / "target"
    for name in ("first", "second", "third", "beside"):
        query = f"select * from analytics.{name}"
        assert execute(place.warehouse, query) == execute(raw / "warehouse.duckdb", query)
    assert results(ours) == results(theirs)
    assert compiled(ours) == compiled(theirs)


def test_build_writes_nothing_into_the_project(place: Place) -> None:
    """The project's folder may be read-only: no file appears in it, and no folder of the run is left."""
    project = place.use()
    before = sorted(project.rglob("*"))

    build()

    assert sorted(project.rglob("*")) == before
    assert {path.name for path in place.home.glob("dbt/*/*")} == {"partial_parse.msgpack"}


def test_a_parse_of_other_connection_values_is_made_once(
    place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The image was built for another schema: the first pod keeps its parse, and the next one parses nothing."""
    baked = place.use() / "target" / "partial_parse.msgpack"
    shutil.rmtree(place.home / "dbt", ignore_errors=True)
    with monkeypatch.context() as image:
        image.setenv("FLOWS_TARGET_SCHEMA", "of_the_image")
        build()
    baked.parent.mkdir()
    (written,) = place.home.glob("dbt/*/partial_parse.msgpack")
    written.replace(baked)
    monkeypatch.setenv("FLOWS_STATE_STORE", str(place.folder / "shared"))
    parses = place.folder / "shared" / "parses"

    def pod() -> list[Path]:
        build()
        made = list(place.home.glob("dbt/*/partial_parse.msgpack"))
        shutil.rmtree(place.home / "dbt")
        return made

    shutil.rmtree(place.home / "dbt")
    assert len(pod()) == 1
    (kept,) = parses.glob("*/*")
    with caplog.at_level("INFO", logger="flow_of_flows"):
        assert pod() == []
    assert "The project's parse is that of an earlier run" in caplog.text
    assert list(parses.glob("*/*")) == [kept]
    assert execute(place.warehouse, "select id from analytics.third") == [(3,)]

    # With the image's values its own parse is used, and none is kept.
    with monkeypatch.context() as image:
        image.setenv("FLOWS_TARGET_SCHEMA", "of_the_image")
        assert pod() == []
    assert list(parses.glob("*/*")) == [kept]

    # The image has none, since its build lacked a variable.
    baked.unlink()
    assert [len(pod()), len(pod())] == [1, 0]
    assert len(list(parses.glob("*/*"))) == 2


def test_an_adapter_adds_its_flags_once(
    place: Place, postgres: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often dbt was invoked: it looks each flag up on the stack, so every build was slower than the last."""
    place.use()
    set_variables(monkeypatch, {"DBT_TARGET": "postgres", **postgres.environment()})
    for _ in range(2):
        build()
    names = [flag["name"] for flag in DEFAULT_BASE_BEHAVIOR_FLAGS]
    assert len(names) == len(set(names))
    assert "postgres_skip_autocommit_transaction_statements" in names


def test_failure_names_nodes_and_what_was_skipped(place: Place) -> None:
    """A failed model is named with dbt's error, the skipped one with the reason, and the child that loads the table."""
    place.use(NEEDS_RAW)

    with pytest.raises(DataError) as failure:
        build(freshness="off")

    error = failure.value
    assert error.cause is Cause.DBT_NODES_FAILED
    assert [(p.name, p.status) for p in error.problems] == [("model.tiny.second", "error")]
    assert error.skipped == ("model.tiny.third",)
    assert 'Table with name "jaffle_shop.raw_orders" does not exist' in error.problems[0].message
    run = place.saved_run
    assert (
        error.hint
        == f"run raw-orders to load what is missing, then retry this run, or run dbt-build with retry_of={run}"
    )
    assert not place.artifacts.exists()


def test_failed_tests_are_a_cause_of_their_own(place: Place) -> None:
    """The data is wrong, not the models; the model's owner is named, and a model behind the test is skipped."""
    model = "{{ config(meta={'owner': '@ann'}) }} select null::int as id"
    place.use({**dbt_projects.CHAIN, "models/first.sql": model})

    with pytest.raises(DataError) as failure:
        build()

    assert failure.value.cause is Cause.DATA_TESTS_FAILED
    assert [(p.name, p.status, p.message, p.owner) for p in failure.value.problems] == [
        ("test.tiny.not_null_first_id.1792d32eec", "fail", "Got 1 result, configured to fail if != 0", "@ann"),
    ]
    assert failure.value.skipped == ("model.tiny.second", "model.tiny.third")


def test_failed_build_hands_back_its_warnings(place: Place) -> None:
    """What was found before it failed is not lost: the source that was stale, the test that warned."""
    files = {"models/models.yml": WARNING_TEST, "models/third.sql": "select nope as id from {{ ref('second') }}"}
    place.use({**NEEDS_RAW, **files})
    load_raw(place, "timestamp '2020-01-01'")

    with pytest.raises(DataError) as failure:
        build()

    assert [p.name for p in failure.value.problems] == ["model.tiny.third"]
    assert failure.value.warnings == (
        "source.tiny.jaffle_shop.raw_orders is not fresh (error: last loaded 2020-01-01T00:00:00+00:00)",
        "test accepted_values_first_id__False__2.65ead2ac7a: Got 1 result, configured to warn if != 0",
    )


def test_modified_only_builds_what_differs_from_production(place: Place) -> None:
    """The first run builds all and says so; then nothing; then the changed model and what is behind it."""
    project = place.use()

    first = build(select="state:modified+")
    nothing = build(select="state:modified+")
    (project / "models" / "second.sql").write_text("select id + 5 as id from {{ ref('first') }}")
    changed = build(select="state:modified+")
    again = build(select="state:modified+")

    assert first.summary == "5 dbt nodes: 1 pass, 4 success"
    assert first.warnings == (f"First run: no production manifest in {place.home / 'state'}, so everything is built",)
    assert nothing.summary == "Nothing to build: nothing differs from production"
    since = "unchanged since 20"
    assert changed.summary.startswith(f"2 dbt nodes: 2 success; 3 not built ({since}"), changed.summary
    assert changed.facts["not built, without tests"] == "model beside, model first"
    assert again.summary == "Nothing to build: nothing differs from production"
    assert built(place)["third"] == [(7,)]


def test_modified_only_defers_to_production(monkeypatch: pytest.MonkeyPatch, place: Place) -> None:
    """In a schema where nothing was built, the changed model reads its parents from production."""
    project = place.use()
    build()
    (project / "models" / "third.sql").write_text("select id + 100 as id from {{ ref('second') }}")
    monkeypatch.setenv("FLOWS_TARGET_SCHEMA", "review")

    report = build(select="state:modified.body")

    assert report.summary == "1 dbt nodes: 1 success"
    assert execute(place.warehouse, "select * from review.third") == [(102,)]
    manifest = json.loads((place.artifacts / "manifest.json").read_text())
    assert manifest["nodes"]["model.tiny.third"]["schema"] == "analytics"


def test_catalog_is_published_when_asked_for(place: Place) -> None:
    """With `docs` the catalog of every table is published with the manifest."""
    place.use()

    build(docs=True)

    catalog = json.loads((place.artifacts / "catalog.json").read_text())
    assert {name: list(node["columns"]) for name, node in catalog["nodes"].items()} == {
        f"model.tiny.{name}": ["id"] for name in ("beside", "first", "second", "third")
    }


def test_build_is_good_without_a_catalog(place: Place) -> None:
    """Where the warehouse gives no catalog, the report says why, and the rest is published."""
    place.use({**dbt_projects.CHAIN, "macros/catalog.sql": NO_CATALOG})

    report = build(docs=True)

    assert report.summary == "5 dbt nodes: 1 pass, 4 success"
    (warning,) = report.warnings
    assert warning.startswith("There is no new catalog: The warehouse did not describe its tables: ")
    assert "not today" in warning
    assert not (place.artifacts / "catalog.json").exists()


def results(folder: Path) -> dict[str, tuple[str, str]]:
    """Status and message by node of a run_results.json."""
    document = json.loads((folder / "run_results.json").read_text())
    return {r["unique_id"]: (r["status"], r["message"]) for r in document["results"]}


def compiled(folder: Path) -> dict[str, str | None]:
    """Compiled code by node of a manifest.json."""
    document = json.loads((folder / "manifest.json").read_text())
    return {name: node.get("compiled_code") for name, node in document["nodes"].items()}
