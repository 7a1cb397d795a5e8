"""Killing the dbt child with SIGKILL: what it did is in the state store while it runs, and is not done again."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import ClassVar
from uuid import UUID

import pytest
from prefect.states import AwaitingRetry

from flow_of_flows.dbt.run_artifacts import FIRST_PAUSE
from flow_of_flows.dbt.state import FolderStore, S3Store, Store, saved_runs
from flow_of_flows.errors import PlatformError
from tests.conditions import eventually
from tests.faults.rebuilt import succeeded_in
from tests.fixtures import dbt_projects
from tests.fixtures.aws import BUCKET, REGION
from tests.fixtures.dbt_builds import build, execute, started
from tests.fixtures.dbt_projects import Place
from tests.fixtures.environment import set_variables
from tests.fixtures.pods import Pod
from tests.fixtures.postgres import DBT_WAITS, PostgresDatabase

DONE = {"first", "beside", "not_null_first_id"}
REST = {"second", "third"}
ENTRYPOINT = "flow_of_flows.dbt.children.dbt_build"
# Waits until nobody holds the table.
GATE = "public.gate"
GATED = f"select 2 as id from {{{{ ref('first') }}}}, {GATE}"
# Takes hours, until the table has one row.
LONG = "select 2 as id, sum(a.i * b.i) as n from {{ ref('first') }}, main.hold a, main.hold b"


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, place: Place, monkeypatch: pytest.MonkeyPatch) -> Store:
    """The state store that the child uses, of each kind."""
    if request.param == "folder":
        return FolderStore(place.home / "state")
    request.getfixturevalue("bucket")
    monkeypatch.setenv("FLOWS_STATE_STORE", f"s3://{BUCKET}")
    return S3Store(BUCKET, "", REGION)


@pytest.fixture
def database(place: Place, postgres: PostgresDatabase, monkeypatch: pytest.MonkeyPatch) -> PostgresDatabase:
    """The warehouse, with the gate that the second model goes through."""
    set_variables(monkeypatch, postgres.environment())
    place.use({**dbt_projects.CHAIN, "models/second.sql": GATED})
    postgres.execute(f"create table {GATE} as select 1 as open")
    return postgres


def kept(store: Store, nodes: set[str]) -> UUID:
    """The run of which the store knows that these nodes succeeded, as soon as it does."""

    def found() -> UUID | None:
        runs = [UUID(name) for name in store.folders("runs")]
        return next((run for run in runs if _succeeded(store, run) == nodes), None)

    return eventually(found, f"the store has {sorted(nodes)}", within=90)


def _succeeded(store: Store, run: UUID) -> set[str]:
    known = saved_runs.read_run(store, run)
    return _names(known[1]) if known else set()


def _names(results: bytes) -> set[str]:
    return {name.split(".")[2] for name in succeeded_in(json.loads(results))}


def test_killed_in_duckdb_a_new_process_builds_the_rest(place: Place, store: Store) -> None:
    """The table of a model that was done is the one that the killed process made."""
    place.use({**dbt_projects.CHAIN, "models/second.sql": LONG})
    execute(place.warehouse, "create table main.hold as select range as i from range(10000000)")
    with started() as process:
        run = kept(store, DONE)
        process.kill()
        process.wait()
    before = saved_runs.read_run(store, run)
    assert before is not None
    assert not before[0].complete
    execute(place.warehouse, "create or replace table main.hold as select 1 as i")

    report = build(retry_of=run)

    assert report.summary == "2 dbt nodes: 2 success; resumed after 3 nodes were done already"
    assert report.warnings == ()
    assert (report.facts["done before"], report.facts["models"], report.facts["tests"]) == (3, 2, 0)
    assert execute(place.warehouse, "select id from analytics.third") == [(3,)]


def test_killed_in_postgres_the_same_run_goes_on_in_a_new_pod(
    store: Store, database: PostgresDatabase, pod: Pod
) -> None:
    """As after a pod that was lost: the same run id, another process, nothing is done twice."""
    run = pod.run_of(ENTRYPOINT)
    with database.locked(GATE):
        process = pod.start(run)
        assert kept(store, DONE) == run
        os.kill(pod.engine(process), signal.SIGKILL)
        process.wait(60)
    first = database.execute("select 'analytics.first'::regclass::oid")
    pod.embedded.client.set_flow_run_state(run, AwaitingRetry(), force=True)

    assert pod.start(run).wait(120) == 0

    summary = "2 dbt nodes: 2 success; resumed after 3 nodes were done already"
    assert pod.state(run) == ("Completed", summary)
    assert database.execute("select 'analytics.first'::regclass::oid") == first
    assert database.execute("select id from analytics.third") == [(3,)]


def test_killed_when_the_next_model_begins_the_one_before_it_is_kept(store: Store, database: PostgresDatabase) -> None:
    """Without waiting for the store: that `second` asks for its gate says that the store has `first`."""
    with database.locked(GATE), started() as process:
        eventually(lambda: database.execute(DBT_WAITS) == [(1,)], "the second model waits", within=90)
        process.kill()
        process.wait()

    (run,) = (UUID(name) for name in store.folders("runs"))
    assert "first" in _succeeded(store, run)


def test_a_retry_that_is_killed_keeps_what_both_did(place: Place, store: Store, database: PostgresDatabase) -> None:
    """Two tries are killed, each behind another model; the third builds what neither did, and clears up."""
    place.use(
        {
            **dbt_projects.CHAIN,
            "models/second.sql": GATED,
            "models/third.sql": "select id + 1 as id from {{ ref('second') }}, public.exit",
        }
    )
    database.execute("create table public.exit as select 1 as open")
    with database.locked("public.exit"):
        with database.locked(GATE), started() as process:
            one = kept(store, DONE)
            process.kill()
            process.wait()
        with started(f"import uuid; dbt_build.fn.__wrapped__(retry_of=uuid.UUID('{one}'))") as process:
            two = kept(store, DONE | {"second"})
            process.kill()
            process.wait()

    report = build(retry_of=two)

    assert report.summary == "1 dbt nodes: 1 success; resumed after 4 nodes were done already"
    assert list(place.home.glob("dbt/*/run-*")) == []
    assert database.execute("select id from analytics.third") == [(3,)]


def test_killed_before_it_publishes_the_next_process_publishes_and_builds_nothing(place: Place, store: Store) -> None:
    """A process that dies when dbt is through left all results; the next makes them production."""
    place.use()
    with started("""
import os
from flow_of_flows.dbt.run_artifacts import RunArtifacts
RunArtifacts.publish = lambda *_: os.kill(os.getpid(), 9)
dbt_build.fn.__wrapped__()
""") as process:
        assert process.wait(120) == -signal.SIGKILL
    (killed,) = (UUID(name) for name in store.folders("runs"))
    assert _succeeded(store, killed) == DONE | REST
    assert store.folders("history") == {}

    report = build(retry_of=killed)

    assert report.summary == f"Nothing was left to do of run {killed}"
    assert report.facts["done before"] == 5
    (published,) = store.folders("history")
    assert _names(store.read(f"history/{published}/run_results.json") or b"") == DONE | REST


def test_a_run_that_was_over_and_comes_back_does_nothing(pod: Pod, place: Place, store: Store) -> None:
    """Its pod was killed before Prefect heard of its success."""
    place.use()
    run = pod.run_of(ENTRYPOINT)
    assert pod.start(run).wait(120) == 0
    assert pod.state(run)[0] == "Completed"
    pod.embedded.client.set_flow_run_state(run, AwaitingRetry(), force=True)

    assert pod.start(run).wait(120) == 0

    assert pod.state(run) == ("Completed", f"Nothing was left to do of run {run}")
    assert len(store.folders("history")) == 1


class Flaky(FolderStore):
    """A store that refuses writes while the test says so, except those of its locks."""

    broken = threading.Event()
    attempts: ClassVar[list[float]] = []

    def write(self, key: str, data: bytes) -> None:
        """Write, unless it is broken."""
        if self.broken.is_set() and not key.startswith("locks/"):
            self.attempts.append(time.monotonic())
            raise PlatformError("AWS does not write to the state store: it is down", location=self.describe())
        super().write(key, data)


def test_a_store_that_is_down_for_a_while_neither_fails_nor_slows_the_build(
    place: Place, database: PostgresDatabase, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says so once, the writes are retried less and less often, and what was missed is kept in the end."""
    store = Flaky(place.home / "state")
    monkeypatch.setattr("flow_of_flows.dbt.children.opened", lambda _: store)
    store.attempts.clear()
    store.broken.set()

    def later() -> None:
        with database.locked(GATE):
            eventually(lambda: len(store.attempts) > 2, "it was tried three times", within=60)
            store.broken.clear()
            kept(store, DONE)

    with ThreadPoolExecutor() as pool, caplog.at_level("INFO", "flow_of_flows.dbt.run_artifacts"):
        watching = pool.submit(later)
        report = build()
        watching.result()

    assert report.summary == "5 dbt nodes: 1 pass, 4 success"
    assert report.warnings == ()
    said = [record.message for record in caplog.records if record.name == "flow_of_flows.dbt.run_artifacts"]
    assert [line.partition(": ")[0] for line in said] == [
        "What this run does is not kept for now, a run that is killed starts anew",
        "The state store takes what this run does again",
        f"Published {report.facts['published']} in {place.home / 'state'}",
    ]
    assert said[0].endswith(f": AWS does not write to the state store: it is down. Where: {place.home / 'state'}.")
    pauses = [after - before for before, after in pairwise(store.attempts)]
    assert pauses[0] > FIRST_PAUSE * 0.8
    assert pauses[1] > 2 * FIRST_PAUSE * 0.8
