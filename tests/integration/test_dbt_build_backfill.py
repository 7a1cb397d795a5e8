"""A backfill: the batches of a microbatch model between two times, kept one by one and built once each."""

from __future__ import annotations

import json
from collections import Counter
from uuid import UUID

import pytest

from flow_of_flows.dbt.state import FolderStore, saved_runs
from flow_of_flows.errors import DataError
from tests.conditions import eventually
from tests.fixtures.dbt_builds import build, execute, started
from tests.fixtures.dbt_projects import Place

# Two rows a month. Each batch that dbt begins writes its name into a file of its own, whether it ends or not; one of
# them takes hours while main.hold is large, and one fails while main.bad has its month.
PROJECT = {
    "models/events.sql": """\
{{ config(event_time='happened_at') }}
select id, timestamp '2026-01-01' + interval (id * 15) day as happened_at from range(24) as numbers(id)
""",
    "models/monthly.sql": """\
{{ config(materialized='incremental', incremental_strategy='microbatch', event_time='happened_at', batch_size='month',
          begin='2025-01-01', concurrent_batches=var('concurrent', false)) }}
{% if execute %}
{% do run_query("insert into main.executions values ('" ~ model.batch.id ~ "', '" ~ invocation_id ~ "')") %}
{% endif %}
select id, happened_at, '{{ invocation_id }}' as built_by from {{ ref('events') }}
where case when (select count(*) from main.bad where month = strftime(happened_at, '%Y%m')) > 0
           then error('a bad month')::int = 1 else true end
{% if execute and model.batch.id == '202606' %}
and (select sum(a.i * b.i) from main.hold as a, main.hold as b) > 0
{% endif %}
""",
    "models/behind.sql": "select count(*) as n from {{ ref('monthly') }}",
}
YEAR = {"event_time_start": "2026-01-01", "event_time_end": "2027-01-01"}
MONTHS = [f"2026{month:02}" for month in range(1, 13)]


@pytest.fixture
def backfill(place: Place) -> Place:
    """A place with the project, in whose warehouse the executions of batches are counted."""
    place.use(PROJECT)
    execute(
        place.warehouse,
        "create table main.executions (batch text, invocation text)",
        "create table main.bad (month text)",
        "create table main.hold as select 1 as i",
    )
    return place


def executions(place: Place) -> Counter[object]:
    """How many times dbt has begun each batch."""
    return Counter(batch for (batch,) in execute(place.warehouse, "select batch from main.executions"))


def builders(place: Place) -> list[object]:
    """The invocation of dbt that has built the rows of each month, one by one."""
    rows = execute(
        place.warehouse,
        "select distinct strftime(happened_at, '%Y%m'), built_by from analytics.monthly order by 1",
    )
    assert [month for month, _ in rows] == MONTHS
    return [invocation for _, invocation in rows]


def kept(place: Place, months: list[str]) -> UUID:
    """The run of which the state store knows that these batches succeeded, as soon as it does."""
    store = FolderStore(place.home / "state")

    def batches_of(run: UUID) -> list[str]:
        known = saved_runs.read_run(store, run)
        results = json.loads(known[1])["results"] if known else []
        built = (each["batch_results"] for each in results if each["batch_results"])
        return [start[:7].replace("-", "") for found in built for start, _ in found["successful"]]

    def found() -> UUID | None:
        runs = [UUID(name) for name in store.folders("runs")]
        return next((run for run in runs if batches_of(run) == months), None)

    return eventually(found, f"the store has {months}", within=90)


@pytest.mark.parametrize(
    ("concurrent", "before"),
    [(False, MONTHS[:5]), (True, [*MONTHS[:5], *MONTHS[6:11]])],
    ids=["one by one", "several at once"],
)
def test_a_killed_backfill_goes_on_with_the_batches_that_are_missing(
    backfill: Place, *, concurrent: bool, before: list[str]
) -> None:
    """A new process builds those alone; the one that ran when the process was killed had left no row."""
    execute(backfill.warehouse, "create or replace table main.hold as select range as i from range(10000000)")
    call = f"dbt_build.fn.__wrapped__(vars={{'concurrent': {concurrent}}}, threads=4, **{YEAR})"
    with started(call) as process:
        run = kept(backfill, before)
        process.kill()
        process.wait()
    execute(backfill.warehouse, "create or replace table main.hold as select 1 as i")

    report = build(retry_of=run)

    assert report.summary == "2 dbt nodes: 2 success; resumed after 1 nodes were done already"
    assert executions(backfill) == Counter(MONTHS) + Counter(["202606"])
    first, second = dict.fromkeys(builders(backfill))
    assert builders(backfill) == [first if month in before else second for month in MONTHS]
    assert execute(backfill.warehouse, "select n from analytics.behind") == [(24,)]
    assert "published" not in report.facts


def test_a_failed_batch_is_the_only_one_that_a_retry_builds(backfill: Place, caplog: pytest.LogCaptureFixture) -> None:
    """The log says how far the backfill is."""
    execute(backfill.warehouse, "insert into main.bad values ('202603')")
    with pytest.raises(DataError) as failure, caplog.at_level("INFO", "flow_of_flows.dbt.events"):
        build(**YEAR)
    (problem,) = failure.value.problems
    assert problem.message.startswith("PARTIAL SUCCESS (11/12); batch 2026-03: ")
    assert "Batches of model monthly: 11 of 12 done, 0 left" in caplog.messages
    execute(backfill.warehouse, "delete from main.bad")

    report = build(retry_of=UUID(backfill.saved_run))

    assert report.summary == "2 dbt nodes: 2 success; resumed after 1 nodes were done already"
    assert executions(backfill) == Counter(MONTHS) + Counter(["202603"])


def test_fail_fast_keeps_the_batches_that_were_built(backfill: Place) -> None:
    """The model that dbt gives up has its batches in what a retry goes on from."""
    execute(backfill.warehouse, "insert into main.bad values ('202603')")
    with pytest.raises(DataError):
        build(fail_fast=True, threads=1, **YEAR)
    execute(backfill.warehouse, "delete from main.bad")
    once = executions(backfill)

    build(retry_of=UUID(backfill.saved_run))

    assert once["202602"] == 1
    assert {month: executions(backfill)[month] for month in ("202601", "202602", "202603")} == {
        "202601": 1,
        "202602": 1,
        "202603": 2,
    }
    assert len(builders(backfill)) == 12


def test_a_full_refresh_is_retried_from_its_first_batch(backfill: Place) -> None:
    """The retry of dbt would make a new table of the failed batch alone, and lose the others."""
    execute(backfill.warehouse, "insert into main.bad values ('202603')")
    with pytest.raises(DataError):
        build(full_refresh=True, **YEAR)
    execute(backfill.warehouse, "delete from main.bad")

    build(retry_of=UUID(backfill.saved_run))

    assert executions(backfill) == Counter(MONTHS * 2)
    assert execute(backfill.warehouse, "select count(*) from analytics.monthly") == [(24,)]
    assert len(set(builders(backfill))) == 1
