"""Kubernetes itself takes a child's pod away: for a more important one, or because its node does not answer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from kubernetes.utils.quantity import parse_quantity

from tests.faults import node
from tests.faults.case import Case
from tests.faults.matrix import Lane, row
from tests.faults.priority import priority_class
from tests.faults.rows.children import again, working_one

# Parts of a node's processors: together more than there are; what is left beside the urgent pod is for everything else.
CHILD, URGENT = 45, 65
# What Kubernetes puts on a node that has not been heard of for 40 s. With no other node in its zone it takes no pod
# away, though (measured), so it has to be put there by hand.
UNREACHABLE = "node.kubernetes.io/unreachable"


@row(
    "child-preempted",
    "A pod of higher priority takes the place of a child's",
    again("The child's run is rescheduled and starts again as soon as a node has room: the same attempt."),
)
def child_preempted(case: Case) -> UUID:
    """The urgent pod wants more of the child's node than the child leaves free, for five seconds."""
    found = case.namespace.core.list_node().items
    milli = {one.metadata.name: int(parse_quantity(one.status.allocatable["cpu"]) * 1000) for one in found}
    run = working_one(case, cpu_request=_part(min(milli.values()), CHILD))
    pod = case.until_pod(case.child(run, "only"))
    with case.fault(), urgent(case, pod, _part(milli[pod["spec"]["nodeName"]], URGENT)):
        case.when(lambda: _reason(case, pod) == "PreemptionByScheduler", "the child's pod is preempted")
        case.notice()
        case.settled(run)
    return run


@row(
    "node-unreachable",
    "A node does not answer until a child's pod is taken from it",
    again("The child's run is rescheduled and starts again when its node is back: the same attempt."),
    lane=Lane.NODE,
)
def node_unreachable(case: Case) -> UUID:
    """The kubelet is stopped; only the child's pod does not tolerate that for five minutes."""
    intolerant = {"key": UNREACHABLE, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 0}
    run = working_one(case, 60, tolerations=[intolerant])
    pod = case.until_pod(case.child(run, "only"))
    with case.fault(), node.stopped("kubelet"), tainted(case, pod["spec"]["nodeName"]):
        case.when(lambda: _reason(case, pod) == "DeletionByTaintManager", "the child's pod is taken away", within=60)
        # Nobody can tell the pod, which works on; nobody else may take its run for lost. The server and the warehouse
        # cannot be asked meanwhile: what forwards a port is the kubelet.
        time.sleep(20)
        case.notice()
    return run


@contextmanager
def tainted(case: Case, name: str) -> Iterator[None]:
    """The node is marked as one that does not answer."""
    case.namespace.kubectl("taint", "node", name, f"{UNREACHABLE}:NoExecute")
    try:
        yield
    finally:
        # Gone already where Kubernetes has seen the node again.
        left = case.namespace.core.read_node(name).spec.taints or []
        if any(taint.key == UNREACHABLE and taint.effect == "NoExecute" for taint in left):
            case.namespace.kubectl("taint", "node", name, f"{UNREACHABLE}:NoExecute-")


@contextmanager
def urgent(case: Case, beside: dict[str, Any], cpu: str) -> Iterator[None]:
    """A pod on the same node that nothing of priority 0 may hold up."""
    (container,) = beside["spec"]["containers"]
    with priority_class(case.namespace, "urgent", 1000) as name:
        case.namespace.apply(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": "urgent"},
                "spec": {
                    "priorityClassName": name,
                    "affinity": {"nodeAffinity": _only(beside["spec"]["nodeName"])},
                    "restartPolicy": "Never",
                    "automountServiceAccountToken": False,
                    "securityContext": beside["spec"]["securityContext"],
                    "containers": [
                        {
                            "name": "urgent",
                            "image": container["image"],
                            "command": ["sleep", "5"],
                            "securityContext": container["securityContext"],
                            "resources": {"requests": {"cpu": cpu}},
                        }
                    ],
                },
            }
        )
        try:
            yield
        finally:
            case.namespace.kubectl("delete", "pod", "urgent")


def _part(milli: int, percent: int) -> str:
    return f"{milli * percent // 100}m"


def _only(node: str) -> dict[str, Any]:
    """An affinity to this node; it leaves the decision to the scheduler, as `nodeName` would not."""
    named = {"key": "metadata.name", "operator": "In", "values": [node]}
    return {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchFields": [named]}]}}


def _reason(case: Case, pod: dict[str, Any]) -> str:
    """Why a pod is taken away."""
    found = [each for each in case.namespace.pods() if each["metadata"]["uid"] == pod["metadata"]["uid"]]
    conditions = [each for one in found for each in one["status"].get("conditions", [])]
    return next((str(each["reason"]) for each in conditions if each["type"] == "DisruptionTarget"), "")
