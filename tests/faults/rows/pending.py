"""A child's pod cannot start: after a deadline the child is cancelled, the pod removed, the cause stated."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from tests.faults.case import Case
from tests.faults.matrix import Promise, row
from tests.faults.priority import priority_class

# Every pod of these rows may be pending for so long (seconds), instead of 15 minutes.
DEADLINE = 20


def never_starts(cause: str) -> Promise:
    """What happens to a child whose pod cannot start."""
    return Promise(
        f"After the deadline of {DEADLINE} s the child is cancelled and its pod is removed; the step fails: {cause}.",
        state="Failed",
        message=f"0 of 1 steps completed; failed: only ({cause})",
        children={"only/1": "Cancelled"},
        struck="only",
    )


def pending(case: Case, **job_variables: Any) -> UUID:
    """A pipeline whose child gets these job variables."""
    with case.fault():
        run = case.start(
            "faults-one",
            {"env": {"FLOWS_DEADLINE_PENDING": str(DEADLINE)}},
            overrides={"only": {"job_variables": job_variables}},
        )
        case.child(run, "only")
    return run


@row("image-cannot-be-pulled", "A child's image does not exist", never_starts("image"))
def image_cannot_be_pulled(case: Case) -> UUID:
    """No registry of this name answers."""
    return pending(case, image="registry.invalid/nothing:1")


@row("unschedulable", "No node fits a child's pod", never_starts("unschedulable"))
def unschedulable(case: Case) -> UUID:
    """A node selector that no node has."""
    return pending(case, node_selector={"faults": "none"})


@row("too-large", "A child requests more than any node has", never_starts("unschedulable"))
def too_large(case: Case) -> UUID:
    """A thousand processors."""
    return pending(case, cpu_request="1000")


@row("quota-exceeded", "The namespace's quota has no room for a child", never_starts("unschedulable"))
def quota_exceeded(case: Case) -> UUID:
    """A quota for pods of one priority class, so that other rows are not touched."""
    with priority_class(case.namespace, "none", 0) as name:
        case.namespace.apply(
            {
                "apiVersion": "v1",
                "kind": "ResourceQuota",
                "metadata": {"name": "none"},
                "spec": {
                    "hard": {"pods": "0"},
                    "scopeSelector": {
                        "matchExpressions": [{"scopeName": "PriorityClass", "operator": "In", "values": [name]}]
                    },
                },
            }
        )
        run = pending(case, priority_class_name=name)
        case.settled(run)
    return run
