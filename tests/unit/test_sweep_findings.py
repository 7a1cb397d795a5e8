"""What a sweep finds: each kind with an example and its action, and what is close to it but well."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from prefect.client.schemas.objects import StateType

from flow_of_flows.errors import Cause
from flow_of_flows.settings import Settings
from flow_of_flows.sweeper.actions import ACTIONS, FindingKind, SweepAction, SweepFinding
from flow_of_flows.sweeper.rules import findings, submissions, suspects
from flow_of_flows.sweeper.snapshot import (
    Cluster,
    Facts,
    KubernetesJob,
    KubernetesPod,
    Limit,
    Place,
    RunHistory,
    SweptRun,
    place,
)

NOW = datetime(2026, 11, 25, 6, 0, tzinfo=UTC)
SETTINGS = Settings()
PARENT = uuid4()


def ago(seconds: float) -> datetime:
    """A moment before the sweep."""
    return NOW - timedelta(seconds=seconds)


def a_run(kind: StateType, seconds: float, **more: object) -> SweptRun:
    """A run that has been in a state for so long."""
    run = SweptRun(
        id=uuid4(),
        name="keen-owl",
        deployment=None,
        state=uuid4(),
        type=kind,
        state_name=kind.value.title(),
        since=ago(seconds),
    )
    return replace(run, **more)  # type: ignore[arg-type]


def a_job(run: UUID, **more: object) -> KubernetesJob:
    """A Job that goes on."""
    return replace(KubernetesJob("keen-owl-x", "u1", run, ago(5000), is_active=True), **more)  # type: ignore[arg-type]


def a_pod(run: UUID, **more: object) -> KubernetesPod:
    """A pod that works."""
    pod = KubernetesPod("keen-owl-x-1", run, "keen-owl-x", is_live=True, is_started=True)
    return replace(pod, **more)  # type: ignore[arg-type]


def facts(
    *runs: SweptRun,
    jobs: tuple[KubernetesJob, ...] = (),
    pods: tuple[KubernetesPod, ...] = (),
    histories: Mapping[UUID, tuple[RunHistory, ...]] | None = None,
    **more: object,
) -> Facts:
    """Facts with a cluster."""
    made = Facts(NOW, {run.id: run for run in runs}, histories=histories or {}, cluster=Cluster("data", jobs, pods))
    return replace(made, **more)  # type: ignore[arg-type]


def history(*types: StateType, last: float = 0) -> tuple[RunHistory, ...]:
    """A history of these types, a second apart; the last one so many seconds ago."""
    return tuple(RunHistory(kind, kind.value, ago(last + len(types) - 1 - i)) for i, kind in enumerate(types))


SCHEDULED, PENDING, RUNNING = StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING
CRASHED, CANCELLING, COMPLETED = StateType.CRASHED, StateType.CANCELLING, StateType.COMPLETED


def examples() -> dict[str, tuple[Facts, FindingKind, SweepAction, Cause | None, str]]:
    """One or more of each kind: what there is, what is found, what is done, and the sentence."""
    pending, waiting = a_run(PENDING, 200), a_run(PENDING, 1000)
    tired = history(*[SCHEDULED, PENDING] * 3)
    running, parent = a_run(RUNNING, 600), a_run(RUNNING, 600, is_pipeline=True, run_count=1)
    queued = a_run(StateType.PAUSED, 90, is_pipeline=True, state_name="Waiting")
    worn = replace(parent, run_count=3)
    over = a_run(StateType.FAILED, 60, id=PARENT, name="daily")
    dead = a_run(CRASHED, 901, id=PARENT, name="daily", run_count=4)
    child, late_child = a_run(RUNNING, 60, parent=PARENT), a_run(SCHEDULED, 60, parent=PARENT)
    done, stuck = a_run(COMPLETED, 130), a_run(CANCELLING, 61)
    early = a_run(CRASHED, 30, is_pipeline=True)
    unknown = a_job(uuid4(), release="flows")
    image = a_pod(waiting.id, is_started=False, reason="ImagePullBackOff", trouble='Back-off pulling image "x:1"')
    room = a_pod(waiting.id, is_started=False, reason="Unschedulable", trouble="0/1 nodes are available")
    oom = a_pod(running.id, is_live=False, reason="OOMKilled")
    lost = a_pod(running.id, is_live=False, deleted=ago(300))
    late = a_run(SCHEDULED, 700, due=ago(700))
    return {
        "pending": (
            facts(pending),
            FindingKind.NEVER_STARTED,
            SweepAction.RETRY,
            None,
            "never-started: run keen-owl: Pending for 3 min and there is no Job for it; starts again",
        ),
        "pending, three times": (
            facts(pending, histories={pending.id: tired}),
            FindingKind.NEVER_STARTED,
            SweepAction.CRASH,
            Cause.NEVER_STARTED,
            "never-started: run keen-owl: submitted 3 times, and no Job came to be; ends as Crashed",
        ),
        "image": (
            facts(waiting, jobs=(a_job(waiting.id),), pods=(image,)),
            FindingKind.CANNOT_START,
            SweepAction.CRASH,
            Cause.IMAGE,
            (
                "cannot-start: run keen-owl: Pending for 17 min: ImagePullBackOff: "
                'Back-off pulling image "x:1"; ends as Crashed'
            ),
        ),
        "no room": (
            facts(waiting, jobs=(a_job(waiting.id),), pods=(room,)),
            FindingKind.CANNOT_START,
            SweepAction.CRASH,
            Cause.UNSCHEDULABLE,
            "cannot-start: run keen-owl: Pending for 17 min: Unschedulable: 0/1 nodes are available; ends as Crashed",
        ),
        "quota": (
            facts(waiting, jobs=(a_job(waiting.id),)),
            FindingKind.CANNOT_START,
            SweepAction.CRASH,
            Cause.UNSCHEDULABLE,
            (
                "cannot-start: run keen-owl: Pending for 17 min: its Job has no pod; see `kubectl describe job` "
                "(a quota, a policy); ends as Crashed"
            ),
        ),
        "running without a pod": (
            facts(running),
            FindingKind.GONE,
            SweepAction.CRASH,
            Cause.POD_DELETED,
            "gone: run keen-owl: Running, but there is no pod and no Job for it; ends as Crashed",
        ),
        "out of memory": (
            facts(running, jobs=(a_job(running.id, is_active=False),), pods=(oom,)),
            FindingKind.GONE,
            SweepAction.CRASH,
            Cause.OUT_OF_MEMORY,
            "gone: run keen-owl: Running, but its pod is over: OOMKilled; ends as Crashed",
        ),
        "node lost": (
            facts(running, jobs=(a_job(running.id),), pods=(lost,)),
            FindingKind.GONE,
            SweepAction.CRASH,
            Cause.NODE_LOST,
            (
                "gone: run keen-owl: Running, but its pod was deleted and does not go: its node does not answer; "
                "ends as Crashed"
            ),
        ),
        "parent without a pod": (
            facts(parent),
            FindingKind.GONE,
            SweepAction.RETRY,
            None,
            "gone: run keen-owl: Running, but there is no pod and no Job for it; starts again",
        ),
        "parent that waits for an earlier run, without a pod": (
            facts(queued),
            FindingKind.GONE,
            SweepAction.RETRY,
            None,
            "gone: run keen-owl: Waiting, but there is no pod and no Job for it; starts again",
        ),
        "parent without a pod, three times": (
            facts(worn),
            FindingKind.GONE,
            SweepAction.CRASH,
            Cause.POD_DELETED,
            "gone: run keen-owl: Running, but there is no pod and no Job for it; ends as Crashed",
        ),
        "orphan": (
            facts(child, over, pods=(a_pod(child.id),)),
            FindingKind.ORPHAN,
            SweepAction.CANCEL,
            None,
            "orphan: run keen-owl: its pipeline run daily is over (Failed); is asked to stop",
        ),
        "orphan that waits": (
            facts(late_child, over),
            FindingKind.ORPHAN,
            SweepAction.CANCEL,
            None,
            "orphan: run keen-owl: its pipeline run daily is over (Failed); is asked to stop",
        ),
        "orphan of the crashed": (
            facts(child, dead, pods=(a_pod(child.id),)),
            FindingKind.ORPHAN,
            SweepAction.CANCEL,
            None,
            "orphan: run keen-owl: its pipeline run daily is over (Crashed); is asked to stop",
        ),
        "leftover": (
            facts(done, jobs=(a_job(done.id),)),
            FindingKind.LEFTOVER,
            SweepAction.DELETE,
            None,
            ("leftover: run keen-owl: Completed, but its Job keen-owl-x goes on, 2 min after it ended; Job is deleted"),
        ),
        "unknown run": (
            facts(jobs=(unknown,), unknown=frozenset({unknown.run}), release="flows"),
            FindingKind.LEFTOVER,
            SweepAction.DELETE,
            None,
            f"leftover: Job keen-owl-x: the Prefect API does not know its run {unknown.run}; Job is deleted",
        ),
        "unknown run of others": (
            facts(jobs=(unknown,), unknown=frozenset({unknown.run}), release="other"),
            FindingKind.STRANGE_JOB,
            SweepAction.TELL,
            None,
            f"strange-job: Job keen-owl-x: the Prefect API does not know its run {unknown.run}; a person decides",
        ),
        "cancelling": (
            facts(stuck, jobs=(a_job(stuck.id),)),
            FindingKind.STUCK_CANCELLING,
            SweepAction.END,
            None,
            "stuck-cancelling: run keen-owl: Cancelling for 61 s; ends as Cancelled",
        ),
        "slots of a deployment": (
            facts(limits=(Limit(uuid4(), "deployment:d", taken=2, holders=1, deployment=uuid4()),)),
            FindingKind.DEAD_SLOTS,
            SweepAction.FREE,
            None,
            "dead-slots: limit deployment:d: 2 slots are taken, and 1 runs can hold one; slots are freed",
        ),
        "slots of a limit": (
            facts(limits=(Limit(uuid4(), "warehouse", taken=2, holders=0),)),
            FindingKind.DEAD_SLOTS,
            SweepAction.FREE,
            None,
            "dead-slots: limit warehouse: 2 slots are taken, and 0 runs can hold one; slots are freed",
        ),
        "crashed early": (
            facts(early),
            FindingKind.CRASHED_EARLY,
            SweepAction.RETRY,
            None,
            "crashed-early: run keen-owl: Crashed before it began; starts again",
        ),
        "late": (
            facts(late),
            FindingKind.LATE,
            SweepAction.TELL,
            None,
            (
                "late: late runs: 1 wait for worker or slot, the first for 12 min: "
                "`flows doctor` in the worker's pod says why; a person decides"
            ),
        ),
        "paused": (
            facts(paused=("work pool flows",)),
            FindingKind.PAUSED,
            SweepAction.TELL,
            None,
            "paused: work pool flows: it is paused, so nothing of it runs; a person decides",
        ),
        "in another namespace": (
            facts(replace(running, place=Place("other")), replace(pending, place=Place("other"))),
            FindingKind.ELSEWHERE,
            SweepAction.TELL,
            None,
            (
                "elsewhere: namespace other: 2 active runs have their Jobs there; whether they are lost is not looked "
                "for; a person decides"
            ),
        ),
        "in another cluster": (
            facts(replace(running, place=Place("data", is_other_cluster=True))),
            FindingKind.ELSEWHERE,
            SweepAction.TELL,
            None,
            (
                "elsewhere: another cluster (`cluster_config`): 1 active runs have their Jobs there; whether they are "
                "lost is not looked for; a person decides"
            ),
        ),
    }


EXAMPLES = examples()


@pytest.mark.parametrize("name", EXAMPLES)
def test_each_kind_is_found_with_its_action_its_cause_and_a_sentence(name: str) -> None:
    """One finding, whole."""
    seen, kind, action, cause, sentence = EXAMPLES[name]
    (found,) = findings(seen, SETTINGS)
    assert (found.kind, found.action, found.cause, str(found)) == (kind, action, cause, sentence)


def test_every_kind_and_every_action_of_it_has_an_example() -> None:
    """Completeness, both ways."""
    shown = {(kind, action) for _, kind, action, _, _ in EXAMPLES.values()}
    assert shown == {(kind, action) for kind in FindingKind for action in ACTIONS[kind]}


def well() -> dict[str, Facts]:
    """What is close to a finding, and is none."""
    pending, waiting, running = a_run(PENDING, 119), a_run(PENDING, 899), a_run(RUNNING, 600)
    long = a_run(PENDING, 930, parent=PARENT)
    live = a_run(RUNNING, 2000, id=PARENT, is_pipeline=True, run_count=1)
    crashed = a_run(CRASHED, 899, id=PARENT, run_count=4)
    over = a_run(StateType.FAILED, 60, id=PARENT)
    child, again = a_run(RUNNING, 60, parent=PARENT), a_run(RUNNING, 20, parent=PARENT)
    revived = history(StateType.FAILED, SCHEDULED, PENDING, RUNNING, last=20)
    done = a_run(COMPLETED, 119)
    refused = a_run(CRASHED, 30, is_pipeline=True, message="Failed to submit flow run to infrastructure: 403")
    judged = a_run(CRASHED, 30, is_pipeline=True, message="image: Pending for 16 min")
    given_up = a_run(CRASHED, 30, is_pipeline=True, message="never-started: submitted 3 times")
    often = a_run(CRASHED, 30, is_pipeline=True)
    return {
        "no cluster": facts(a_run(PENDING, 9000), a_run(RUNNING, 9000), cluster=None),
        "pending briefly": facts(pending),
        "its image is pulled": facts(waiting, jobs=(a_job(waiting.id),), pods=(a_pod(waiting.id, is_started=False),)),
        "its parent is about to act": facts(
            long, live, jobs=(a_job(long.id),), pods=(a_pod(long.id, is_started=False), a_pod(PARENT))
        ),
        "it works": facts(running, jobs=(a_job(running.id),), pods=(a_pod(running.id),)),
        "its Job is about to make a pod": facts(running, jobs=(a_job(running.id),)),
        "its parent may come back": facts(child, crashed, pods=(a_pod(child.id),)),
        "somebody retried it alone": facts(again, over, pods=(a_pod(again.id),), histories={again.id: revived}),
        "its pod is about to end": facts(done, jobs=(a_job(done.id),)),
        "its Job is over": facts(a_run(COMPLETED, 9000), jobs=(a_job(done.id, is_active=False),)),
        "cancelling briefly": facts(a_run(CANCELLING, 59)),
        "never submitted": facts(refused),
        "ended with a cause": facts(judged),
        "given up": facts(given_up),
        "crashed often": facts(often, histories={often.id: history(CRASHED, SCHEDULED, CRASHED, SCHEDULED, CRASHED)}),
        "crashed long ago": facts(a_run(CRASHED, 3601, is_pipeline=True)),
        "a slot in use": facts(
            limits=(Limit(uuid4(), "warehouse", 2, 1), Limit(uuid4(), "deployment:d", 1, 1, uuid4()))
        ),
        "the sweep itself": facts(running, own=running.id),
        "a Job of the future": facts(jobs=(a_job(done.id, created=ago(10)),), unknown=frozenset({done.id})),
    }


WELL = well()


@pytest.mark.parametrize("name", WELL)
def test_what_is_well_is_left_alone(name: str) -> None:
    """Nothing is found."""
    assert findings(WELL[name], SETTINGS) == ()


def test_a_message_begins_with_the_cause_that_the_classifier_reads() -> None:
    """Where a run is ended; else it is a plain sentence."""
    (image,) = findings(EXAMPLES["image"][0], SETTINGS)
    assert image.message == (
        'image: Pending for 17 min: ImagePullBackOff: Back-off pulling image "x:1" (found by the sweeper)'
    )
    (pending,) = findings(EXAMPLES["pending"][0], SETTINGS)
    assert pending.message == "Pending for 3 min and there is no Job for it (found by the sweeper)"


def test_submissions_are_counted_by_what_came_before_pending() -> None:
    """InfrastructurePending is Pending, too, and Late is Scheduled."""
    assert submissions(history(SCHEDULED, SCHEDULED, PENDING, PENDING, RUNNING, SCHEDULED, PENDING)) == 2


def test_only_runs_that_are_suspect_have_their_history_read() -> None:
    """A Job that goes on needs none, and neither does what is well."""
    (orphan, _, _, _, _), (leftover, _, _, _, _) = EXAMPLES["orphan"], EXAMPLES["leftover"]
    (found,) = findings(orphan, SETTINGS)
    assert suspects(orphan, SETTINGS) == {found.run}
    assert suspects(leftover, SETTINGS) == frozenset()


def test_a_finding_names_the_jobs_that_go_with_it() -> None:
    """Whatever has to be deleted, by the very Job."""
    job = a_job(uuid4())
    (found,) = findings(facts(a_run(CANCELLING, 61, id=job.run), jobs=(job,)), SETTINGS)
    assert isinstance(found, SweepFinding)
    assert found.jobs == (job,)


@pytest.mark.parametrize(
    ("layers", "expected", "elsewhere"),
    [
        ((), Place(), None),
        (({"namespace": "data"}, None, {}), Place("data"), None),
        (({"namespace": "data"}, {"namespace": "other"}, {}), Place("other"), "namespace other"),
        (({"namespace": "other"}, {"namespace": "other"}, {"namespace": "data"}), Place("data"), None),
        (({"cluster_config": None}, {"namespace": None}, None), Place(), None),
        (
            ({"namespace": "data"}, {"cluster_config": {"config": {}, "context_name": "x"}}, None),
            Place("data", is_other_cluster=True),
            "another cluster (`cluster_config`)",
        ),
    ],
    ids=["unsaid", "the pool's", "the deployment's", "the run's own", "nulls", "cluster"],
)
def test_where_a_job_is_made_is_what_the_innermost_job_variable_says(
    layers: tuple[Mapping[str, object] | None, ...], expected: Place, elsewhere: str | None
) -> None:
    """Of pool, deployment and run; seen from the namespace `data`."""
    assert place(*layers) == expected
    assert expected.elsewhere("data") == elsewhere
