"""A part of the system itself is away: runs wait, retry, or end with a cause; none is lost."""

from __future__ import annotations

from uuid import UUID

from tests.faults import node, outage
from tests.faults.case import Case
from tests.faults.matrix import Lane, Promise, row
from tests.faults.rows.children import working_one
from tests.faults.rows.parents import DONE, PAIR, working_pair
from tests.faults.rows.sweeping import lose_job

OUTAGE = 60
# The worker's, in seconds.
AWAY = 600
THROUGH = Promise(
    "Everything goes on and completes when it is back; nothing starts twice.",
    state="Completed",
    message=DONE,
    children=PAIR,
    starts=3,
)


@row(
    "worker-deleted",
    "The worker's pod is deleted while children work",
    THROUGH,
    lane=Lane.PARTS,
)
def worker_deleted(case: Case) -> UUID:
    """`kubectl delete pod`; its Deployment makes another."""
    run = working_pair(case, 20)
    with case.fault():
        case.namespace.kubectl("delete", "pod", "-l", "app.kubernetes.io/component=worker", "--wait=false")
    return run


@row(
    "worker-away",
    "The worker is away for 10 minutes; meanwhile two children's containers are killed, and the Job of one goes",
    Promise(
        "When it is back both attempts end Crashed, the one without a Job by the sweep; second attempts complete, and "
        "so does what was started meanwhile.",
        state="Completed",
        message=DONE,
        children={
            "left/1": "Crashed",
            "left/2": "Completed",
            "right/1": "Crashed",
            "right/2": "Completed",
            "last/1": "Completed",
        },
        attempts=2,
        struck="right",
        starts=6,
    ),
    lane=Lane.LONG,
    within=AWAY + 180,
)
def worker_away(case: Case) -> UUID:
    """Scaled to none; the containers are killed from the node, and one Job is deleted as its time to live would."""
    run = working_pair(case, 20)
    left, right = case.child(run, "left"), case.child(run, "right")
    pods = [case.until_pod(child) for child in (left, right)]
    with outage.away(case.site, "worker"), case.fault():
        for pod in pods:
            node.kill_container(pod)
        lose_job(case, right)
        later = case.start("faults-sleeper", seconds=1)
        outage.lasts(AWAY)
        for child in (left, right):
            case.expect("a child, before the worker is back", case.read(child).state_name, "Running")
    case.until_state(later, "Completed", within=120)
    case.sweep()
    return run


@row("api-away", f"The API is away for {OUTAGE} s while children work", THROUGH, lane=Lane.PARTS)
def api_away(case: Case) -> UUID:
    """The server's Deployment is scaled to none."""
    run = working_pair(case, 30)
    with case.fault(), outage.away(case.site, "server"):
        outage.lasts(OUTAGE)
    return run


@row("database-away", f"Prefect's database is away for {OUTAGE} s while children work", THROUGH, lane=Lane.PARTS)
def database_away(case: Case) -> UUID:
    """It takes no connections, and those that there are break."""
    run = working_pair(case, 30)
    with case.fault(), outage.database_away(case.site):
        outage.lasts(OUTAGE)
    return run


@row("api-internal-errors", "The API answers 500 for 30 s while children work", THROUGH, lane=Lane.PARTS, fast=True)
def api_internal_errors(case: Case) -> UUID:
    """A table of its database has another name meanwhile."""
    run = working_pair(case, 15)
    with case.fault(), outage.internal_errors(case.site):
        outage.lasts(30)
    return run


@row(
    "kubernetes-api-unreachable",
    f"The worker cannot reach the API of Kubernetes for {OUTAGE} s; a step is started meanwhile",
    THROUGH,
    lane=Lane.PARTS,
    within=240,
)
def kubernetes_api_unreachable(case: Case) -> UUID:
    """Its packets get lost; the Prefect API it reaches."""
    run = working_pair(case, 15)
    with case.fault(), outage.kubernetes_unreachable(case.site):
        outage.lasts(OUTAGE)
    return run


@row(
    "cancel-after-outage",
    f"A pipeline that lived through an API outage of {OUTAGE} s is cancelled",
    Promise(
        "Parent and child are Cancelled within 30 s, no pod is left.",
        state="Cancelled",
        children={"only/1": "Cancelled"},
        starts=1,
    ),
    lane=Lane.PARTS,
    within=30,
)
def cancel_after_outage(case: Case) -> UUID:
    """Prefect's own observer of cancellations has given up by then."""
    run = working_one(case, 600)
    with outage.away(case.site, "server"):
        outage.lasts(OUTAGE)
    with case.fault():
        case.prefect.cancel(run)
    case.settled(run)
    case.when(lambda: case.prefect.states(run) == {"only/1": "Cancelled"}, "the child is Cancelled", within=30)
    return run


@row(
    "kubelet-stopped",
    f"The kubelet stops for {OUTAGE} s while children work",
    THROUGH,
    lane=Lane.NODE,
    within=180,
)
def kubelet_stopped(case: Case) -> UUID:
    """SIGSTOP and SIGCONT on the node."""
    run = working_pair(case, 20)
    with case.fault(), node.stopped("kubelet"):
        outage.lasts(OUTAGE)
    return run


@row(
    "kubernetes-api-stopped",
    f"The API of Kubernetes hangs for {OUTAGE} s while children work, and a step is started meanwhile",
    THROUGH,
    lane=Lane.NODE,
    within=240,
)
def kubernetes_api_stopped(case: Case) -> UUID:
    """SIGSTOP and SIGCONT of kube-apiserver on the node."""
    run = working_pair(case, 20)
    with case.fault(), node.stopped("kube-apiserver"):
        outage.lasts(OUTAGE)
    return run
