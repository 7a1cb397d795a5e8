"""Two work pools on one API: a sweeper cleans up in its own, and what its pipelines started in the other."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.states import AwaitingRetry, Cancelling, Completed, Crashed, Failed, Pending, Running, Scheduled

from flow_of_flows.sweeper.snapshot import FindingKind
from tests.fixtures.server import Embedded
from tests.integration.test_sweep import Pool


@pytest.fixture
def pools(embedded: Embedded) -> Iterator[tuple[Pool, Pool]]:
    """The sweeper's pool, of Jobs, and that of another team, of processes."""
    own, other = (Pool(embedded, f"pools-{uuid4().hex[:8]}") for _ in range(2))
    embedded.client.create_work_pool(WorkPoolCreate(name=own.name, type="kubernetes"))
    embedded.client.create_work_pool(WorkPoolCreate(name=other.name, type="process"))
    yield own, other
    for each in (own, other):
        embedded.client.delete_work_pool(each.name)


def test_a_child_in_another_pool_is_an_orphan_when_its_pipeline_is_over(pools: tuple[Pool, Pool]) -> None:
    """Whether it runs, waits for that pool's worker, or for its flow's own next try."""
    own, other = pools
    over, alive = own.run(Failed(), pipeline=True), own.run(Running(), pipeline=True)
    own.door.work_on(alive)
    running, queued = other.run(Running(), parent=over), other.run(Scheduled(), parent=over)
    retrying = other.run(AwaitingRetry(scheduled_time=datetime.now(UTC) + timedelta(minutes=5)), parent=over)
    expected = other.run(Running(), parent=alive)
    orphans = (running, queued, retrying)
    assert own.found() == dict.fromkeys(orphans, (FindingKind.ORPHAN, "done"))
    assert [other.state(run)[0] for run in orphans] == ["Cancelling", "Cancelled", "Cancelled"]
    assert other.state(expected)[0] == "Running"
    assert own.found() == {}


def test_a_pipeline_of_another_pool_is_not_judged_and_its_step_here_is(pools: tuple[Pool, Pool]) -> None:
    """It has no pod where this sweeper looks; a step of it that has none in this pool is lost."""
    own, other = pools
    theirs, over = other.run(Running(), pipeline=True), other.run(Failed(), pipeline=True)
    works, lost = own.run(Running(), parent=theirs), own.run(Running(), parent=theirs)
    orphan = own.run(Running(), parent=over)
    for run in (works, orphan):
        own.door.work_on(run)
    assert own.found() == {
        lost: (FindingKind.GONE, "done"),
        orphan: (FindingKind.ORPHAN, "done"),
    }
    assert other.state(theirs)[0] == "Running"
    assert own.state(works)[0] == "Running"


def test_runs_of_another_pool_are_left_alone_whatever_they_look_like(pools: tuple[Pool, Pool]) -> None:
    """Their owner's worker and Prefect's own services end them; a Job of that team may be in this namespace."""
    own, other = pools
    runs = {
        other.run(Pending()): "Pending",
        other.run(Running()): "Running",
        other.run(Scheduled()): "Scheduled",
        other.run(Crashed(), pipeline=True): "Crashed",
        other.run(Completed()): "Completed",
    }
    for run in runs:
        own.door.work_on(run)
    assert own.found() == {}
    assert {run: other.state(run)[0] for run in runs} == runs
    assert own.door.deleted == []


def test_a_pool_whose_runs_are_not_jobs_is_judged_by_the_api_alone(pools: tuple[Pool, Pool]) -> None:
    """A run without a pod is the rule there; its pipeline's end, a stuck cancellation and a late run are seen."""
    _, processes = pools
    working = processes.run(Running(), pipeline=True)
    over = processes.run(Failed(), pipeline=True)
    orphan, stuck = processes.run(Running(), parent=over), processes.run(Running())
    processes.embedded.client.set_flow_run_state(stuck, Cancelling())
    processes.run(Scheduled(scheduled_time=datetime.now(UTC) - timedelta(hours=1)))
    report = processes.sweep()
    found = {each.finding.run: (each.finding.kind, each.result.value) for each in report.swept}
    assert found == {
        orphan: (FindingKind.ORPHAN, "done"),
        stuck: (FindingKind.STUCK_CANCELLING, "done"),
        None: (FindingKind.LATE, "found"),
    }
    assert report.looked == "4 active runs; they are not Jobs, so only what the Prefect API says of them counts"
    assert processes.state(working)[0] == "Running"
