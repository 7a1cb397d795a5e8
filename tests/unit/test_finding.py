"""What the worker's witness tells of a pod."""

from __future__ import annotations

from typing import Any

import pytest

from flow_of_flows.kubernetes_api.pod_observer import PodDiagnosis, diagnosis
from flow_of_flows.runs.causes import DISRUPTIONS, REASONS
from tests.fixtures.pod_objects import DONE, KILLED, NO_IMAGE, RUN, RUNNING, disrupted, pod

NO_ROOM = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}
WHERE = {"kubernetes.node": "node-1", "kubernetes.job": "load"}


@pytest.mark.parametrize(
    ("kind", "seen", "what", "labels"),
    [
        ("MODIFIED", pod("Failed", container=KILLED), "ended", {"reason": "OOMKilled", "exit-code": "137"}),
        (
            "MODIFIED",
            pod("Succeeded", container={"terminated": {"reason": "OOMKilled", "exitCode": 0}}),
            "ended",
            {"reason": "OOMKilled", "exit-code": "0"},
        ),
        (
            "MODIFIED",
            pod("Running", container=RUNNING, conditions=[disrupted("PreemptionByScheduler")]),
            "disrupted",
            {"disruption": "PreemptionByScheduler", "message": "by somebody"},
        ),
        (
            None,
            pod("Failed", container=DONE, conditions=[disrupted("DeletionByPodGC")]),
            "ended",
            {"disruption": "DeletionByPodGC", "message": "by somebody"},
        ),
        (
            "MODIFIED",
            pod("Failed", reason="Evicted", message="The node was low on resource: memory."),
            "ended",
            {"reason": "Evicted", "message": "The node was low on resource: memory."},
        ),
        ("DELETED", pod("Running", container=RUNNING), "deleted", {}),
        ("ADDED", pod("Pending", container=NO_IMAGE), "pending", {"reason": "ErrImagePull", "message": "no such tag"}),
        ("ADDED", pod("Pending", conditions=[NO_ROOM]), "pending", {"reason": "Unschedulable", "message": "0/3 nodes"}),
    ],
)
def test_what_is_told_of_a_pod(kind: str | None, seen: dict[str, Any], what: str, labels: dict[str, str]) -> None:
    """Its end, its disruption, its deletion, or why it does not begin, with node and Job."""
    told = {f"kubernetes.{name}": value for name, value in labels.items()}
    assert diagnosis(kind, seen) == PodDiagnosis(what, RUN, "u-1", "load-x7", told | WHERE)


@pytest.mark.parametrize(
    ("kind", "seen"),
    [
        ("ADDED", pod("Pending")),
        ("MODIFIED", pod("Pending", container={"waiting": {"reason": "ContainerCreating"}})),
        ("MODIFIED", pod("Running", container=RUNNING)),
        ("MODIFIED", pod("Succeeded", container=DONE)),
        ("DELETED", pod("Succeeded", container=DONE)),
        ("DELETED", pod("Failed", container=KILLED)),
        ("DELETED", {"metadata": {"uid": "u", "name": "other", "labels": {}}, "status": {"phase": "Running"}}),
    ],
)
def test_nothing_is_told_of_a_usual_pod(kind: str, seen: dict[str, Any]) -> None:
    """Nor of one that was over before somebody deleted it, nor of one that belongs to no run."""
    assert diagnosis(kind, seen) is None


def test_one_finding_has_one_id_however_often_it_is_seen() -> None:
    """The scheduler's count of nodes may change; a reason may not."""
    first = diagnosis("ADDED", pod("Pending", conditions=[NO_ROOM]))
    later = diagnosis("MODIFIED", pod("Pending", conditions=[NO_ROOM | {"message": "0/4 nodes"}]))
    other = diagnosis("MODIFIED", pod("Pending", container=NO_IMAGE))
    assert first
    assert later
    assert other
    assert first.id == later.id
    assert first.id != other.id


@pytest.mark.parametrize("reason", [*REASONS, *DISRUPTIONS])
def test_every_reason_that_means_something_can_be_told(reason: str) -> None:
    """Completeness: what the classifier reads, the witness writes."""
    found = diagnosis("MODIFIED", pod("Failed", reason=reason, conditions=[disrupted(reason)]))
    assert found
    assert found.labels["kubernetes.reason"] == found.labels["kubernetes.disruption"] == reason
