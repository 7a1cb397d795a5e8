"""One dbt build per schema: builds that meet in a schema run one after the other, whoever started them and where."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from prefect.states import Cancelling

from flow_of_flows.dbt import build_lock
from flow_of_flows.dbt.build_lock import BusyError
from flow_of_flows.errors import Cause, PlatformError
from tests.conditions import eventually
from tests.fixtures import dbt_projects
from tests.fixtures.aws import BUCKET
from tests.fixtures.dbt_builds import build, execute, started, wait_for
from tests.fixtures.dbt_projects import Place
from tests.fixtures.environment import set_variables
from tests.fixtures.pods import Pod
from tests.fixtures.postgres import DBT_WAITS, PostgresDatabase

ENTRYPOINT = "flow_of_flows.dbt.children.dbt_build"
# Waits until nobody holds the table.
GATE = "public.gate"
TURNS = """
on-run-start: "insert into public.turns values ('begin', clock_timestamp())"
on-run-end: "insert into public.turns values ('end', clock_timestamp())"
"""
PROJECT = {
    **dbt_projects.CHAIN,
    "models/second.sql": f"select 2 as id from {{{{ ref('first') }}}}, {GATE}",
    "dbt_project.yml": dbt_projects.PROJECT + TURNS,
}
# The times of a lock, shortened.
SHORT = """
from flow_of_flows.dbt import build_lock
from flow_of_flows.dbt.locks import schema_lock
build_lock.BEAT_SECONDS, schema_lock.HOLD_SECONDS, schema_lock.LEASE_SECONDS = 0.5, 3, 8
"""
ALL = "dbt_build.fn.__wrapped__()"
BESIDE = "dbt_build.fn.__wrapped__(select='beside')"


@pytest.fixture
def database(place: Place, postgres: PostgresDatabase, monkeypatch: pytest.MonkeyPatch) -> PostgresDatabase:
    """The warehouse, with the gate that the second model goes through, and the turns of builds in it."""
    set_variables(monkeypatch, postgres.environment())
    place.use(PROJECT)
    postgres.execute(
        f"create table {GATE} as select 1 as open", "create table public.turns (what text, at timestamptz)"
    )
    return postgres


def turns(database: PostgresDatabase) -> list[str]:
    """What builds noted of their beginnings and ends, in order."""
    return [str(what) for (what,) in database.execute("select what from public.turns order by at")]


def relation(database: PostgresDatabase, name: str) -> Any:
    """A table by its name, None where it is not there."""
    return database.execute(f"select to_regclass('{name}')::text")[0][0]


def at_the_gate(database: PostgresDatabase) -> None:
    """Return when a build waits for the gate."""
    eventually(lambda: database.execute(DBT_WAITS) == [(1,)], "a build waits at the gate", within=150)


@contextmanager
def holding(database: PostgresDatabase, call: str = ALL) -> Iterator[subprocess.Popen[str]]:
    """A build that holds its schema for as long as the block runs."""
    with started(call) as process:
        with database.locked(GATE):
            at_the_gate(database)
            yield process
        process.communicate(timeout=150)


def test_of_three_builds_that_start_together_each_has_its_turn(database: PostgresDatabase) -> None:
    """All complete, one after the other."""
    with ExitStack() as stack:
        processes = [stack.enter_context(started()) for _ in range(3)]
        outputs = [process.communicate(timeout=280)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], outputs
    assert turns(database) == ["begin", "end"] * 3


def test_in_duckdb_the_second_build_waits_for_the_file(place: Place) -> None:
    """Where it failed with DuckDB's own error before."""
    place.use({**dbt_projects.CHAIN, "models/long.sql": "select sum(a.i * b.i) as n from main.hold a, main.hold b"})
    execute(place.warehouse, "create table main.hold as select range as i from range(40000)")
    with started() as one, started() as two:
        outputs = [process.communicate(timeout=250)[0] for process in (one, two)]
    assert [one.returncode, two.returncode] == [0, 0], outputs
    assert sum("Waiting for process" in output for output in outputs) == 1


def test_a_build_into_another_schema_does_not_wait(database: PostgresDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    """It completes while the first one works."""
    with database.locked(GATE), started() as first:
        at_the_gate(database)
        monkeypatch.setenv("FLOWS_TARGET_SCHEMA", "other")
        assert build(select="beside").facts["models"] == 1
        assert first.poll() is None
    assert relation(database, "other.beside") == "other.beside"


def test_a_build_that_does_not_wait_fails_or_is_skipped(place: Place, database: PostgresDatabase) -> None:
    """As `when_busy` says: in one sentence that names the other one, or completed with nothing built or published."""
    with holding(database) as first:
        with pytest.raises(BusyError) as caught:
            build(when_busy="fail")
        report = build(when_busy="skip")
        assert not place.artifacts.exists()
    assert caught.value.cause is Cause.BUSY
    assert caught.value.message.startswith(f"The schema is busy with process {first.pid} of ")
    assert caught.value.message.endswith(", which builds into analytics")
    assert report.summary == f"Skipped, nothing was built: {caught.value.message}"
    assert report.facts == {"skipped": "busy"}
    assert first.returncode == 0


def test_a_waiting_build_goes_on_when_the_one_before_is_killed(database: PostgresDatabase) -> None:
    """At once on the same machine, although the killed one released nothing."""
    with database.locked(GATE), started() as first:
        at_the_gate(database)
        with started(BESIDE) as second:
            wait_for(second, f"Waiting for process {first.pid} of ")
            first.kill()
            second.communicate(timeout=100)
    assert second.returncode == 0
    assert relation(database, "analytics.beside") == "analytics.beside"


def test_a_waiting_build_is_cancelled_at_once(place: Place, database: PostgresDatabase) -> None:
    """The one that it waited for completes, and the next has nobody before it."""
    with holding(database) as first, started(BESIDE) as second:
        wait_for(second, f"Waiting for process {first.pid} of ")
        second.send_signal(signal.SIGTERM)
        assert second.wait(10) == -signal.SIGTERM
    assert first.returncode == 0
    (record,) = (place.home / "state" / "locks").glob("*/holders.json")
    assert '"holders":[]' in record.read_text()


def test_a_frozen_build_that_wakes_up_writes_nothing_more(database: PostgresDatabase) -> None:
    """Its lease was over and another one built meanwhile: the query that was done is not committed."""
    with started(SHORT + ALL) as first:
        with database.locked(GATE):
            at_the_gate(database)
            first.send_signal(signal.SIGSTOP)
            with started(SHORT + BESIDE) as second:
                output = second.communicate(timeout=150)[0]
            assert second.returncode == 0, output
        eventually(lambda: database.execute(DBT_WAITS) == [(0,)], "the query of the frozen build is done")
        first.send_signal(signal.SIGCONT)
        output = first.communicate(timeout=100)[0]
    assert first.returncode == 1
    assert "The lock on analytics was lost: it was broken, or given to a build that is over." in output
    assert relation(database, "analytics.second") is None


def test_while_its_lock_store_is_away_a_build_sends_nothing(place: Place, database: PostgresDatabase) -> None:
    """After a while; it goes on when the store confirms that the lock is still its own."""
    locks = place.home / "state" / "locks"
    with started(SHORT + ALL) as process:
        with database.locked(GATE):
            at_the_gate(database)
            locks.rename(locks.with_name("kept"))
            locks.touch()
            wait_for(process, "No statement is sent until the lock on analytics is confirmed")
        eventually(lambda: database.execute(DBT_WAITS) == [(0,)], "the query is done")
        assert relation(database, "analytics.second") is None
        locks.unlink()
        locks.with_name("kept").rename(locks)
        output = process.communicate(timeout=100)[0]
    assert process.returncode == 0, output
    assert "The lock on analytics is confirmed again" in output
    assert relation(database, "analytics.third") == "analytics.third"


def test_a_lock_store_that_stays_away_is_the_operators_fault(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is built."""
    place.use()
    (place.home / "state").mkdir(parents=True)
    (place.home / "state" / "locks").touch()
    monkeypatch.setattr(build_lock, "ACQUIRE_SECONDS", 1.0)
    with pytest.raises(PlatformError) as caught:
        build()
    assert caught.value.cause is Cause.PLATFORM
    assert caught.value.message == "The state store cannot be used: Not a directory"
    assert not place.warehouse.exists()


def test_runs_with_stores_of_their_own_meet_at_the_prefect_api(
    place: Place, database: PostgresDatabase, pod: Pod
) -> None:
    """The second says for which run it waits, in its state and its log; then both complete."""
    first, second = pod.run_of(ENTRYPOINT), pod.run_of(ENTRYPOINT, select="beside")
    with database.locked(GATE):
        pod.start(first, FLOWS_STATE_STORE=str(place.home / "one"))
        at_the_gate(database)
        pod.start(second, FLOWS_STATE_STORE=str(place.home / "two"))
        eventually(lambda: pod.state(second)[0] == "WaitingForSchema", "the second waits", within=150)
        message = pod.state(second)[1]
    name = pod.embedded.client.read_flow_run(first).name
    assert message.startswith(f"Waiting for run {name} (dbt-build, started by ")
    assert message.endswith("), which builds into analytics")
    assert pod.embedded.end_of(first).state_name == "Completed"
    assert pod.embedded.end_of(second).state_name == "Completed"
    assert pod.states(second)[-3:] == ["WaitingForSchema", "Running", "Completed"]
    assert message in pod.logged(second)


def test_a_waiting_run_that_is_cancelled_ends_at_once(place: Place, database: PostgresDatabase, pod: Pod) -> None:
    """As Cancelled, with no place in the queue, and the run that it waited for completes."""
    first, second = pod.run_of(ENTRYPOINT), pod.run_of(ENTRYPOINT, select="beside")
    with database.locked(GATE):
        pod.start(first)
        at_the_gate(database)
        pod.start(second)
        eventually(lambda: pod.state(second)[0] == "WaitingForSchema", "the second waits", within=150)
        (record,) = (place.home / "state" / "locks").glob("*/holders.json")
        assert [waiting["run"] for waiting in json.loads(record.read_text())["queue"]] == [str(second)]
        pod.embedded.client.set_flow_run_state(second, Cancelling())
        assert pod.embedded.end_of(second).state_name == "Cancelled"
        assert json.loads(record.read_text())["queue"] == []
        assert pod.state(first)[0] == "Running"
    assert pod.embedded.end_of(first).state_name == "Completed"
    assert relation(database, "analytics.beside") == "analytics.beside"


def test_two_laptops_and_a_cluster_that_share_a_bucket_take_turns(
    place: Place, database: PostgresDatabase, pod: Pod, bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has a folder of its own, and only the pod has a Prefect API."""
    monkeypatch.setenv("FLOWS_STATE_STORE", f"s3://{bucket.name}")
    assert bucket.name == BUCKET
    run = pod.run_of(ENTRYPOINT)
    with ExitStack() as stack:
        pod.start(run)
        laptops = []
        for laptop in ("one", "two"):
            monkeypatch.setenv("FLOWS_HOME", str(place.home / laptop))
            laptops.append(stack.enter_context(started()))
        outputs = [process.communicate(timeout=280)[0] for process in laptops]
    assert [process.returncode for process in laptops] == [0, 0], outputs
    assert pod.embedded.end_of(run).state_name == "Completed"
    assert turns(database) == ["begin", "end"] * 3
