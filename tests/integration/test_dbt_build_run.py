"""The dbt child as a Prefect flow run: its artifacts, its log, its end state."""

from __future__ import annotations

import json
import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flow_of_flows.dbt.children import dbt_build
from flow_of_flows.errors import Cause
from tests.conditions import eventually
from tests.fixtures.dbt_builds import execute, started
from tests.fixtures.dbt_projects import CHAIN, NEEDS_RAW, WARNING_TEST, Place
from tests.fixtures.environment import set_variables
from tests.fixtures.postgres import ACTIVE, PostgresDatabase
from tests.fixtures.server import Embedded

STALE = "source.tiny.jaffle_shop.raw_orders is not fresh (error: last loaded 2020-01-01T00:00:00+00:00)"
WARNED = "test accepted_values_first_id__False__2.65ead2ac7a: Got 1 result, configured to warn if != 0"


@contextmanager
def run_here(embedded: Embedded) -> Iterator[None]:
    """Flows that this process runs are runs of the embedded server; afterwards our logger is as it was."""
    logger = logging.getLogger("flow_of_flows")
    handlers, level, propagate = list(logger.handlers), logger.level, logger.propagate
    try:
        with temporary_settings({PREFECT_API_URL: embedded.api}):
            yield
    finally:
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)


@pytest.fixture
def stale(place: Place) -> dict[str, str]:
    """A project with a source that was loaded long ago, and a test that warns."""
    raw = place.home / "warehouse" / "raw_orders.duckdb"
    execute(
        raw,
        "create schema jaffle_shop",
        "create table jaffle_shop.raw_orders as select timestamp '2020-01-01' as updated_at",
    )
    return {**NEEDS_RAW, "models/models.yml": WARNING_TEST}


def test_completed_run_hands_back_warnings_and_facts(embedded: Embedded, place: Place, stale: dict[str, str]) -> None:
    """The build goes on from a stale source; the report says so, and what was built."""
    place.use(stale)

    with run_here(embedded):
        state = dbt_build(return_state=True)
    run = state.state_details.flow_run_id
    assert run is not None
    report = embedded.report(run)
    found = embedded.artifacts(run)

    assert state.is_completed()
    assert state.message == report.summary == "5 dbt nodes: 4 success, 1 warn"
    assert (report.cause, report.problems, report.skipped) == (None, (), ())
    assert report.warnings == (STALE, WARNED)
    seconds = report.facts.pop("seconds")
    assert isinstance(seconds, float)
    assert str(report.facts.pop("published")).endswith(f"-{run}")
    assert report.facts == {
        "nodes": 5,
        "dbt": "1.11.16",
        "models": 4,
        "tests": 1,
        "nodes success": 4,
        "nodes warn": 1,
        "sources": 1,
        "sources fresh": 0,
    }
    assert found["dbt-progress"].startswith("**5 of 5** nodes: 4 success, 1 warn")
    assert {node["status"] for node in json.loads(found["dbt-nodes"])} == {"success", "warn"}


def test_live_view_and_table_have_the_same_rows(
    embedded: Embedded, monkeypatch: pytest.MonkeyPatch, place: Place, postgres: PostgresDatabase
) -> None:
    """The rows that the warehouse wrote for a model, and those that a test found."""
    for name, value in postgres.environment().items():
        monkeypatch.setenv(name, value)
    place.use({"models/first.sql": "select * from generate_series(1, 3) as id", "models/models.yml": WARNING_TEST})

    with run_here(embedded):
        state = dbt_build(return_state=True)
    run = state.state_details.flow_run_id
    assert run is not None
    found = embedded.artifacts(run)
    cells = [line.split(" | ") for line in found["dbt-progress"].splitlines() if line.startswith(("| model", "| test"))]
    table = {node["node"]: node["rows"] for node in json.loads(found["dbt-nodes"])}

    test = "accepted_values_first_id__False__2.65ead2ac7a"
    assert table == {"model.tiny.first": 3, f"test.tiny.{test}": 2}
    assert {cell[0].removeprefix("| "): cell[3] for cell in cells} == {"model first": "3", f"test {test}": "2"}


def test_failed_run_shows_every_node(embedded: Embedded, place: Place, stale: dict[str, str]) -> None:
    """The run fails with the sentence of the error; its page has the live view, the table of nodes and the report."""
    place.use({**stale, "models/second.sql": "select nope as id from {{ ref('first') }}"})

    with run_here(embedded):
        state = dbt_build(return_state=True)
    run = state.state_details.flow_run_id
    assert run is not None
    found = embedded.artifacts(run)

    assert state.is_failed()
    assert str(state.message).startswith("1 of 5 dbt nodes failed: model second: ")
    assert str(state.message).endswith(f"run dbt-build with retry_of={run}.")
    assert found["dbt-progress"].startswith("**5 of 5** nodes: 1 error, 1 skipped, 2 success, 1 warn")
    nodes = json.loads(found["dbt-nodes"])
    assert [(node["node"], node["status"]) for node in nodes] == [
        ("model.tiny.second", "error"),
        ("model.tiny.third", "skipped"),
        ("test.tiny.accepted_values_first_id__False__2.65ead2ac7a", "warn"),
        ("model.tiny.beside", "success"),
        ("model.tiny.first", "success"),
    ]
    assert nodes[1]["message"] == "because of model.tiny.second"
    # From dbt's own threads, which know nothing of the run.
    line = "ERROR creating sql table model analytics.second"
    eventually(lambda: any(line in said for said in embedded.log(run)), "the log has the line of the failed model")
    report = embedded.report(run)
    assert report.cause is Cause.DBT_NODES_FAILED
    assert [problem.name for problem in report.problems] == ["model.tiny.second"]
    assert report.skipped == ("model.tiny.third",)
    assert report.warnings == (STALE, WARNED)


def test_page_of_a_retry_says_why_each_node_is_built(embedded: Embedded, place: Place) -> None:
    """The project is mended meanwhile; the log says how many nodes count as done."""
    project = place.use({**CHAIN, "models/second.sql": "select nope as id from {{ ref('first') }}"})
    with run_here(embedded):
        failed = dbt_build(return_state=True).state_details.flow_run_id
    assert failed is not None
    (project / "models" / "second.sql").write_text(CHAIN["models/second.sql"])
    (project / "models" / "beside.sql").write_text("select 11 as id")

    with run_here(embedded):
        run = dbt_build(retry_of=failed, return_state=True).state_details.flow_run_id
    assert run is not None
    table = json.loads(embedded.artifacts(run)["dbt-nodes"])

    assert {row["node"]: row["built because"] for row in table} == {
        "model.tiny.second": "did not succeed; modified",
        "model.tiny.third": "did not succeed",
        "model.tiny.beside": "modified",
    }
    said = (
        f"Of run {failed}, 2 of 5 nodes count as done. Built: 2 did not succeed before, 1 changed. "
        "Changed: model beside (modified), model second (modified)"
    )
    eventually(lambda: any(said in line for line in embedded.log(run)), "the log says what counts as done")


def test_long_and_coloured_message_is_whole_in_the_table_alone(embedded: Embedded, place: Place) -> None:
    """State, summary and live view are cut to a readable length; no text has a terminal's control sequence."""
    raised = "{% if execute %}{{ exceptions.raise_compiler_error('\\x1b[31mrow ' ~ 'row ' * 40000) }}{% endif %}"
    place.use({"models/first.sql": raised + "select 1 as id"})

    with run_here(embedded):
        state = dbt_build(return_state=True)
    run = state.state_details.flow_run_id
    assert run is not None
    found = embedded.artifacts(run)
    (node,) = json.loads(found["dbt-nodes"])
    eventually(lambda: any("model first:" in said for said in embedded.log(run)), "the log has the cause")
    logged = embedded.log(run)

    assert len(node["message"]) > 160_000
    assert any(len(said) > 100_000 for said in logged)
    assert len(str(state.message)) < 2_000
    assert str(state.message).endswith(f"run dbt-build with retry_of={run}.")
    assert "more characters in the run's table of nodes and its log" in str(state.message)
    assert len(embedded.report(run).summary) < 2_000
    assert len(found["dbt-progress"]) < 2_000
    assert [said for said in (*logged, *found.values(), str(state.message)) if "\x1b" in said] == []


def test_page_of_a_backfill_shows_its_batches(embedded: Embedded, place: Place) -> None:
    """How many are done and left; both event times are a person's text, as from the form or the command line."""
    place.use(
        {
            "models/events.sql": "{{ config(event_time='day') }} select timestamp '2026-01-02' as day, 1 as id",
            "models/daily.sql": """\
{{ config(materialized='incremental', incremental_strategy='microbatch', event_time='day', batch_size='day',
          begin='2026-01-01') }}
select day, id from {{ ref('events') }}
""",
        }
    )
    times = {"event_time_start": "2026-01-01", "event_time_end": "2026-01-04T02:00:00+02:00"}

    with run_here(embedded):
        state = dbt_build(return_state=True, **dbt_build.validate_parameters(times))
    run = state.state_details.flow_run_id
    assert run is not None

    assert state.message == "2 dbt nodes: 2 success"
    assert "| model daily | 3 of 3 | 0 | 0 |  |" in embedded.artifacts(run)["dbt-progress"].splitlines()
    line = "Batches of model daily: 3 of 3 done, 0 left"
    eventually(lambda: any(line in said for said in embedded.log(run)), "the log says how far it is")


def test_deprecation_is_warned_of_once(embedded: Embedded, place: Place) -> None:
    """Each invocation of dbt in a run says the same of the project; the report says it once."""
    file = """\
version: 2
models:
  - name: first
    columns:
      - name: id
        data_tests:
          - accepted_values:
              values: [1]
"""
    place.use({"models/first.sql": "select 1 as id", "models/models.yml": file})

    with run_here(embedded):
        state = dbt_build(return_state=True, docs=True)
    run = state.state_details.flow_run_id
    assert run is not None

    (warning,) = embedded.report(run).warnings
    assert warning.startswith("[WARNING][MissingArgumentsPropertyInGenericTestDeprecation]: Deprecated functionality")


def test_sigterm_still_reaches_prefect(
    embedded: Embedded, monkeypatch: pytest.MonkeyPatch, place: Place, postgres: PostgresDatabase
) -> None:
    """The child cancels its query first; then Prefect ends the run as ever, and what was done is kept."""
    set_variables(monkeypatch, {**postgres.environment(), "PREFECT_API_URL": embedded.api})
    place.use({"models/slow.sql": "select 1 as id from pg_sleep(600)"})

    with started("dbt_build()") as process:
        eventually(lambda: postgres.execute(ACTIVE) == [(1,)], "the query runs")
        process.send_signal(signal.SIGTERM)
        output = process.communicate(timeout=60)[0]

    run = embedded.client.read_flow_run(UUID(place.saved_run))
    assert run.state is not None
    assert run.state.is_crashed(), output
    assert postgres.execute(ACTIVE) == [(0,)]
    assert "dbt was stopped with 0 nodes done; its queries are cancelled" in output
