"""A pipeline's own pod is lost: the run comes back by itself and adopts the children that went on meanwhile."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

from tests.faults import node
from tests.faults.case import Case
from tests.faults.matrix import Promise, row

PAIR = {"left/1": "Completed", "right/1": "Completed", "last/1": "Completed"}
DONE = "3 of 3 steps completed"
BACK = Promise(
    "The same run comes back in a new pod, adopts both children, and completes; no child starts twice.",
    state="Completed",
    message=DONE,
    children=PAIR,
    attempts=2,
    starts=3,
)


def lasting(**seconds: float) -> dict[str, Any]:
    """Overrides that have each of these steps sleep for so long."""
    return {step: {"parameters": {"seconds": value}} for step, value in seconds.items()}


def working_pair(case: Case, seconds: float = 15) -> UUID:
    """A pipeline whose first two children are at work."""
    run = case.start("faults-pair", overrides=lasting(left=seconds, right=seconds, last=1))
    case.until_effects("left began", "right began")
    return run


def lose(case: Case, how: Callable[[dict[str, Any]], object]) -> UUID:
    """A working pair whose own pod is lost."""
    run = working_pair(case)
    pod = case.until_pod(run)
    with case.fault():
        how(pod)
    return run


def delete(case: Case, pod: dict[str, Any]) -> None:
    """As `kubectl delete pod` does."""
    case.namespace.kubectl("delete", "pod", pod["metadata"]["name"], "--wait=false")


def evict(case: Case, pod: dict[str, Any]) -> None:
    """As `kubectl drain` does."""
    name = pod["metadata"]["name"]
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
    path = f"/api/v1/namespaces/{case.namespace.name}/pods/{name}/eviction"
    case.namespace.kubectl("create", "--raw", path, "-f", "-", given=json.dumps(eviction))


@row("parent-pod-deleted", "The pod of a pipeline is deleted", BACK, fast=True)
def parent_pod_deleted(case: Case) -> UUID:
    """`kubectl delete pod`."""
    return lose(case, lambda pod: delete(case, pod))


@row("parent-evicted", "The pod of a pipeline is evicted, as by a drain", BACK)
def parent_evicted(case: Case) -> UUID:
    """The Eviction API."""
    return lose(case, lambda pod: evict(case, pod))


@row("parent-force-deleted", "The pod of a pipeline is deleted with no grace", BACK)
def parent_force_deleted(case: Case) -> UUID:
    """`--grace-period=0 --force`."""
    return lose(
        case,
        lambda pod: case.namespace.kubectl(
            "delete", "pod", pod["metadata"]["name"], "--grace-period=0", "--force", "--wait=false"
        ),
    )


@row("parent-container-killed", "The whole container of a pipeline is SIGKILLed", BACK, fast=True)
def parent_container_killed(case: Case) -> UUID:
    """From the node: its first process."""
    return lose(case, node.kill_container)


@row("parent-engine-killed", "The process that runs a pipeline is SIGKILLed", BACK)
def parent_engine_killed(case: Case) -> UUID:
    """From the node: only the engine; its supervisor lives."""
    return lose(case, node.kill_engine)


@row("parent-job-deleted", "The Job of a pipeline is deleted", BACK)
def parent_job_deleted(case: Case) -> UUID:
    """`kubectl delete job`."""
    return lose(
        case, lambda pod: case.namespace.kubectl("delete", "job", pod["metadata"]["labels"]["job-name"], "--wait=false")
    )


# The automation reacts within a second or two, a parent above within eight.
REVIVED_WITHIN = 12
HUNGRY = {"only/1": "Completed", "next/1": "Completed"}


@row(
    "parent-out-of-memory-once",
    "The pod of a pipeline runs out of memory once",
    Promise(
        "The same run comes back, adopts its child, and completes.",
        state="Completed",
        message="2 of 2 steps completed",
        children=HUNGRY,
        attempts=2,
        starts=2,
    ),
)
def parent_out_of_memory_once(case: Case) -> UUID:
    """A thread of it takes memory when the row asks for it."""
    run = case.sleeping("faults-hungry", 20, "only", "next")
    case.until_effects("only began")
    pod = case.until_pod(run)
    with case.fault():
        case.namespace.kubectl("exec", pod["metadata"]["name"], "--", "touch", "/tmp/eat")
    return run


@row(
    "parent-out-of-memory-always",
    "The pod of a pipeline runs out of memory each time",
    Promise(
        "It is revived three times, then stays Crashed and says out-of-memory; its child is adopted and completes.",
        state="Crashed",
        children={"only/1": "Completed"},
        attempts=4,
        starts=1,
        cause="out-of-memory",
    ),
    within=180,
)
def parent_out_of_memory_always(case: Case) -> UUID:
    """Every engine of it takes memory five seconds after its start."""
    run = case.sleeping("faults-hungry", 60, "only", "next", job_variables={"env": {"FAULTS_EAT": "5"}})
    case.when(lambda: len(_crashes(case, run)) == 4, "the fourth crash", within=240)
    # Time counts from the first of them.
    case.struck = _crashes(case, run)[0]
    case.until_state(case.child(run, "only"), "Completed")
    # What would revive it does so within seconds of a crash: it may not.
    time.sleep(REVIVED_WITHIN)
    return run


def _crashes(case: Case, run: UUID) -> list[datetime]:
    return [state.timestamp for state in case.states(run) if state.name == "Crashed"]


@row(
    "nested-container-killed",
    "The container of a pipeline inside a pipeline is SIGKILLed",
    Promise(
        "The inner run is revived with its id and adopts its children; the outer one never fails.",
        state="Completed",
        message="2 of 2 steps completed",
        children={"inner/1": "Completed", "outer/1": "Completed"},
        attempts=2,
        struck="inner",
        starts=4,
    ),
    fast=True,
)
def nested_container_killed(case: Case) -> UUID:
    """From the node, while its children work."""
    run = case.start(
        "faults-nested",
        overrides={
            "inner": {"parameters": {"overrides": lasting(left=20, right=20, last=1)}},
            "outer": {"parameters": {"seconds": 1}},
        },
    )
    case.until_effects("left began", "right began")
    pod = case.until_pod(case.child(run, "inner"))
    with case.fault():
        node.kill_container(pod)
    return run
