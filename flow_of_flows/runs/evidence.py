"""What is known about a child run that did not complete: Prefect events in, evidence out. Pure.

Two watchers tell of pods: Prefect's own observer (`prefect.kubernetes.pod.*`) and this package's witness in the worker
(`flow-of-flows.pod.*`), which tells what the observer leaves out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from prefect.client.schemas.objects import StateType

from flow_of_flows.errors import Cause

OBSERVER, WITNESS = "prefect.kubernetes.pod.", "flow-of-flows.pod."
RUN = "prefect.flow-run."
# Why the observer's own name of an event is not read: it calls every failed pod evicted (measured).
LABELS = {
    "kubernetes.diagnosis": "diagnosis",
    "kubernetes.reason": "reason",
    "kubernetes.exit-code": "exit_code",
    "kubernetes.disruption": "disruption",
    "kubernetes.node": "node",
    "kubernetes.message": "message",
}


class Overdue(StrEnum):
    """Which time of a child has passed."""

    PENDING = "pending"
    RUNNING = "running"


@dataclass(frozen=True)
class PodEvidence:
    """What one event tells about a pod; what it does not tell is empty.

    Attributes:
        diagnosis: category of prefect-kubernetes, for example OOMKilled.
        reason: of a container or the pod, in the words of Kubernetes.
        exit_code: of the container.
        disruption: reason of the pod's condition DisruptionTarget.
        deleted: the pod was deleted before it was over.
        node: where it ran.
        message: the pod's own.
    """

    diagnosis: str = ""
    reason: str = ""
    exit_code: str = ""
    disruption: str = ""
    deleted: bool = False
    node: str = ""
    message: str = ""


@dataclass(frozen=True)
class Evidence:
    """Everything that is known about how a child run ended.

    Attributes:
        state: type of its last state.
        message: of that state.
        reported: the cause that the child handed back.
        overdue: which of its times had passed when it was cancelled.
        started: whether it was ever Running.
        has_job: whether Kubernetes took a Job for it.
        pods: what was told of its pods, oldest first; None: not asked.
    """

    state: StateType
    message: str = ""
    reported: Cause | None = None
    overdue: Overdue | None = None
    started: bool = False
    has_job: bool = False
    pods: tuple[PodEvidence, ...] | None = None


def by_run(events: Iterable[Mapping[str, Any]]) -> dict[UUID, tuple[PodEvidence, ...]]:
    """What the events tell, by the flow run they are about, in the order in which the server received them.

    When something happened is no order: the observer dates a diagnosis back to the making of the pod (measured).
    """
    found: dict[UUID, tuple[PodEvidence, ...]] = {}
    for event in sorted(events, key=_received):
        run = next((one for one in map(_run, event["related"]) if one), None)
        if run:
            found[run] = (*found.get(run, ()), _pod(event))
    return found


def _received(event: Mapping[str, Any]) -> str:
    return str(event["received"])


def _run(related: Mapping[str, str]) -> UUID | None:
    identifier = related.get("prefect.resource.id", "")
    return UUID(identifier.removeprefix(RUN)) if identifier.startswith(RUN) else None


def _pod(event: Mapping[str, Any]) -> PodEvidence:
    told = {field: str(event["resource"].get(label, "")) for label, field in LABELS.items()}
    return PodEvidence(**told, deleted=event["event"] == f"{WITNESS}deleted")
