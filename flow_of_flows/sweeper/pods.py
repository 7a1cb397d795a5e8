"""Why a run's pod does not start, or is no more: pods and Jobs in, cause and words out. Pure, for `findings`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from flow_of_flows.errors import Cause
from flow_of_flows.runs.causes import of_reason
from flow_of_flows.sweeper.snapshot import KubernetesJob, KubernetesPod


def not_starting(pods: Sequence[KubernetesPod]) -> tuple[Cause, str]:
    """Why pods of a Pending run do not start."""
    if not pods:
        return Cause.UNSCHEDULABLE, "its Job has no pod; see `kubectl describe job` (a quota, a policy)"
    causes = [(pod, of_reason(pod.reason, started=False)) for pod in pods]
    pod, cause = next((known for known in causes if known[1]), causes[0])
    return cause or Cause.NEVER_STARTED, _said(pod.reason, pod.trouble, pod.name)


def gone(jobs: Iterable[KubernetesJob], pods: Sequence[KubernetesPod]) -> tuple[Cause, str]:
    """Why there is no pod of a Running run any more."""
    for pod in pods:
        if cause := of_reason(pod.reason, started=True):
            return cause, f"its pod is over: {_said(pod.reason, pod.trouble, pod.name)}"
    for job in jobs:
        if cause := of_reason(job.reason, started=True):
            return cause, f"its Job is over: {job.reason}"
    if any(pod.deleted for pod in pods):
        return Cause.NODE_LOST, "its pod was deleted and does not go: its node does not answer"
    if pods:
        return Cause.CRASHED, f"its pod {pods[0].name} is over"
    return Cause.POD_DELETED, "there is no pod and no Job for it"


def _said(reason: str, trouble: str, name: str) -> str:
    return ": ".join(part for part in (reason or f"pod {name} does not start", trouble) if part)
