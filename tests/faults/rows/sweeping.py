"""Abandoned runs, Jobs and slots: found by the sweeper, ended or restarted."""

from __future__ import annotations

import time
from uuid import UUID

from prefect.states import Cancelled, Failed, Pending

from tests.e2e.kube import RUN
from tests.faults import node, outage
from tests.faults.case import Case
from tests.faults.matrix import Lane, Promise, row
from tests.faults.rows.children import crashed, working_one
from tests.faults.rows.parents import working_pair
from tests.faults.rows.twice import copied

# What `site.IMPATIENT` gives a run before the sweeper takes it for lost.
PATIENCE = 11


def lose_job(case: Case, run: UUID) -> None:
    """Have a run's Job and pod go, as Kubernetes does it when their time to live is over."""
    case.namespace.kubectl("delete", "job", "-l", f"{RUN}={run}")
    case.when(lambda: not case.namespace.pods_of(run), "its pod is gone")


def _pending(case: Case, seconds: float) -> UUID:
    """A run as a worker leaves it that dies before it makes the Job."""
    client = case.prefect.client
    deployment = client.read_deployment_by_name("faults-sleeper/faults-sleeper").id
    with case.fault():
        run = client.create_flow_run_from_deployment(deployment, parameters={"seconds": seconds}, state=Pending()).id
    case.roots.append(run)
    return run


@row(
    "worker-killed-at-pending",
    "The worker dies between Pending and the Job",
    Promise("The sweep starts the run again, and it completes.", state="Completed", starts=1),
    lane=Lane.PARTS,
    fast=True,
)
def worker_killed_at_pending(case: Case) -> UUID:
    """A run that is Pending, and no worker has it."""
    run = _pending(case, 1)
    time.sleep(PATIENCE)
    case.sweep()
    return run


@row(
    "two-sweeps",
    "Two sweeps find the same run, at the same time",
    Promise("It is started again once, and completes.", state="Completed", starts=1),
    lane=Lane.PARTS,
)
def two_sweeps(case: Case) -> UUID:
    """A run that is Pending, no worker has it, and it takes longer than the second sweep needs to act on it, too."""
    run = _pending(case, 30)
    time.sleep(PATIENCE)
    case.sweep(times=2)
    case.until_state(run, "Completed")
    case.expect("how often it was started again", sum("sweeper" in (s.message or "") for s in case.states(run)), 1)
    return run


@row(
    "pod-gone-unseen",
    "A child's pod and Job go while no worker looks",
    crashed("The sweep ends the attempt; a second one completes."),
    lane=Lane.PARTS,
)
def pod_gone_unseen(case: Case) -> UUID:
    """The container is killed and its Job deleted while the worker is away."""
    run = working_one(case, 20)
    child = case.child(run, "only")
    pod = case.until_pod(child)
    with outage.away(case.site, "worker"), case.fault():
        node.kill_container(pod)
        lose_job(case, child)
    case.sweep()
    return run


@row(
    "orphans",
    "A pipeline run is forced to Failed, and its pod is killed before it notices",
    Promise(
        "The sweep cancels its children; a dry run only tells of them.",
        state="Failed",
        children={"left/1": "Cancelled", "right/1": "Cancelled"},
        starts=2,
    ),
    lane=Lane.PARTS,
    fast=True,
)
def orphans(case: Case) -> UUID:
    """The state is set through the API, which runs no hook; a pod that works would cancel the children itself."""
    run = working_pair(case, 600)
    pod = case.until_pod(run)
    with case.fault():
        node.freeze(pod)
        case.prefect.client.set_flow_run_state(run, Failed(), force=True)
        node.kill_container(pod)
    case.when(lambda: not case.pods(run), "no pod of the parent is left", within=60)
    case.sweep(dry_run=True)
    case.expect("after the dry run", case.prefect.states(run), {"left/1": "Running", "right/1": "Running"})
    case.sweep()
    _until_cancelled(case, run)
    return run


@row(
    "orphans-of-a-cancelled-run",
    "A pipeline run is forced to Cancelled over its pod's head",
    Promise(
        "The server cancels its children, without a sweep.",
        state="Cancelled",
        children={"left/1": "Cancelled", "right/1": "Cancelled"},
        starts=2,
    ),
    lane=Lane.PARTS,
)
def orphans_of_a_cancelled_run(case: Case) -> UUID:
    """The state is set through the API, which runs no hook."""
    run = working_pair(case, 600)
    with case.fault():
        case.prefect.client.set_flow_run_state(run, Cancelled(), force=True)
    _until_cancelled(case, run)
    return run


def _until_cancelled(case: Case, run: UUID) -> None:
    wanted = dict.fromkeys(("left/1", "right/1"), "Cancelled")
    case.when(lambda: case.prefect.states(run) == wanted, "the children are Cancelled", within=60)


@row(
    "job-of-a-run-that-is-over",
    "A Job goes on although its run is over",
    Promise("The sweep deletes it with its pod.", state="Completed", starts=1),
    lane=Lane.PARTS,
)
def job_of_a_run_that_is_over(case: Case) -> UUID:
    """A copy of its Job that only sleeps."""
    run = case.start("faults-sleeper", seconds=0.1)
    case.until_state(run, "Completed")
    (job,) = case.namespace.jobs(f"{RUN}={run}")
    copy = copied(job, f"leftover-{run}")
    copy["spec"]["template"]["spec"]["containers"][0]["args"] = ["sleep", "600"]
    with case.fault():
        case.namespace.apply(copy)
        case.until_pod(run)
    time.sleep(PATIENCE)
    case.sweep()
    return run


@row(
    "slots-of-the-dead",
    "A run that holds a concurrency slot is SIGKILLed",
    Promise("The sweep frees the slot.", state="Crashed", starts=1),
    lane=Lane.PARTS,
)
def slots_of_the_dead(case: Case) -> UUID:
    """Its engine is killed from the node; nothing gives the slot back."""
    case.slots = 1
    run = case.start("faults-slot", seconds=600)
    case.until_effects("slot began")
    pod = case.until_pod(run)
    with case.fault():
        node.kill_engine(pod)
    case.until_state(run, "Crashed")
    case.expect("slots before the sweep", case.limit(), 1)
    case.sweep()
    return run


@row(
    "cancelling-stuck",
    "A run is cancelled whose pod hangs, while the worker is away",
    Promise("It is Cancelled within 30 s; the sweep removes the pod.", state="Cancelled", starts=1),
    lane=Lane.PARTS,
)
def cancelling_stuck(case: Case) -> UUID:
    """The pod is frozen from the node; the worker comes back when the state is final, and has nothing to do with it."""
    run = case.start("faults-sleeper", seconds=600)
    case.until_effects("sleeper began")
    frozen = node.freeze(case.until_pod(run))
    try:
        with outage.away(case.site, "worker"):
            with case.fault():
                case.prefect.cancel(run)
            case.until_state(run, "Cancelled", within=30)
        time.sleep(PATIENCE)
        case.sweep()
        case.when(lambda: not case.pods(run), "its pod is gone", within=90)
    finally:
        node.thaw(frozen)
    return run
