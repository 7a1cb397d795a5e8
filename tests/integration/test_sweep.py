"""The sweeper against a real Prefect server, with a cluster that is a value: what it changes, and what not."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, WorkPoolCreate
from prefect.client.schemas.objects import FlowRun, State
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelling, Completed, Crashed, Failed, Pending, Running, Scheduled

from flow_of_flows.prefect_api.client import connected
from flow_of_flows.registration import ownership
from flow_of_flows.registration.plan import ResourceKind as Marked
from flow_of_flows.runs.resume import key
from flow_of_flows.settings import Settings
from flow_of_flows.settings.operations import SweepSettings
from flow_of_flows.sweeper.flow import Report, Sweeper
from flow_of_flows.sweeper.prefect_state import Prefect
from flow_of_flows.sweeper.snapshot import Cluster, FindingKind, KubernetesJob, KubernetesPod, SweepAction
from tests.commands import Ended, flows
from tests.fixtures.server import Embedded

# A state of a real server is always new: here a run is lost at once.
IMPATIENT = SweepSettings.model_construct(
    never_started_seconds=0,
    gone_seconds=0,
    cancelling_seconds=0,
    leftover_seconds=0,
    crashed_parent_seconds=0,
    late_seconds=600,
)


@dataclass
class Door:
    """A cluster of Jobs and pods that a test lists."""

    jobs: list[KubernetesJob] = field(default_factory=list)
    pods: list[KubernetesPod] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)

    async def read(self) -> Cluster:
        """What there is."""
        return Cluster("data", tuple(self.jobs), tuple(self.pods))

    async def delete(self, job: KubernetesJob) -> bool:
        """Delete a Job."""
        self.deleted.append(job.name)
        self.jobs.remove(job)
        return True

    def work_on(self, run: UUID) -> None:
        """Add a Job with a pod that works."""
        long_ago = datetime.now(UTC) - timedelta(hours=1)
        self.jobs.append(KubernetesJob(f"job-{run}", "u", run, long_ago, is_active=True))
        self.pods.append(KubernetesPod(f"pod-{run}", run, f"job-{run}", is_live=True, is_started=True))


@dataclass
class Pool:
    """A work pool of one test, with deployments of its own; nobody serves it."""

    embedded: Embedded
    name: str
    door: Door = field(default_factory=Door)
    limit: int | None = None
    job_variables: dict[str, Any] = field(default_factory=dict)

    def run(self, state: State[Any], *, pipeline: bool = False, parent: UUID | None = None) -> UUID:
        """A run in a state."""
        tags = ["flow-of-flows", "pipeline" if pipeline else "child"]
        name = f"run-{uuid4().hex[:8]}"
        run = self.embedded.client.request(
            "POST",
            "/deployments/{id}/create_flow_run",
            path_params={"id": str(self.deployment())},
            json={
                "name": name,
                "tags": tags,
                "state": {"type": "SCHEDULED"},
                "idempotency_key": key(parent, name, 1) if parent else None,
                "parent_task_run_id": self.task_of(parent) if parent else None,
            },
        )
        identifier = UUID(run.json()["id"])
        self.embedded.client.set_flow_run_state(identifier, state, force=True)
        return identifier

    def task_of(self, parent: UUID) -> str:
        """A task run of a pipeline run, as Prefect makes one for each child."""
        body = {"flow_run_id": str(parent), "task_key": "child", "dynamic_key": uuid4().hex}
        return str(self.embedded.client.request("POST", "/task_runs/", json=body).json()["id"])

    def deployment(self) -> UUID:
        """The pool's one deployment."""
        client, name = self.embedded.client, f"{self.name}-work"
        flow = client.create_flow_from_name("sweep-target")
        return client.create_deployment(
            flow, name, work_pool_name=self.name, concurrency_limit=self.limit, job_variables=self.job_variables
        )

    def read(self, run: UUID) -> FlowRun:
        """A run."""
        return self.embedded.client.read_flow_run(run)

    def state(self, run: UUID) -> tuple[str | None, str | None]:
        """Name and message of a run's state."""
        state = self.read(run).state
        assert state is not None
        return state.name, state.message

    def sweep(self, *, dry_run: bool = False, own: UUID | None = None, door: Door | None = None) -> Report:
        """Sweep this pool."""
        settings = Settings(work_pool=self.name, sweep=IMPATIENT)

        async def once() -> Report:
            async with connected(seconds=10) as api:
                sweeper = Sweeper(Prefect(api, self.name), door or self.door, settings, own)
                return await sweeper.sweep(dry_run=dry_run)

        with temporary_settings({PREFECT_API_URL: self.embedded.api}):
            return asyncio.run(once())

    def found(self, **more: Any) -> dict[UUID | None, tuple[FindingKind, str]]:
        """Kind and result by run."""
        return {each.finding.run: (each.finding.kind, each.result.value) for each in self.sweep(**more).swept}


@pytest.fixture
def pool(embedded: Embedded) -> Iterator[Pool]:
    """A pool of this test."""
    name = f"sweep-{uuid4().hex[:8]}"
    embedded.client.create_work_pool(WorkPoolCreate(name=name, type="kubernetes"))
    yield Pool(embedded, name)
    embedded.client.delete_work_pool(name)


def test_every_kind_of_lost_run_is_mended_and_a_second_sweep_finds_nothing(pool: Pool) -> None:
    """A worker died, pods are gone, a parent is over, a Job goes on, a run does not end: each by its rule, once."""
    pending, child, parent = pool.run(Pending()), pool.run(Running()), pool.run(Running(), pipeline=True)
    over = pool.run(Failed(), pipeline=True)
    orphan, queued = pool.run(Running(), parent=over), pool.run(Scheduled(), parent=over)
    done, stuck, early = pool.run(Completed()), pool.run(Running()), pool.run(Crashed(), pipeline=True)
    pool.embedded.client.set_flow_run_state(stuck, Cancelling())
    works = pool.run(Running())
    for run in (orphan, done, stuck, works):
        pool.door.work_on(run)
    expected = {
        pending: FindingKind.NEVER_STARTED,
        child: FindingKind.GONE,
        parent: FindingKind.GONE,
        orphan: FindingKind.ORPHAN,
        queued: FindingKind.ORPHAN,
        done: FindingKind.LEFTOVER,
        stuck: FindingKind.STUCK_CANCELLING,
        early: FindingKind.CRASHED_EARLY,
    }
    assert pool.found(dry_run=True) == {run: (kind, "found") for run, kind in expected.items()}
    assert pool.found() == {run: (kind, "done") for run, kind in expected.items()}
    mark = "(found by the sweeper)"
    assert pool.state(pending)[0] == "AwaitingRetry"
    assert str(pool.state(pending)[1]).endswith(f" and there is no Job for it {mark}")
    assert pool.state(child) == ("Crashed", f"pod-deleted: Running, but there is no pod and no Job for it {mark}")
    assert pool.state(parent) == (
        "AwaitingRetry",
        f"Revived by the sweeper: Running, but there is no pod and no Job for it {mark}",
    )
    assert pool.state(orphan)[0] == "Cancelling"
    assert pool.state(queued)[0] == "Cancelled"
    assert pool.state(stuck)[0] == "Cancelled"
    assert pool.state(works)[0] == "Running"
    assert pool.state(early) == ("AwaitingRetry", f"Revived by the sweeper: Crashed before it began {mark}")
    assert sorted(pool.door.deleted) == sorted([f"job-{done}", f"job-{stuck}"])
    pool.embedded.client.set_flow_run_state(orphan, Completed(), force=True)
    pool.door.jobs = [job for job in pool.door.jobs if job.run != orphan]
    assert pool.found() == {}


def test_a_pipeline_that_crashed_before_it_began_starts_again_three_times_at_most(pool: Pool) -> None:
    """The automation does not see it, for it has not run."""
    run = pool.run(Scheduled(), pipeline=True)
    for _ in range(2):
        pool.embedded.client.set_flow_run_state(run, Crashed(), force=True)
        assert pool.found() == {run: (FindingKind.CRASHED_EARLY, "done")}
    pool.embedded.client.set_flow_run_state(run, Crashed(), force=True)
    assert pool.found() == {}


def test_a_run_that_is_submitted_in_vain_ends_after_the_third_time(pool: Pool) -> None:
    """With the cause that its parent reads."""
    run = pool.run(Pending())
    for _ in range(2):
        assert pool.found() == {run: (FindingKind.NEVER_STARTED, "done")}
        pool.embedded.client.set_flow_run_state(run, Pending(), force=True)
    assert pool.found() == {run: (FindingKind.NEVER_STARTED, "done")}
    said = "never-started: submitted 3 times, and no Job came to be (found by the sweeper)"
    assert pool.state(run) == ("Crashed", said)


def test_a_run_that_moves_on_between_the_look_and_the_action_is_left_alone(pool: Pool) -> None:
    """Its pod reports Running while the second look is at the cluster."""
    run = pool.run(Pending())

    class Late(Door):
        looks = 0

        async def read(self) -> Cluster:
            self.looks += 1
            if self.looks == 2:
                await asyncio.to_thread(pool.embedded.client.set_flow_run_state, run, Running(), force=True)
            return await super().read()

    assert pool.found(door=Late()) == {}
    assert pool.state(run)[0] == "Running"


def test_of_two_sweeps_that_judged_the_same_state_one_changes_it(pool: Pool) -> None:
    """Both have just read it when the first acts; what it came to later is another state, to be judged anew."""
    run = pool.run(Pending())

    def change(seen: UUID) -> bool:
        async def once() -> bool:
            async with connected(seconds=10) as api:
                return await Prefect(api, pool.name).change(run, seen, SweepAction.RETRY, "lost")

        with temporary_settings({PREFECT_API_URL: pool.embedded.api}):
            return asyncio.run(once())

    def seen() -> UUID:
        state = pool.read(run).state
        assert state is not None
        return state.id

    first = seen()
    assert [change(first), change(first)] == [True, False]
    states = pool.embedded.client.request("GET", "/flow_run_states/", params={"flow_run_id": str(run)}).json()
    assert [state["name"] for state in states].count("AwaitingRetry") == 1
    pool.embedded.client.set_flow_run_state(run, Pending(), force=True)
    assert change(seen()) is True


def test_the_run_that_sweeps_is_left_alone(pool: Pool) -> None:
    """It would be a run without a pod wherever its pod is not seen."""
    own = pool.run(Running())
    assert pool.found(own=own) == {}


def test_slots_that_no_run_can_hold_are_freed(pool: Pool) -> None:
    """After a restart of the server nobody knows their holders; those in use stay."""
    client = pool.embedded.client
    pool.limit = 3
    deployment = pool.deployment()
    working = pool.run(Scheduled())
    client.set_flow_run_state(working, Pending())
    pool.door.work_on(working)
    limit = f"deployment:{deployment}"
    client.request("POST", "/v2/concurrency_limits/increment", json={"slots": 2, "names": [limit]})
    assert client.read_global_concurrency_limit_by_name(limit).active_slots == 3
    (swept,) = [each for each in pool.sweep().swept if each.finding.subject == f"limit {limit}"]
    assert str(swept) == (
        f"dead-slots: limit {limit}: 3 slots are taken, and 1 runs can hold one; slots are freed (done)"
    )
    assert client.read_global_concurrency_limit_by_name(limit).active_slots == 1


def test_slots_of_another_owner_s_limits_are_not_freed(pool: Pool) -> None:
    """Of a deployment in another work pool, and of one by name that carries another owner's mark."""
    client, name = pool.embedded.client, f"warehouse-{uuid4().hex[:8]}"
    other = Pool(pool.embedded, f"{pool.name}-other", limit=3)
    client.create_work_pool(WorkPoolCreate(name=other.name, type="process"))
    limits = [f"deployment:{other.deployment()}", name]
    client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=3))
    found = client.read_global_concurrency_limit_by_name(name)
    mark = ownership.variable(Marked.LIMIT, name, "prod/flows", found.id)
    client.request("POST", "/variables/", json=mark.model_dump(mode="json"))
    client.request("POST", "/v2/concurrency_limits/increment", json={"slots": 2, "names": limits})
    assert pool.found() == {}
    assert [client.read_global_concurrency_limit_by_name(limit).active_slots for limit in limits] == [2, 2]
    client.delete_global_concurrency_limit_by_name(name)
    client.delete_work_pool(other.name)


def test_a_limit_by_name_keeps_its_slots_while_anything_runs(pool: Pool) -> None:
    """Who holds one is not known; a run that works may."""
    client, name = pool.embedded.client, f"warehouse-{uuid4().hex[:8]}"
    client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=2))
    pool.door.work_on(pool.run(Running()))
    client.request("POST", "/v2/concurrency_limits/increment", json={"slots": 1, "names": [name]})
    assert pool.found() == {}
    assert client.read_global_concurrency_limit_by_name(name).active_slots == 1
    client.delete_global_concurrency_limit_by_name(name)


def test_a_queue_that_somebody_has_paused_is_told(pool: Pool) -> None:
    """Nothing in it would ever run."""
    client = pool.embedded.client
    client.update_work_queue(client.read_work_queue_by_name("default", pool.name).id, is_paused=True)
    (swept,) = [each for each in pool.sweep().swept if each.finding.kind is FindingKind.PAUSED]
    assert str(swept) == "paused: work queue default: it is paused, so nothing of it runs; a person decides (found)"


def test_the_command_says_what_it_finds_and_does_and_what_it_cannot_look_for(pool: Pool) -> None:
    """Without a cluster a run without a pod is not judged; the exit code of a dry run is a linter's."""
    over = pool.run(Failed(), pipeline=True)
    orphan = pool.run(Running(), parent=over)
    pool.run(Running())
    words = {"PREFECT_API_URL": pool.embedded.api, "FLOWS_WORK_POOL": pool.name, "FLOWS_SWEEP_GONE_SECONDS": "0"}
    names = {run: pool.read(run).name for run in (over, orphan)}
    line = f"orphan: run {names[orphan]}: its pipeline run {names[over]} is over (Failed); is asked to stop"
    tail = "no cluster to ask, so runs without pods and Jobs without runs are not looked for"
    dry = flows("sweep", "--dry-run", **words)
    assert dry == Ended(1, f"{line} (found)\nLooked at 2 active runs; {tail}: 1 found.\n", "")
    swept = flows("sweep", **words)
    assert swept == Ended(0, f"{line} (done)\nLooked at 2 active runs; {tail}: 1 found.\n", "")
    assert flows("sweep", **words) == Ended(0, f"Looked at 2 active runs; {tail}: 0 found.\n", "")


def test_the_command_needs_an_api_and_its_pool(embedded: Embedded) -> None:
    """One sentence each."""
    assert flows("sweep") == Ended(
        2,
        "",
        "error: There is no Prefect API to register with. Where: PREFECT_API_URL. Next: set it to the API's address.\n",
    )
    none = flows("sweep", PREFECT_API_URL=embedded.api, FLOWS_WORK_POOL="none")
    assert none.err == (
        f"error: There is no work pool none. Where: {embedded.api}. "
        "Next: run `flows register` (on a cluster: `helm upgrade`), or correct FLOWS_WORK_POOL.\n"
    )
    assert none.code == 2


def test_runs_whose_jobs_are_elsewhere_are_told_and_left_alone(pool: Pool) -> None:
    """Without a Job and a pod here they look like lost ones."""
    pool.job_variables = {"namespace": "other"}
    runs = [pool.run(Running()), pool.run(Pending())]
    report = pool.sweep()
    assert [(each.finding.kind, each.finding.subject) for each in report.swept] == [
        (FindingKind.ELSEWHERE, "namespace other")
    ]
    assert [pool.state(run)[0] for run in runs] == ["Running", "Pending"]
