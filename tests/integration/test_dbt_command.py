"""Any other dbt command: real dbt on DuckDB, each command with the rows that it leaves or shows."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flow_of_flows.child_report import ChildReport
from flow_of_flows.dbt import build_lock
from flow_of_flows.dbt.build_lock import BuildLock, BusyError
from flow_of_flows.dbt.children import dbt_command
from flow_of_flows.dbt.locks.schemas import WrittenSchemas
from flow_of_flows.dbt.state import opened
from flow_of_flows.errors import ConfigurationError, DataError
from flow_of_flows.settings import Settings
from tests.fixtures.dbt_builds import add_order, build, built
from tests.fixtures.dbt_projects import CHAIN, NEEDS_RAW, Place
from tests.fixtures.server import Embedded

# The child without the Prefect flow around it.
command: Callable[..., ChildReport] = dbt_command.fn.__wrapped__  # type: ignore[attr-defined]

MACROS = """\
{% macro grant_select(role, times=1) %}
  {% set row = "'" ~ role ~ "' as role, " ~ times ~ " as times" %}
  {% do run_query("create or replace table analytics.granted as select " ~ row) %}
  {{ print("granted to " ~ role) }}
{% endmacro %}
{% macro broken() %}
  {% do run_query("select nothing") %}
{% endmacro %}
"""
SNAPSHOT = """\
snapshots:
  - name: history
    relation: ref('first')
    config: {unique_key: id, strategy: check, check_cols: all}
"""
FILES = {
    **CHAIN,
    "seeds/codes.csv": "code,name\n1,a\n2,b\n",
    "snapshots/history.yml": SNAPSHOT,
    "macros/macros.sql": MACROS,
}


@pytest.fixture
def project(place: Place) -> Place:
    """A project with one of everything."""
    place.use(FILES)
    return place


@pytest.fixture
def rows_of(embedded: Embedded) -> Iterator[Callable[[str], list[dict[str, Any]]]]:
    """Run a command as a Prefect flow; the rows of its result on its page."""
    logger = logging.getLogger("flow_of_flows")
    before = list(logger.handlers), logger.propagate, logger.level

    def run(text: str) -> list[dict[str, Any]]:
        state = dbt_command(command=text, return_state=True)
        assert state.is_completed(), state.message
        run = state.state_details.flow_run_id
        assert isinstance(run, UUID)
        found: list[dict[str, Any]] = json.loads(embedded.artifacts(run)["result"])
        return found

    with temporary_settings({PREFECT_API_URL: embedded.api}):
        yield run
    (logger.handlers, logger.propagate), level = before[:2], before[2]
    logger.setLevel(level)


def _summary(text: str, **parameters: Any) -> str:
    return command(command=text, **parameters).summary


def test_commands_that_write_leave_their_rows(project: Place) -> None:
    """Each once; nothing of it is production."""
    assert _summary("run --select first second") == "dbt run: 2 dbt nodes: 2 success"
    assert _summary("seed") == "dbt seed: 1 dbt nodes: 1 success"
    assert _summary("snapshot") == "dbt snapshot: 1 dbt nodes: 1 success"
    assert _summary("test --select first") == "dbt test: 1 dbt nodes: 1 pass"
    operation = "run-operation grant_select --args {role: reader, times: 2}"
    assert _summary(operation) == "dbt run-operation: 1 dbt nodes: 1 success"

    tables = built(project)
    assert [row[0] for row in tables.pop("history")] == [1]
    assert tables == {"codes": [(1, "a"), (2, "b")], "first": [(1,)], "granted": [("reader", 2)], "second": [(2,)]}
    assert not project.artifacts.exists()
    assert project.saved_runs == []


def test_variables_of_the_parameter_reach_dbt(place: Place) -> None:
    """Those of the form, and those of the text."""
    place.use({"models/a.sql": "select {{ var('n', {'of': 1}).of }} as n"})
    for parameters, rows in (({}, [(1,)]), ({"vars": {"n": {"of": 2}}}, [(2,)])):
        command(command="run", **parameters)
        assert built(place) == {"a": rows}
    command(command="run --vars {n: {of: 3}}")
    assert built(place) == {"a": [(3,)]}


def test_commands_that_read_have_their_rows_on_the_page(
    project: Place, rows_of: Callable[[str], list[dict[str, Any]]]
) -> None:
    """What `show`, `ls`, `compile`, a macro and the catalog are for."""
    command(command="run --select first second")
    before = built(project)

    assert rows_of("show --select second") == [{"id": 2}]
    assert rows_of("show --inline \"select id, 'x' as name from {{ ref('first') }}\"") == [{"id": 1, "name": "x"}]
    assert len(rows_of('show --inline "select * from range(1200)" --limit 1200')) == 1_000
    assert rows_of("ls --resource-type model") == [
        {"node": "tiny.beside"},
        {"node": "tiny.first"},
        {"node": "tiny.second"},
        {"node": "tiny.third"},
    ]
    listed = "ls --select second --output json --output-keys name alias"
    assert rows_of(listed) == [{"name": "second", "alias": "second"}]
    assert rows_of("compile --select second") == [
        {"node": "model.tiny.second", "sql": 'select id + 1 as id from "warehouse"."analytics"."first"'}
    ]
    assert rows_of("docs generate --select first") == [
        {"node": "model.tiny.first", "relation": "analytics.first", "type": "BASE TABLE", "columns": 1}
    ]
    assert rows_of("deps") == [{"printed": "Warning: No packages were found in packages.yml"}]
    assert built(project) == before
    assert rows_of("run-operation grant_select --args {role: reader}") == [{"printed": "granted to reader"}]
    assert built(project) == {**before, "granted": [("reader", 1)]}


@pytest.mark.usefixtures("project")
def test_show_asks_for_so_many_rows_and_says_so() -> None:
    """A table may be larger than a page, and than a pod."""
    report = command(command='show --inline "select * from range(1200)" --limit -1')
    assert report.warnings == ("show asks the warehouse for 1,000 rows at most, whatever --limit says",)
    assert command(command='show --inline-direct "select 1.5 as a"').summary == "dbt show: done"


def test_freshness_of_a_source(place: Place, rows_of: Callable[[str], list[dict[str, Any]]]) -> None:
    """A row per source; one that is stale fails, as dbt's own command does."""
    place.use(NEEDS_RAW)
    add_order(place)
    source = "source.tiny.jaffle_shop.raw_orders"
    (row,) = rows_of("source freshness")
    assert (row["source"], row["status"]) == (source, "pass")


def test_a_stale_source_fails(place: Place) -> None:
    """With what to do about it."""
    place.use(NEEDS_RAW)
    add_order(place, "72 hours")
    with pytest.raises(DataError) as stale:
        command(command="source freshness")
    assert stale.value.message.startswith("1 sources are not fresh: source.tiny.jaffle_shop.raw_orders (error: ")
    assert stale.value.hint == "load them, or change their freshness in the project"


def test_what_failed_is_said_as_for_a_build(project: Place) -> None:
    """A model that does not run, and a macro, of which dbt's own result has no message."""
    (project.project / "models/second.sql").write_text("select nothing as id from {{ ref('first') }}")
    with pytest.raises(DataError) as failed:
        command(command="run")
    assert failed.value.message.startswith("1 of 4 dbt nodes failed: model second: ")
    assert failed.value.message.endswith(". 1 skipped because of them")
    assert failed.value.hint == "correct them, then run dbt-command again"
    assert failed.value.skipped == ("model.tiny.third",)
    with pytest.raises(DataError) as failed:
        command(command="run-operation broken")
    assert failed.value.message.startswith(
        '1 of 1 dbt nodes failed: macro broken: Runtime Error Binder Error: Referenced column "nothing" '
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("run --select nothing", "Nothing matches the selection select='nothing'"),
        ("ls --select tag:nothing", "Nothing matches the selection select='tag:nothing'"),
        (
            "run-operation nothing",
            "dbt refused the project: Compilation Error dbt could not find a macro with ",
        ),
        ("show", "dbt refused the project: Runtime Error Either --select or --inline must be passed to show"),
        ("clone", "There is no production for clone to compare with, defer to or clone: First run: no production "),
        ("run --defer", "There is no production for run to compare with, defer to or clone: First run: no production "),
        ("ls --select state:new", "There is no production for ls to compare with, defer to or clone: First run: "),
    ],
)
def test_what_matches_nothing_is_refused(text: str, message: str, project: Place) -> None:
    """A person who typed it has to know."""
    with pytest.raises(ConfigurationError) as refused:
        command(command=text)
    assert refused.value.message.startswith(message)
    assert not project.warehouse.exists() or built(project) == {}


def test_production_is_compared_with_deferred_to_and_cloned(project: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the state store's artifacts, and never replaced."""
    build()
    published = sorted((file.name, file.read_bytes()) for file in project.artifacts.iterdir())
    monkeypatch.setenv("FLOWS_TARGET_SCHEMA", "dev")

    assert _summary("clone --select first") == "dbt clone: 1 dbt nodes: 1 success"
    assert _summary("run --select third --defer") == "dbt run: 1 dbt nodes: 1 success"
    assert _summary("ls --select state:modified") == "dbt ls: 0 nodes"
    (project.project / "models/beside.sql").write_text("select 11 as id")
    assert _summary("run --select state:modified") == "dbt run: 1 dbt nodes: 1 success"

    assert built(project, "dev") == {"beside": [(11,)], "first": [(1,)], "third": [(3,)]}
    assert built(project)["beside"] == [(10,)]
    assert sorted((file.name, file.read_bytes()) for file in project.artifacts.iterdir()) == published


def test_only_what_writes_waits_for_a_build(project: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `when_busy`, as for a build; the lock is that on the schemas of what is selected."""
    # A holder is busy once its heartbeat moves.
    monkeypatch.setattr(build_lock, "BEAT_SECONDS", 0.1)
    monkeypatch.setattr(build_lock, "POLL_SECONDS", 0.2)
    command(command="run --select first")
    settings = Settings.load()
    holder = BuildLock.of(opened(settings), uuid4(), "fail")
    with holder.held(_written(project)):
        for text in ("ls", "show --select first", "compile --select first", "test --select first", "docs generate"):
            command(command=text, when_busy="fail")
        writing = (
            *("run --select first", "seed", "snapshot", "test --select first --store-failures", "show --select codes"),
            "run-operation grant_select --args {role: reader}",
        )
        for text in writing:
            with pytest.raises(BusyError, match="The schema is busy with process "):
                command(command=text, when_busy="fail")
        assert _summary("seed", when_busy="skip").startswith("Skipped, nothing was built: The schema is busy with ")


def _written(place: Place) -> WrittenSchemas:
    """What a build of the project writes to."""
    mark = (place.warehouse.parent / f".{place.warehouse.name}.id").read_text()
    return WrittenSchemas(f"duckdb {mark}", frozenset({(place.warehouse.name, place.warehouse.name)}))
