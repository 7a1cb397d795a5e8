"""Faults of a warehouse inside a dbt node: the operator's, named apart from failures of data, and gone with a retry."""

from __future__ import annotations

import subprocess
import sys
from uuid import UUID

import pytest

from flow_of_flows.dbt import build as dbt_build_module
from flow_of_flows.errors import Cause, DataError, FlowsError, PlatformError
from tests.commands import REPOSITORY
from tests.fixtures import dbt_projects
from tests.fixtures.dbt_builds import build, execute
from tests.fixtures.dbt_projects import Place
from tests.fixtures.environment import set_variables
from tests.fixtures.postgres import PostgresDatabase
from tests.fixtures.snowflake import SnowflakeDatabase

# Ends its own session, for as long as the fuse is there.
LOST = "select fuse.id from public.fuse join {{ ref('first') }} on pg_terminate_backend(pg_backend_pid())"
OWNED = """\
version: 2
models:
  - name: second
    config: {meta: {owner: "ana@example.com"}}
  - name: beside
    config: {meta: {owner: "bob@example.com"}}
"""
# Two days of events; the model's batch of the first day loses its session once.
MICROBATCH = {
    "models/events.sql": """\
{{ config(event_time='happened_at') }}{% set day = modules.datetime.timedelta(days=1) %}
select 1 as id, timestamp '{{ run_started_at.date() - day }}' as happened_at
union all select 2, timestamp '{{ run_started_at.date() }}'
""",
    "models/daily.sql": """\
{{ config(materialized='incremental', incremental_strategy='microbatch', event_time='happened_at', batch_size='day',
          unique_key='id', begin=(run_started_at - modules.datetime.timedelta(days=1)).strftime('%Y-%m-%d')) }}
select id, happened_at from {{ ref('events') }}
where case when id = 1 and nextval('public.tries') = 1 then pg_terminate_backend(pg_backend_pid()) else true end
""",
}


@pytest.fixture
def database(postgres: PostgresDatabase, monkeypatch: pytest.MonkeyPatch) -> PostgresDatabase:
    """A database as the target of the settings, with a fuse for models that are to lose their session."""
    set_variables(monkeypatch, postgres.environment())
    postgres.execute("create table public.fuse as select 1 as id")
    return postgres


def raising(state: str) -> str:
    """SQL that ends with an SQLSTATE while there is a fuse."""
    condition = "if exists (select from public.fuse) then"
    return f"do $$ begin {condition} raise exception 'said' using errcode = '{state}'; end if; end $$"


def hooked(state: str) -> str:
    """A model whose hook ends with an SQLSTATE."""
    return '{{ config(pre_hook="' + raising(state) + '") }} select 2 as id'


def test_a_lost_session_is_the_operators(place: Place, database: PostgresDatabase) -> None:
    """The run may be tried again, no owner is named, and a retry builds only what did not succeed."""
    place.use({**dbt_projects.CHAIN, "models/second.sql": LOST, "models/owned.yml": OWNED})
    with pytest.raises(PlatformError) as failure:
        build()
    assert failure.value.cause is Cause.PLATFORM
    assert failure.value.message.startswith("1 of 5 dbt nodes failed by a fault of the warehouse: model second: ")
    assert failure.value.message.endswith(". 1 skipped because of them")
    assert [(p.name, p.status, p.owner) for p in failure.value.problems] == [("model.tiny.second", "platform", None)]
    assert failure.value.hint is not None
    assert failure.value.hint.startswith("see whether the warehouse is up and has room for these sessions, then retry")

    database.execute("delete from public.fuse")
    report = build(retry_of=UUID(place.saved_run))
    assert report.summary == "2 dbt nodes: 2 success; resumed after 3 nodes were done already"


def test_a_fault_beside_a_failure_of_data_is_tried_again(
    place: Place, database: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The data failure stays the cause, with its owner; what lost its session once is built, and what is behind it."""
    monkeypatch.setattr(dbt_build_module, "FAULT_PAUSE_SECONDS", 0.0)
    database.execute("create sequence public.tries")
    once = "case when nextval('public.tries') = 1 then pg_terminate_backend(pg_backend_pid()) else true end"
    second = "select first.id + 1 as id from {{ ref('first') }} as first where " + once
    broken = {"models/beside.sql": "select 1 / 0 as id", "models/owned.yml": OWNED}
    place.use({**dbt_projects.CHAIN, "models/second.sql": second, **broken})
    with pytest.raises(DataError) as failure:
        build()
    assert failure.value.message.startswith("1 of 5 dbt nodes failed: model beside: ")
    assert "fault" not in failure.value.message
    assert [(p.name, p.owner) for p in failure.value.problems] == [("model.tiny.beside", "bob@example.com")]
    assert failure.value.warnings == ("A fault of the warehouse failed some nodes; they are tried once more",)
    assert database.execute("select id from analytics.third") == [(3,)]


def test_a_fault_that_stays_is_named_beside_a_failure_of_data(
    place: Place, database: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the failure of data is called one, and a retry builds both."""
    monkeypatch.setattr(dbt_build_module, "FAULT_PAUSE_SECONDS", 0.0)
    broken = {"models/beside.sql": "select 1 / (select count(*) - 1 from public.fuse) as id", "models/owned.yml": OWNED}
    place.use({**dbt_projects.CHAIN, "models/second.sql": LOST, **broken})
    with pytest.raises(DataError) as failure:
        build()
    assert failure.value.cause is Cause.DBT_NODES_FAILED
    assert "; a fault of the warehouse failed 1 more: model second: " in failure.value.message
    assert [(p.name, p.status, p.owner) for p in failure.value.problems] == [
        ("model.tiny.beside", "error", "bob@example.com"),
        ("model.tiny.second", "platform", None),
    ]
    database.execute("delete from public.fuse")
    report = build(retry_of=UUID(place.saved_run))
    assert report.summary == "3 dbt nodes: 3 success; resumed after 2 nodes were done already"


def test_a_batch_that_loses_its_session_is_the_operators(place: Place, database: PostgresDatabase) -> None:
    """A microbatch model whose only failed batch met a fault is tried again."""
    database.execute("create sequence public.tries")
    place.use(MICROBATCH)
    with pytest.raises(PlatformError) as failure:
        build()
    assert [(p.name, p.status) for p in failure.value.problems] == [("model.tiny.daily", "platform")]
    assert build(retry_of=UUID(place.saved_run)).facts["nodes success"] == 1
    assert database.execute("select id from analytics.daily order by id") == [(1,), (2,)]


def test_too_many_sessions_are_the_operators(
    place: Place, database: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A login that the server has no room for has no SQLSTATE in the driver."""
    role = f"small_{database.database}"
    database.execute(
        f"create role {role} login password 'x' connection limit 2",
        f"grant create on database {database.database} to {role}",
    )
    monkeypatch.setenv("PGUSER", role)
    monkeypatch.setenv("PGPASSWORD", "x")
    place.use({f"models/m{number}.sql": f"select {number} as id, pg_sleep(0.5)::text as s" for number in range(8)})
    with pytest.raises(PlatformError, match=f'too many connections for role "{role}"'):
        build(threads=6)


@pytest.mark.parametrize(
    "state",
    [
        "40001",  # two transactions that cannot be put in a row
        "40P01",  # a deadlock
        "53200",  # no memory left
        "57P01",  # an administrator, or a failover
    ],
)
def test_faults_by_sqlstate(place: Place, database: PostgresDatabase, state: str) -> None:
    """The server's code decides, not its text."""
    place.use({"models/second.sql": hooked(state)})
    with pytest.raises(PlatformError):
        build()
    database.execute("delete from public.fuse")
    assert build(retry_of=UUID(place.saved_run)).facts["nodes success"] == 1


def test_a_lock_that_is_not_to_be_had_is_the_operators(place: Place, database: PostgresDatabase) -> None:
    """A statement that waits too long for a lock may have it next time."""
    database.execute(f"alter database {database.database} set lock_timeout = '200ms'")
    place.use({"models/second.sql": "select id from public.fuse"})
    with database.locked("public.fuse"), pytest.raises(PlatformError, match="canceling statement due to lock timeout"):
        build()


def test_a_statement_that_takes_too_long_is_the_analysts(place: Place, database: PostgresDatabase) -> None:
    """The statement would take as long the next time."""
    database.execute(f"alter database {database.database} set statement_timeout = '3s'")
    place.use({"models/second.sql": "select pg_sleep(60)::text as id"})
    with pytest.raises(DataError, match="canceling statement due to statement timeout"):
        build()


def test_a_hook_of_the_run_that_loses_its_session_is_the_operators(place: Place, database: PostgresDatabase) -> None:
    """Dbt reports a hook's exception nowhere but in the log of its adapter."""
    assert database.execute("select count(*) from public.fuse") == [(1,)]
    project = dbt_projects.PROJECT + f'on-run-end: ["{raising("40001")}"]\n'
    place.use({"dbt_project.yml": project, "models/second.sql": "select 2 as id"})
    with pytest.raises(PlatformError) as failure:
        build()
    assert [(p.name, p.status) for p in failure.value.problems] == [("operation.tiny.tiny-on-run-end-0", "platform")]


def test_an_unreadable_source_by_a_fault_is_the_operators(place: Place, database: PostgresDatabase) -> None:
    """Where freshness decides, a source that could not be checked for a fault is not called stale."""
    database.execute(
        "create schema jaffle_shop",
        "create table jaffle_shop.raw_orders as select now() as updated_at",
        f"alter database {database.database} set lock_timeout = '200ms'",
    )
    place.use(dbt_projects.NEEDS_RAW)
    with database.locked("jaffle_shop.raw_orders"), pytest.raises(PlatformError) as failure:
        build(freshness="error")
    assert failure.value.message.startswith(
        "A fault of the warehouse kept 1 sources from a check: source.tiny.jaffle_shop.raw_orders (runtime error: "
    )


@pytest.mark.parametrize(
    ("number", "family"),
    [("000608", PlatformError), ("000625", PlatformError), ("390111", PlatformError), ("000630", DataError)],
)
def test_faults_by_the_number_of_snowflake(
    number: str, family: type[FlowsError], place: Place, snowflake: SnowflakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A suspended warehouse, a lock with too many waiters and a lost session pass; a statement's timeout does not."""
    set_variables(monkeypatch, snowflake.environment())
    profiles = (REPOSITORY / "docker" / "dbt" / "profiles.yml").read_text()
    snowflake.front.refusals["select 42"] = (number, "said")
    place.use({"profiles.yml": profiles, "models/second.sql": "{{ config(pre_hook='select 42') }} select 2 as id"})
    with pytest.raises(family, match=f"model second: .*{number}"):
        build(freshness="off")
    assert build(retry_of=UUID(place.saved_run)).facts["nodes success"] == 1


def test_a_duckdb_file_that_another_process_holds_is_the_operators(place: Place) -> None:
    """DuckDB has no code for it, so its text decides; the retry finds the file free."""
    other = place.folder / "other.duckdb"
    execute(other, "create or replace table t as select 1 as id")
    attach = "attach if not exists '" + str(other) + "' as other (read_only)"
    place.use({"models/second.sql": '{{ config(pre_hook="' + attach + '") }} select id from other.t'})
    code = f"import duckdb; c = duckdb.connect({str(other)!r}); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(PlatformError, match="Could not set lock on file"):
            build()
        process.communicate(b"\n")
    assert build(retry_of=UUID(place.saved_run)).facts["nodes success"] == 1
