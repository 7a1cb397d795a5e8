"""Why a run's pod does not start, or is no more: pods and Jobs in, cause and words out. Pure, for `findings`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from flows.errors import Cause
from flows.sweep.facts import Job, Pod

NOT_STARTING = {
    "ErrImagePull": Cause.IMAGE,
    "ImagePullBackOff": Cause.IMAGE,
    "InvalidImageName": Cause.IMAGE,
    "ErrImageNeverPull": Cause.IMAGE,
    "Unschedulable": Cause.UNSCHEDULABLE,
}
GONE = {
    "OOMKilled": Cause.OUT_OF_MEMORY,
    "Evicted": Cause.EVICTED,
    "Preempted": Cause.PREEMPTED,
    "PreemptionByScheduler": Cause.PREEMPTED,
    "NodeLost": Cause.NODE_LOST,
    "DeadlineExceeded": Cause.TIMEOUT,
}


def not_starting(pods: Sequence[Pod]) -> tuple[Cause, str]:
    """Why pods of a Pending run do not start."""
    if not pods:
        return Cause.UNSCHEDULABLE, "its Job has no pod; see `kubectl describe job` (a quota, a policy)"
    worst = max(pods, key=lambda pod: pod.reason in NOT_STARTING)
    return NOT_STARTING.get(worst.reason, Cause.NEVER_STARTED), _said(worst.reason, worst.trouble, worst.name)


def gone(jobs: Iterable[Job], pods: Sequence[Pod]) -> tuple[Cause, str]:
    """Why there is no pod of a Running run any more."""
    reasons = {pod.reason: pod for pod in pods}
    for reason, cause in GONE.items():
        if reason in reasons:
            return cause, f"its pod is over: {_said(reason, reasons[reason].trouble, reasons[reason].name)}"
        if any(job.reason == reason for job in jobs):
            return cause, f"its Job is over: {reason}"
    if any(pod.deleted for pod in pods):
        return Cause.NODE_LOST, "its pod was deleted and does not go: its node does not answer"
    if pods:
        return Cause.CRASHED, f"its pod {pods[0].name} is over"
    return Cause.POD_DELETED, "there is no pod and no Job for it"


def _said(reason: str, trouble: str, name: str) -> str:
    return ": ".join(part for part in (reason or f"pod {name} does not start", trouble) if part)
