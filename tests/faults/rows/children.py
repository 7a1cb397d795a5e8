"""A child's pod is lost: a new attempt by the rule of its cause, and never two at once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

from tests.faults import node
from tests.faults.case import Case
from tests.faults.matrix import Promise, row
from tests.faults.rows.parents import delete
from tests.faults.site import SMALL_DISK

ONE = "1 of 1 steps completed"


def again(words: str) -> Promise:
    """An only child whose run goes on in a second pod: the same attempt."""
    return Promise(
        words,
        state="Completed",
        message=ONE,
        children={"only/1": "Completed"},
        attempts=2,
        struck="only",
        starts=2,
    )


def crashed(words: str) -> Promise:
    """An only child that crashes: a second attempt completes."""
    return replace(again(words), children={"only/1": "Crashed", "only/2": "Completed"})


def working_one(case: Case, seconds: float = 20, **job_variables: Any) -> UUID:
    """A pipeline whose only child is at work, with these job variables."""
    child = {"parameters": {"seconds": seconds}, "job_variables": job_variables}
    run = case.start("faults-one", overrides={"only": child})
    case.until_effects("only began")
    return run


@row(
    "child-pod-deleted",
    "The pod of a child is deleted",
    again("The child's run is rescheduled and starts again in a new pod: the same attempt."),
)
def child_pod_deleted(case: Case) -> UUID:
    """`kubectl delete pod`."""
    run = working_one(case)
    pod = case.until_pod(case.child(run, "only"))
    with case.fault():
        delete(case, pod)
    return run


@row(
    "child-container-killed",
    "The whole container of a child is SIGKILLed",
    crashed("The attempt is Crashed, a second one completes."),
)
def child_container_killed(case: Case) -> UUID:
    """From the node: its first process."""
    run = working_one(case)
    pod = case.until_pod(case.child(run, "only"))
    with case.fault():
        node.kill_container(pod)
    return run


@row(
    "child-out-of-memory-once",
    "A child runs out of memory",
    Promise(
        "The next attempt has twice the memory and completes.",
        state="Completed",
        message=ONE,
        children={"hog/1": "Crashed", "hog/2": "Completed"},
        attempts=2,
        struck="hog",
        starts=2,
    ),
    fast=True,
)
def child_out_of_memory_once(case: Case) -> UUID:
    """It needs more than its limit of 320Mi, and less than 640Mi."""
    run = case.start("faults-hogs", overrides={"hog": {"parameters": {"megabytes": 300}}})
    with case.fault():
        case.until_effects("hog began")
    case.settled(run)
    second = case.child(run, "hog", 2, within=1)
    case.expect("memory of the second attempt", _memory(case, second), ["640Mi"])
    return run


@row(
    "child-out-of-memory-always",
    "A child runs out of memory each time",
    Promise(
        "Three attempts, each with twice the memory of the one before; then it fails: out-of-memory.",
        state="Failed",
        message="0 of 1 steps completed; failed: hog (out-of-memory; attempt 3 of 3; out of memory at 1280Mi)",
        children={"hog/1": "Crashed", "hog/2": "Crashed", "hog/3": "Crashed"},
        attempts=3,
        struck="hog",
        starts=3,
    ),
    within=180,
)
def child_out_of_memory_always(case: Case) -> UUID:
    """It needs more than four times its limit."""
    run = case.start("faults-hogs", overrides={"hog": {"parameters": {"megabytes": 3000}}})
    with case.fault():
        case.until_effects("hog began")
    return run


def _memory(case: Case, run: UUID) -> list[str]:
    return [pod["spec"]["containers"][0]["resources"]["limits"]["memory"] for pod in case.namespace.pods_of(run)]


@row(
    "step-timeout",
    "A child takes longer than its step's timeout",
    Promise(
        "It is cancelled, and the step fails: timeout.",
        state="Failed",
        message="0 of 1 steps completed; failed: slow (timeout)",
        children={"slow/1": "Cancelled"},
        struck="slow",
        starts=1,
    ),
)
def step_timeout(case: Case) -> UUID:
    """The step has 40 seconds, its child sleeps for 600."""
    run = case.sleeping("faults-short", 600, "slow")
    with case.fault():
        case.child(run, "slow")
    return run


@row(
    "active-deadline",
    "A child takes longer than its Job's activeDeadlineSeconds",
    Promise(
        "Its supervisor ends it before Kubernetes does; the step fails: timeout; no new attempt.",
        state="Failed",
        message="0 of 1 steps completed; failed: only (timeout)",
        children={"only/1": "TimedOut"},
        struck="only",
        starts=1,
    ),
)
def active_deadline(case: Case) -> UUID:
    """The Job may take 25 seconds, its child sleeps for 600."""
    run = case.start(
        "faults-one",
        overrides={"only": {"parameters": {"seconds": 600}, "job_variables": {"active_deadline_seconds": 25}}},
    )
    case.child(run, "only")
    with case.fault():
        case.until_effects("only began")
    return run


@row(
    "disk-full",
    "A child's disk is full",
    Promise(
        "It fails with the system's own words; after two more attempts its step fails: platform.",
        state="Failed",
        message="0 of 1 steps completed; failed: filler (platform; attempt 3 of 3)",
        children={"filler/1": "Failed", "filler/2": "Failed", "filler/3": "Failed"},
        attempts=3,
        struck="filler",
        starts=3,
    ),
    within=300,
)
def disk_full(case: Case) -> UUID:
    """A file of 64 MiB on a volume of 8."""
    run = case.start("faults-full-disk", overrides={"filler": {"parameters": {"folder": SMALL_DISK}}})
    with case.fault():
        case.until_effects("filler began")
    case.settled(run)
    said = str(case.prefect.children(run)["filler", 1].state.message)  # type: ignore[union-attr]
    case.expect("the first attempt's words", "The disk is full: No space left on device" in said, True)  # noqa: FBT003
    return run
