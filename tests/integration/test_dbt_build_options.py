"""Every option of `dbt build` is a parameter of the child: dbt's own parser reads it, and every retry keeps it."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest

from flow_of_flows.errors import ConfigurationError, DataError
from tests.fixtures.dbt_builds import build, built, execute
from tests.fixtures.dbt_projects import PROFILES, Place

PROJECT = {
    "models/first.sql": "select 1 as id",
    "models/second.sql": "select id + 1 as id from {{ ref('first') }}",
    "models/broken.sql": "select 1 / (select wanted::int from main.fuse) as id",
    "models/models.yml": """\
version: 2
models:
  - name: first
    columns: [{name: id, data_tests: [not_null]}]
  - name: second
    columns:
      - name: id
        data_tests:
          - relationships: {arguments: {to: ref('first'), field: id}, config: {severity: warn}}
""",
    "selectors.yml": """\
selectors:
  - name: one
    definition: {method: fqn, value: first}
  - name: changed
    definition: {method: state, value: modified}
""",
    "profiles.yml": PROFILES
    + """\
    other:
      type: duckdb
      path: "{{ env_var('DBT_DUCKDB_FOLDER', '.') }}/warehouse.duckdb"
      schema: elsewhere
""",
}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "unknown selector": (
        {"selector": "nowhere"},
        "dbt refused the project: Runtime Error Could not find selector named nowhere, expected one of ['one', ",
    ),
    "selector and select": ({"selector": "one", "select": "first"}, "selector and select contradict each other"),
    "selector and exclude": ({"selector": "one", "exclude": "first"}, "selector and exclude contradict each other"),
    "selector and changed_only": (
        {"selector": "one", "changed_only": True},
        "changed_only and selector contradict each other",
    ),
    "favor_state without defer": ({"favor_state": True}, "favor_state says how to defer, and defer is off"),
    "nothing to defer to": ({"defer": True, "select": "first"}, "There is nothing to defer to: First run: "),
    "event times reversed": (
        {"event_time_start": "2026-02-01", "event_time_end": "2026-01-01"},
        "dbt refuses the parameters: Value for `--event-time-start` must be less than `--event-time-end`",
    ),
    "one event time": (
        {"event_time_start": "2026-02-01"},
        "dbt refuses the parameters: The flag `--event-time-start` was specified, but `--event-time-end` was not.",
    ),
    "event times without a microbatch model": (
        {"event_time_start": "2026-01-01", "event_time_end": "2026-02-01"},
        "No model of this build is built in batches, so none can be built from 2026-01-01 00:00:00+00:00 to ",
    ),
    "sample and event times": (
        {"sample": "1 day", "event_time_start": "2026-01-01", "event_time_end": "2026-02-01"},
        "sample and event_time_start and event_time_end contradict each other",
    ),
    "a sample that is none": (
        {"sample": "a while"},
        "dbt refuses the parameters: Invalid value for '--sample': Runtime Error Unable to convert 'a' to an integer.",
    ),
    "a sample that ends before it starts": (
        {"sample": {"start": "2026-02-01", "end": "2026-01-01"}},
        "dbt refuses the parameters: the sample \"{start: '2026-02-01', end: '2026-01-01'}\" ends before it starts",
    ),
    "an unknown warning": (
        {"warn_error_options": {"error": ["Nowhere"]}},
        "dbt refuses the parameters: Nowhere is not a valid dbt error name.",
    ),
    "a warning that is an error": (
        {"select": "nowhere", "warn_error_options": {"error": ["NoNodesForSelectionCriteria"]}},
        "dbt refused the project: Compilation Error The selection criterion 'nowhere' does not match any enabled nodes",
    ),
    "types without a node": (
        {"select": "first", "resource_types": "snapshot"},
        "Nothing matches the selection select='first' resource_types='snapshot'",
    ),
    "an unknown target": ({"target": "nowhere"}, "dbt refused the project: "),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_dbt_or_this_child_refuses_starts_nothing(place: Place, case: str) -> None:
    """One sentence of the configuration's family, and no table."""
    parameters, sentence = REFUSED[case]
    place.use(PROJECT)

    with pytest.raises(ConfigurationError) as failure:
        build(**parameters)

    assert failure.value.message.startswith(sentence), failure.value.message
    assert failure.value.hint
    assert built(place) == {}


@pytest.mark.parametrize(
    ("parameters", "nodes"),
    [
        ({"selector": "one", "indirect_selection": "cautious"}, ["first", "not_null_first_id"]),
        ({"selector": "one", "resource_types": "model"}, ["first"]),
        ({"select": "first", "indirect_selection": "empty"}, ["first"]),
        ({"select": "first second", "exclude_resource_types": ["test", "seed"]}, ["first", "second"]),
        ({"select": "first second", "resource_types": ["model"]}, ["first", "second"]),
    ],
)
def test_selection_is_what_the_options_leave(place: Place, parameters: dict[str, Any], nodes: list[str]) -> None:
    """Selector, indirect selection and resource types choose the nodes, and what they leave is not published."""
    place.use(PROJECT)

    report = build(**parameters)

    assert report.facts["models"] + report.facts["tests"] == len(nodes)  # type: ignore[operator]
    assert sorted(built(place)) == [name for name in nodes if not name.startswith("not_null")]
    assert "published" not in report.facts


def test_target_is_another_output_for_one_run(place: Place) -> None:
    """The rows are in that output's schema; a run that goes on from it needs no word of it."""
    place.use(PROJECT)

    with pytest.raises(DataError):
        build(target="other")
    execute(place.warehouse, "create table main.fuse as select 1 as wanted")
    report = build(retry_of=UUID(place.saved_run))

    assert report.summary == "1 dbt nodes: 1 success; resumed after 4 nodes were done already"
    assert execute(place.warehouse, "select id from elsewhere.broken") == [(1,)]
    assert built(place) == {}


def test_empty_reads_no_row_and_is_not_published(place: Place) -> None:
    """Every model is built without a row, and a retry of it, too."""
    place.use(PROJECT)

    with pytest.raises(DataError):
        build(empty=True)
    execute(place.warehouse, "create table main.fuse as select 1 as wanted")
    report = build(retry_of=UUID(place.saved_run))

    assert built(place) == {"broken": [(1,)], "first": [(1,)], "second": []}
    assert report.warnings == ("The production artifacts stay as they are: dbt built only some of the rows (empty)",)


def test_fail_fast_stops_at_the_first_failure(place: Place) -> None:
    """What had not begun is skipped, and a retry builds it."""
    place.use({**PROJECT, "models/second.sql": "select id from {{ ref('broken') }}"})

    with pytest.raises(DataError) as failure:
        build(fail_fast=True, threads=1)
    assert failure.value.problems[0].name == "model.tiny.broken"
    assert "model.tiny.first" in failure.value.skipped
    execute(place.warehouse, "create table main.fuse as select 1 as wanted")
    build(retry_of=UUID(place.saved_run))

    assert built(place) == {"broken": [(1,)], "first": [(1,)], "second": [(1,)]}


def test_store_failures_keeps_the_rows(place: Place) -> None:
    """The rows that fail a test are in a table of dbt's schema for them."""
    place.use(PROJECT)

    build(select="first second", store_failures=True)

    (table,) = execute(
        place.warehouse,
        "select table_name from information_schema.tables "
        "where table_schema = 'analytics_dbt_test__audit' and table_name like 'relationships%'",
    )[0]
    assert execute(place.warehouse, f"select * from analytics_dbt_test__audit.{table}") == [(2,)]


def test_defer_reads_production_and_favor_state_prefers_it(place: Place) -> None:
    """What this target lacks is read from production's schema, and with favor_state what it has, too."""
    files = {name: text for name, text in PROJECT.items() if name not in ("models/broken.sql", "models/models.yml")}
    place.use(files)
    build()
    execute(place.warehouse, "update analytics.first set id = 10")

    build(target="other", select="second", defer=True)
    assert execute(place.warehouse, "select id from elsewhere.second") == [(11,)]
    build(target="other", select="first")
    build(target="other", select="second", defer=True)
    assert execute(place.warehouse, "select id from elsewhere.second") == [(2,)]
    build(target="other", select="second", defer=True, favor_state=True)
    assert execute(place.warehouse, "select id from elsewhere.second") == [(11,)]


def test_a_selector_that_compares_builds_what_changed(place: Place) -> None:
    """It compares with production as a selection would; without production everything is built."""
    files = {name: text for name, text in PROJECT.items() if name not in ("models/broken.sql", "models/models.yml")}
    place.use(files)
    report = build(selector="changed")
    assert (report.summary, "published" in report.facts) == ("2 dbt nodes: 2 success", True)
    place.use({**files, "models/second.sql": "select id + 2 as id from {{ ref('first') }}"})

    report = build(selector="changed")

    assert report.summary == "1 dbt nodes: 1 success"
    assert built(place) == {"first": [(1,)], "second": [(3,)]}


def test_warnings_can_be_errors_and_be_left_out(place: Place) -> None:
    """`silence` reaches dbt in every command of the run."""
    place.use(PROJECT)

    report = build(
        select="first nowhere", resource_types="model", warn_error_options={"silence": ["NoNodesForSelectionCriteria"]}
    )

    assert report.warnings == ()


def test_a_run_is_kept_with_its_options(place: Place) -> None:
    """Those that are not at their default, each under the name of its parameter."""
    place.use(PROJECT)

    with pytest.raises(DataError):
        build(target="other", resource_types="model", fail_fast=False, warn_error_options={"silence": ["Note"]})

    saved = json.loads((place.home / "state" / "runs" / place.saved_run / "run.json").read_text())
    assert saved["flags"] == {
        "target": "other",
        "resource_types": ["model"],
        "fail_fast": False,
        "warn_error_options": {"silence": ["Note"]},
    }
