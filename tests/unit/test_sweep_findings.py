"""What a sweep finds: each kind with an example, its action and its sentence."""

from __future__ import annotations

from dataclasses import dataclass, replace
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import StateType

from flow_of_flows.errors import Cause
from flow_of_flows.settings import Settings
from flow_of_flows.sweeper.rules import findings, suspects
from flow_of_flows.sweeper.snapshot import ACTIONS, Facts, FindingKind, Limit, Place, SweepAction, SweepFinding
from tests.fixtures.sweeps import (
    CANCELLING,
    COMPLETED,
    CRASHED,
    PARENT,
    PENDING,
    RUNNING,
    SCHEDULED,
    a_job,
    a_pod,
    a_run,
    ago,
    facts,
    history,
)

SETTINGS = Settings()


@dataclass(frozen=True)
class Example:
    """What a sweep sees, and the one finding that follows from it.

    Attributes:
        seen: what there is.
        kind: of the finding.
        action: of the sweep.
        sentence: the finding as text.
        cause: that a run ends with, if the sweep ends it.
    """

    seen: Facts
    kind: FindingKind
    action: SweepAction
    sentence: str
    cause: Cause | None = None


def pending_runs() -> dict[str, Example]:
    """Return runs whose Job or pod does not come to be."""
    pending, waiting = a_run(PENDING, 200), a_run(PENDING, 1000)
    image = a_pod(waiting.id, is_started=False, reason="ImagePullBackOff", trouble='Back-off pulling image "x:1"')
    room = a_pod(waiting.id, is_started=False, reason="Unschedulable", trouble="0/1 nodes are available")
    tired = history(*[SCHEDULED, PENDING] * 3)
    return {
        "pending": Example(
            facts(pending),
            FindingKind.NEVER_STARTED,
            SweepAction.RETRY,
            "never-started: run keen-owl: Pending for 3 min and there is no Job for it; starts again",
        ),
        "pending, three times": Example(
            facts(pending, histories={pending.id: tired}),
            FindingKind.NEVER_STARTED,
            SweepAction.CRASH,
            "never-started: run keen-owl: submitted 3 times, and no Job came to be; ends as Crashed",
            Cause.NEVER_STARTED,
        ),
        "image": Example(
            facts(waiting, jobs=(a_job(waiting.id),), pods=(image,)),
            FindingKind.CANNOT_START,
            SweepAction.CRASH,
            "cannot-start: run keen-owl: Pending for 17 min: ImagePullBackOff: "
            'Back-off pulling image "x:1"; ends as Crashed',
            Cause.IMAGE,
        ),
        "no room": Example(
            facts(waiting, jobs=(a_job(waiting.id),), pods=(room,)),
            FindingKind.CANNOT_START,
            SweepAction.CRASH,
            "cannot-start: run keen-owl: Pending for 17 min: Unschedulable: 0/1 nodes are available; ends as Crashed",
            Cause.UNSCHEDULABLE,
        ),
        "quota": Example(
            facts(waiting, jobs=(a_job(waiting.id),)),
            FindingKind.CANNOT_START,
            SweepAction.CRASH,
            "cannot-start: run keen-owl: Pending for 17 min: its Job has no pod; see `kubectl describe job` "
            "(a quota, a policy); ends as Crashed",
            Cause.UNSCHEDULABLE,
        ),
    }


def children_without_a_pod() -> dict[str, Example]:
    """Return running children whose pod is over or gone."""
    running = a_run(RUNNING, 600)
    oom = a_pod(running.id, is_live=False, reason="OOMKilled")
    lost = a_pod(running.id, is_live=False, deleted=ago(300))
    return {
        "running without a pod": Example(
            facts(running),
            FindingKind.GONE,
            SweepAction.CRASH,
            "gone: run keen-owl: Running, but there is no pod and no Job for it; ends as Crashed",
            Cause.POD_DELETED,
        ),
        "out of memory": Example(
            facts(running, jobs=(a_job(running.id, is_active=False),), pods=(oom,)),
            FindingKind.GONE,
            SweepAction.CRASH,
            "gone: run keen-owl: Running, but its pod is over: OOMKilled; ends as Crashed",
            Cause.OUT_OF_MEMORY,
        ),
        "node lost": Example(
            facts(running, jobs=(a_job(running.id),), pods=(lost,)),
            FindingKind.GONE,
            SweepAction.CRASH,
            "gone: run keen-owl: Running, but its pod was deleted and does not go: its node does not answer; "
            "ends as Crashed",
            Cause.NODE_LOST,
        ),
    }


def parents_without_a_pod() -> dict[str, Example]:
    """Return pipeline runs without a pod, and one that crashed before it began."""
    parent = a_run(RUNNING, 600, is_pipeline=True, run_count=1)
    queued = a_run(StateType.PAUSED, 90, is_pipeline=True, state_name="Waiting")
    worn = replace(parent, run_count=3)
    early = a_run(CRASHED, 30, is_pipeline=True)
    return {
        "parent without a pod": Example(
            facts(parent),
            FindingKind.GONE,
            SweepAction.RETRY,
            "gone: run keen-owl: Running, but there is no pod and no Job for it; starts again",
        ),
        "parent that waits for an earlier run, without a pod": Example(
            facts(queued),
            FindingKind.GONE,
            SweepAction.RETRY,
            "gone: run keen-owl: Waiting, but there is no pod and no Job for it; starts again",
        ),
        "parent without a pod, three times": Example(
            facts(worn),
            FindingKind.GONE,
            SweepAction.CRASH,
            "gone: run keen-owl: Running, but there is no pod and no Job for it; ends as Crashed",
            Cause.POD_DELETED,
        ),
        "crashed early": Example(
            facts(early),
            FindingKind.CRASHED_EARLY,
            SweepAction.RETRY,
            "crashed-early: run keen-owl: Crashed before it began; starts again",
        ),
    }


def orphans() -> dict[str, Example]:
    """Return children whose pipeline run is over."""
    over = a_run(StateType.FAILED, 60, id=PARENT, name="daily")
    dead = a_run(CRASHED, 901, id=PARENT, name="daily", run_count=4)
    child, late_child = a_run(RUNNING, 60, parent=PARENT), a_run(SCHEDULED, 60, parent=PARENT)
    elsewhere = replace(child, is_foreign=True)
    return {
        "orphan in another pool": Example(
            facts(elsewhere, over),
            FindingKind.ORPHAN,
            SweepAction.CANCEL,
            "orphan: run keen-owl: its pipeline run daily is over (Failed); is asked to stop",
        ),
        "orphan of a pipeline of another pool": Example(
            facts(child, replace(over, is_foreign=True), pods=(a_pod(child.id),)),
            FindingKind.ORPHAN,
            SweepAction.CANCEL,
            "orphan: run keen-owl: its pipeline run daily is over (Failed); is asked to stop",
        ),
        "orphan": Example(
            facts(child, over, pods=(a_pod(child.id),)),
            FindingKind.ORPHAN,
            SweepAction.CANCEL,
            "orphan: run keen-owl: its pipeline run daily is over (Failed); is asked to stop",
        ),
        "orphan that waits": Example(
            facts(late_child, over),
            FindingKind.ORPHAN,
            SweepAction.CANCEL,
            "orphan: run keen-owl: its pipeline run daily is over (Failed); is asked to stop",
        ),
        "orphan of the crashed": Example(
            facts(child, dead, pods=(a_pod(child.id),)),
            FindingKind.ORPHAN,
            SweepAction.CANCEL,
            "orphan: run keen-owl: its pipeline run daily is over (Crashed); is asked to stop",
        ),
    }


def leftovers() -> dict[str, Example]:
    """Return Jobs and slots that outlive their runs."""
    done, stuck = a_run(COMPLETED, 130), a_run(CANCELLING, 61)
    unknown = a_job(uuid4(), release="flows")
    moved = a_run(COMPLETED, 130, is_foreign=True)
    return {
        "leftover of a deployment that has changed its pool": Example(
            facts(moved, jobs=(a_job(moved.id, release="flows"),), release="flows"),
            FindingKind.LEFTOVER,
            SweepAction.DELETE,
            "leftover: run keen-owl: Completed, but its Job keen-owl-x goes on, 2 min after it ended; Job is deleted",
        ),
        "leftover": Example(
            facts(done, jobs=(a_job(done.id),)),
            FindingKind.LEFTOVER,
            SweepAction.DELETE,
            "leftover: run keen-owl: Completed, but its Job keen-owl-x goes on, 2 min after it ended; Job is deleted",
        ),
        "unknown run": Example(
            facts(jobs=(unknown,), unknown=frozenset({unknown.run}), release="flows"),
            FindingKind.LEFTOVER,
            SweepAction.DELETE,
            f"leftover: Job keen-owl-x: the Prefect API does not know its run {unknown.run}; Job is deleted",
        ),
        "unknown run of others": Example(
            facts(jobs=(unknown,), unknown=frozenset({unknown.run}), release="other"),
            FindingKind.STRANGE_JOB,
            SweepAction.REPORT,
            f"strange-job: Job keen-owl-x: the Prefect API does not know its run {unknown.run}; a person decides",
        ),
        "cancelling": Example(
            facts(stuck, jobs=(a_job(stuck.id),)),
            FindingKind.STUCK_CANCELLING,
            SweepAction.END,
            "stuck-cancelling: run keen-owl: Cancelling for 61 s; ends as Cancelled",
        ),
        "slots of a deployment": Example(
            facts(limits=(Limit(uuid4(), "deployment:d", taken=2, holders=1, deployment=uuid4()),)),
            FindingKind.DEAD_SLOTS,
            SweepAction.FREE,
            "dead-slots: limit deployment:d: 2 slots are taken, and 1 runs can hold one; slots are freed",
        ),
        "slots of a limit": Example(
            facts(limits=(Limit(uuid4(), "warehouse", taken=2, holders=0),)),
            FindingKind.DEAD_SLOTS,
            SweepAction.FREE,
            "dead-slots: limit warehouse: 2 slots are taken, and 0 runs can hold one; slots are freed",
        ),
    }


def matters_for_a_person() -> dict[str, Example]:
    """Return what a sweep only reports."""
    late = a_run(SCHEDULED, 700, due=ago(700))
    pending, running = a_run(PENDING, 200), a_run(RUNNING, 600)
    return {
        "late": Example(
            facts(late),
            FindingKind.LATE,
            SweepAction.REPORT,
            "late: late runs: 1 wait for worker or slot, the first for 12 min: "
            "`flows doctor` in the worker's pod says why; a person decides",
        ),
        "paused": Example(
            facts(paused=("work pool flows",)),
            FindingKind.PAUSED,
            SweepAction.REPORT,
            "paused: work pool flows: it is paused, so nothing of it runs; a person decides",
        ),
        "in another namespace": Example(
            facts(replace(running, place=Place("other")), replace(pending, place=Place("other"))),
            FindingKind.ELSEWHERE,
            SweepAction.REPORT,
            "elsewhere: namespace other: 2 active runs have their Jobs there; whether they are lost is not looked "
            "for; a person decides",
        ),
        "in another cluster": Example(
            facts(replace(running, place=Place("data", is_other_cluster=True))),
            FindingKind.ELSEWHERE,
            SweepAction.REPORT,
            "elsewhere: another cluster (`cluster_config`): 1 active runs have their Jobs there; whether they are "
            "lost is not looked for; a person decides",
        ),
    }


EXAMPLES = {
    **pending_runs(),
    **children_without_a_pod(),
    **parents_without_a_pod(),
    **orphans(),
    **leftovers(),
    **matters_for_a_person(),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_each_kind_is_found_with_its_action_its_cause_and_a_sentence(name: str) -> None:
    """One finding, whole."""
    example = EXAMPLES[name]
    (found,) = findings(example.seen, SETTINGS)
    assert (found.kind, found.action, found.cause) == (example.kind, example.action, example.cause)
    assert str(found) == example.sentence


def test_every_kind_and_every_action_of_it_has_an_example() -> None:
    """Completeness, both ways."""
    shown = {(example.kind, example.action) for example in EXAMPLES.values()}
    assert shown == {(kind, action) for kind in FindingKind for action in ACTIONS[kind]}


def test_a_message_begins_with_the_cause_that_the_classifier_reads() -> None:
    """Where a run is ended; else it is a plain sentence."""
    (image,) = findings(EXAMPLES["image"].seen, SETTINGS)
    assert image.message == (
        'image: Pending for 17 min: ImagePullBackOff: Back-off pulling image "x:1" (found by the sweeper)'
    )
    (pending,) = findings(EXAMPLES["pending"].seen, SETTINGS)
    assert pending.message == "Pending for 3 min and there is no Job for it (found by the sweeper)"


def test_only_runs_that_are_suspect_have_their_history_read() -> None:
    """A Job that goes on needs none, and neither does what is well."""
    orphan, leftover = EXAMPLES["orphan"].seen, EXAMPLES["leftover"].seen
    (found,) = findings(orphan, SETTINGS)
    assert suspects(orphan, SETTINGS) == {found.run}
    assert suspects(leftover, SETTINGS) == frozenset()


def test_a_finding_names_the_jobs_that_go_with_it() -> None:
    """Whatever has to be deleted, by the very Job."""
    job = a_job(uuid4())
    (found,) = findings(facts(a_run(CANCELLING, 61, id=job.run), jobs=(job,)), SETTINGS)
    assert isinstance(found, SweepFinding)
    assert found.jobs == (job,)
