"""Resumes with a changed project on a real DuckDB: what did not succeed, what the change touches, and all behind it."""

from __future__ import annotations

import json
from uuid import UUID

import pytest

from flow_of_flows.child_report import ChildReport
from flow_of_flows.dbt.arguments import Options
from flow_of_flows.dbt.build import Build
from flow_of_flows.dbt.build_lock import BuildLock
from flow_of_flows.dbt.project import find
from flow_of_flows.dbt.session import DbtSession
from flow_of_flows.dbt.state import opened
from flow_of_flows.errors import DataError
from flow_of_flows.settings import Settings
from tests.fixtures import dbt_projects
from tests.fixtures.dbt_builds import build, execute
from tests.fixtures.dbt_projects import MICROBATCH, Place

PROJECT = (
    dbt_projects.PROJECT
    + """\
vars: {factor: 10}
on-run-end: ["{{ note(results) }}"]
"""
)
# Writes the names of what dbt has run into the warehouse.
NOTE = """\
{% macro note(results) %}
insert into main.ran values ('')
{% for each in results if each.status != 'skipped' %}, ('{{ each.node.name }}'){% endfor %}
{% endmacro %}
"""
# `first` <- `second` (broken) <- `third`; `beside` <- `between` (ephemeral) <- `behind`; `first` <- `scaled`.
MENDED = "select id + 1 as id from {{ ref('first') }}"
FILES = {
    "dbt_project.yml": PROJECT,
    "macros/note.sql": NOTE,
    "macros/ten.sql": "{% macro ten() %}10{% endmacro %}",
    "models/first.sql": "select 1 as id",
    "models/second.sql": f"{MENDED} where no_such_column",
    "models/third.sql": "select id + 1 as id from {{ ref('second') }}",
    "models/beside.sql": "select {{ ten() }} as id, '{{ var('label', 'none') }}' as label",
    "models/between.sql": "{{ config(materialized='ephemeral') }} select id * 2 as id from {{ ref('beside') }}",
    "models/behind.sql": "select id + 1 as id from {{ ref('between') }}",
    "models/scaled.sql": "select id * {{ var('factor') }} as id from {{ ref('first') }}",
    "models/scaled_by_environment.sql": "select {{ env_var('TINY_FACTOR', '10') }} as id from {{ ref('first') }}",
    "models/models.yml": """\
version: 2
models:
  - name: first
    columns:
      - name: id
        data_tests: [not_null]
  - name: behind
    columns:
      - name: id
        data_tests: [not_null]
unit_tests:
  - name: adds_one
    model: behind
    given:
      - input: ref('between')
        format: sql
        rows: select 1 as id
    expect:
      rows: [{id: 2}]
""",
}
LEFT = {"second", "third"}
BEHIND = {"behind", "not_null_behind_id", "adds_one"}
WHOLE = {"first", "beside", "scaled", "scaled_by_environment", "not_null_first_id"} | LEFT | BEHIND


@pytest.fixture
def broken(place: Place) -> UUID:
    """A run of the project with `second` broken."""
    place.use(FILES)
    execute(place.warehouse, "create or replace table main.ran (name text)")
    return fail(place, "second")


def fail(place: Place, model: str, **parameters: object) -> UUID:
    """Build, so that one model fails; the run."""
    known = set(place.saved_runs)
    with pytest.raises(DataError) as failure:
        build(**parameters)
    assert [problem.name for problem in failure.value.problems] == [f"model.tiny.{model}"]
    (run,) = set(place.saved_runs) - known
    return UUID(run)


def mend(place: Place, files: dict[str, str] | None = None) -> None:
    """Write files of the project, `second` mended, and forget what ran before."""
    for name, content in {"models/second.sql": MENDED, **(files or {})}.items():
        path = place.project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    ran(place)


def ran(place: Place) -> set[str]:
    """Names of the nodes that dbt has run since this was last asked."""
    names = execute(place.warehouse, "select name from main.ran where name <> ''")
    execute(place.warehouse, "delete from main.ran")
    found = [str(name) for (name,) in names]
    assert len(found) == len(set(found)), "a node was built twice"
    return set(found)


def rows(place: Place, model: str) -> list[tuple[object, ...]]:
    """The rows of a model."""
    return execute(place.warehouse, f"select * from analytics.{model}")


def published(place: Place) -> set[str]:
    """Names of the nodes that production consists of; each has succeeded."""
    results = json.loads((place.artifacts / "run_results.json").read_text())["results"]
    assert {result["status"] for result in results} <= {"success", "pass"}
    ids = [result["unique_id"].split(".") for result in results]
    return {parts[3] if parts[0] == "unit_test" else parts[2] for parts in ids if parts[0] != "operation"}


def test_sql_mended(place: Place, broken: UUID) -> None:
    """The mended model and what is behind it are built; the rest counts as done; the whole is published."""
    mend(place)

    report = build(retry_of=broken)

    assert ran(place) == LEFT
    assert rows(place, "third") == [(3,)]
    assert published(place) == WHOLE
    assert report.warnings == ()
    assert report.summary == "3 dbt nodes: 3 success; resumed after 8 nodes were done already"
    expected = {"retry of": str(broken), "done before": 8, "did not succeed before": 2, "changed": 0}
    expected |= {"downstream of changes": 0, "changes": "model second (modified)"}
    assert expected.items() <= report.facts.items()


def test_macro_mended(place: Place, broken: UUID) -> None:
    """What calls a macro that changed is built, and what is behind it, an ephemeral model in between."""
    mend(place, {"macros/ten.sql": "{% macro ten() %}11{% endmacro %}"})

    report = build(retry_of=broken)

    assert ran(place) == LEFT | {"beside"} | BEHIND
    assert rows(place, "behind") == [(23,)]
    assert published(place) == WHOLE
    assert (report.facts["done before"], report.facts["changed"], report.facts["downstream of changes"]) == (4, 1, 3)
    assert report.facts["changes"] == "model beside (modified: macro ten), model second (modified)"


def test_new_model_added(place: Place, broken: UUID) -> None:
    """A model that is new is built, and nothing else but what was left."""
    mend(place, {"models/extra.sql": "select id from {{ ref('first') }}"})

    report = build(retry_of=broken)

    assert ran(place) == LEFT | {"extra"}
    assert published(place) == WHOLE | {"extra"}
    assert report.facts["changes"] == "model extra (new), model second (modified)"


def test_model_renamed(place: Place, broken: UUID) -> None:
    """A renamed model is a new one, and what refers to it is modified; the old name is no longer in production."""
    (place.project / "models" / "beside.sql").unlink()
    ephemeral = FILES["models/between.sql"].replace("beside", "renamed")
    mend(place, {"models/renamed.sql": FILES["models/beside.sql"], "models/between.sql": ephemeral})

    build(retry_of=broken)

    assert ran(place) == LEFT | {"renamed"} | BEHIND
    assert published(place) == (WHOLE - {"beside"}) | {"renamed"}


def test_model_removed(place: Place, broken: UUID) -> None:
    """Without the model that failed, nothing is left, and what was built is the whole."""
    for name in LEFT:
        (place.project / "models" / f"{name}.sql").unlink()
    ran(place)

    report = build(retry_of=broken)

    assert ran(place) == set()
    assert published(place) == WHOLE - LEFT
    assert report.summary == f"Nothing was left to do of run {broken}"


def test_properties_only(place: Place) -> None:
    """A test that is written anew runs with what it held up; a new description builds nothing."""
    test = """\
  - name: second
    columns:
      - name: id
        data_tests: [{accepted_values: {arguments: {values: [%s], quote: false}}}]
"""
    text = FILES["models/models.yml"]
    place.use(
        {**FILES, "models/second.sql": MENDED, "models/models.yml": text.replace("unit_tests", test % 3 + "unit_tests")}
    )
    execute(place.warehouse, "create or replace table main.ran (name text)")
    with pytest.raises(DataError, match="accepted_values_second_id__False__3"):
        build()
    run = UUID(place.saved_run)
    described = text.replace("  - name: first", "  - name: first\n    description: the first")
    mend(place, {"models/models.yml": described.replace("unit_tests", test % 2 + "unit_tests")})

    build(retry_of=run)

    assert ran(place) == {"third", "accepted_values_second_id__False__2"}
    assert published(place) == WHOLE | {"accepted_values_second_id__False__2"}


def test_package_upgraded(place: Place) -> None:
    """The models of a package that changed, and those that call its macros, are built."""
    package = {
        "packages.yml": "packages: [{local: packages/helper}]\n",
        "packages/helper/dbt_project.yml": "name: helper\nversion: '1.0'\nconfig-version: 2\n",
        "packages/helper/macros/number.sql": "{% macro number() %}1{% endmacro %}",
        "packages/helper/models/packaged.sql": "select 1 as id",
        "packages/helper/models/steady.sql": "select 1 as id",
        "models/helped.sql": "select {{ helper.number() }} as id",
    }
    place.use({**FILES, **package})
    execute(place.warehouse, "create or replace table main.ran (name text)")
    run = fail(place, "second")
    upgraded = {
        "packages/helper/macros/number.sql": "{% macro number() %}2{% endmacro %}",
        "packages/helper/models/packaged.sql": "select 2 as id",
    }
    mend(place, upgraded)

    build(retry_of=run)

    assert ran(place) == LEFT | {"helped", "packaged"}
    assert rows(place, "helped") == rows(place, "packaged") == [(2,)]


@pytest.mark.parametrize("change", ["project", "parameter", "environment"])
def test_vars_changed(place: Place, broken: UUID, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    """What reads a variable with another value is built, wherever the value is from; dbt itself does not tell."""
    mend(place, {"dbt_project.yml": PROJECT.replace("10", "20")} if change == "project" else {})
    if change == "environment":
        monkeypatch.setenv("TINY_FACTOR", "20")

    report = build(retry_of=broken, vars={"factor": 20} if change == "parameter" else {})

    assert ran(place) == LEFT | {"scaled_by_environment" if change == "environment" else "scaled"}
    assert report.facts["changed"] == 1
    assert published(place) == WHOLE


@pytest.mark.parametrize("is_ours", [True, False], ids=["setting", "profile"])
def test_other_target(place: Place, broken: UUID, monkeypatch: pytest.MonkeyPatch, *, is_ours: bool) -> None:
    """Nothing of one schema counts as done in another: everything is built, and the report says why."""
    if is_ours:
        mend(place)
        monkeypatch.setenv("FLOWS_TARGET_SCHEMA", "elsewhere")
    else:
        profiles = dbt_projects.PROFILES.replace("env_var('DBT_SCHEMA', 'analytics')", "'elsewhere'")
        mend(place, {"profiles.yml": profiles})

    report = build(retry_of=broken)

    assert ran(place) == WHOLE
    assert report.warnings == (f"Full run instead of a retry: since run {broken}, the target changed",)
    assert execute(place.warehouse, "select * from elsewhere.third") == [(3,)]


def test_large_seed(place: Place) -> None:
    """A seed over 1 MB is built with what is behind it, for dbt cannot tell whether it changed."""
    row = "x" * 20_000 + "\n"
    seed = {
        "seeds/large.csv": "text\n" + row * 53,
        "models/of_large.sql": "select count(*) as n from {{ ref('large') }}",
    }
    place.use({**FILES, **seed})
    execute(place.warehouse, "create or replace table main.ran (name text)")
    run = fail(place, "second")
    mend(place, {"seeds/large.csv": "text\n" + row * 54})

    report = build(retry_of=run)

    assert ran(place) == LEFT | {"large", "of_large"}
    assert rows(place, "of_large") == [(54,)]
    assert report.warnings == ("seed large is built: it is over 1 MB, and dbt cannot tell whether it changed",)


def test_mended_twice(place: Place, broken: UUID) -> None:
    """What the second try broke is built by the third, although its code is that of the first try again."""
    mend(place, {"macros/ten.sql": "{% macro ten() %}no_such_column{% endmacro %}"})
    second = fail(place, "beside", retry_of=broken)
    assert ran(place) == LEFT | {"beside"}
    mend(place, {"macros/ten.sql": FILES["macros/ten.sql"]})

    report = build(retry_of=second)

    assert ran(place) == {"beside"} | BEHIND
    assert rows(place, "behind") == [(21,)]
    assert published(place) == WHOLE
    assert (report.facts["done before"], report.facts["did not succeed before"]) == (6, 4)


def test_same_run_goes_on_with_another_image(place: Place, broken: UUID) -> None:
    """The Retry button starts the same run again; it compares with what its last try left, and keeps what it leaves."""
    settings = Settings.load()
    store = opened(settings)

    def again() -> ChildReport:
        with DbtSession.opened(find(settings.dbt_project), settings, settings.home) as session:
            lock = BuildLock.of(store, broken, "wait")
            return Build(session, store, broken, settings.state, lock).execute(Options(), "off", None)

    mend(place, {"macros/ten.sql": "{% macro ten() %}no_such_column{% endmacro %}"})
    with pytest.raises(DataError, match="model beside"):
        again()
    assert ran(place) == LEFT | {"beside"}
    assert place.saved_run == str(broken)
    mend(place, {"macros/ten.sql": FILES["macros/ten.sql"]})

    report = again()

    assert ran(place) == {"beside"} | BEHIND
    assert report.summary == "5 dbt nodes: 2 pass, 3 success; resumed after 6 nodes were done already"
    assert published(place) == WHOLE


def test_what_is_like_production_again_is_built(place: Place) -> None:
    """The warehouse has a model as the failed run built it, although its code is that of production again."""
    place.use({**FILES, "models/second.sql": MENDED})
    execute(place.warehouse, "create or replace table main.ran (name text)")
    build()
    mend(place, {"models/first.sql": "select 5 as id", "models/second.sql": FILES["models/second.sql"]})
    run = fail(place, "second", changed_only=True)
    mend(place, {"models/first.sql": FILES["models/first.sql"]})

    build(retry_of=run)

    assert ran(place) == LEFT | {"first", "scaled", "scaled_by_environment", "not_null_first_id"}
    assert (rows(place, "first"), rows(place, "third")) == ([(1,)], [(3,)])
    assert published(place) == WHOLE


def test_what_another_run_published_meanwhile_is_not_done(place: Place, broken: UUID) -> None:
    """A model that another run has built of other code is built again, although it is as the failed run had it."""
    mend(place, {"models/beside.sql": "select 99 as id, '' as label"})
    build()
    assert ran(place) == WHOLE
    mend(place, {"models/beside.sql": FILES["models/beside.sql"]})

    report = build(retry_of=broken)

    assert ran(place) == LEFT | {"beside"} | BEHIND
    assert rows(place, "behind") == [(21,)]
    assert published(place) == WHOLE
    assert "model beside (modified, published meanwhile as 2" in str(report.facts["changes"])


def test_microbatch_is_built_whole(place: Place) -> None:
    """A model that was built in batches and changed is built in all of them again."""
    place.use(MICROBATCH)
    with pytest.raises(DataError):
        build()
    daily = MICROBATCH["models/daily.sql"].replace("cast(amount as integer)", "10 * try_cast(amount as integer)")
    (place.project / "models" / "daily.sql").write_text(daily)

    report = build(retry_of=place.saved_run)

    assert report.summary == "1 dbt nodes: 1 success; resumed after 1 nodes were done already"
    assert execute(place.warehouse, "select amount from analytics.daily order by happened_at") == [(10,), (None,)]
