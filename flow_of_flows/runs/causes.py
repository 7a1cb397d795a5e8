"""Why a child run did not complete, and what follows: evidence in, one cause and its retry policy out. Pure.

The surest evidence comes first: this package's own word, the child's report, the pod, the state's message, the state.
A child retries its own tasks; what the policy retries is a whole child run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from prefect.client.schemas.objects import StateType

from flow_of_flows.errors import Cause

# Categories of prefect-kubernetes; those of Unschedulable have an ending each.
DIAGNOSES: Mapping[str, Cause] = {
    "OOMKilled": Cause.OUT_OF_MEMORY,
    "Evicted": Cause.EVICTED,
    "ImagePullError": Cause.IMAGE,
    "Unschedulable": Cause.UNSCHEDULABLE,
}
# Reasons of a pod's condition DisruptionTarget. TerminationByKubelet is an eviction, unless the pod's reason says more.
DISRUPTIONS: Mapping[str, Cause] = {
    "PreemptionByScheduler": Cause.PREEMPTED,
    "DeletionByTaintManager": Cause.NODE_LOST,
    "DeletionByPodGC": Cause.NODE_LOST,
    "EvictionByEvictionAPI": Cause.EVICTED,
    "TerminationByKubelet": Cause.EVICTED,
}
# Reasons of pods and containers.
REASONS: Mapping[str, Cause] = {
    "OOMKilled": Cause.OUT_OF_MEMORY,
    "Evicted": Cause.EVICTED,
    "Preempting": Cause.PREEMPTED,
    "Preempted": Cause.PREEMPTED,
    "NodeLost": Cause.NODE_LOST,
    "NodeShutdown": Cause.NODE_LOST,
    "Terminated": Cause.NODE_LOST,
    "DeadlineExceeded": Cause.TIMEOUT,
    "ErrImagePull": Cause.IMAGE,
    "ImagePullBackOff": Cause.IMAGE,
    "ErrImageNeverPull": Cause.IMAGE,
    "InvalidImageName": Cause.IMAGE,
    "CreateContainerConfigError": Cause.CONFIGURATION,
    "CreateContainerError": Cause.CONFIGURATION,
    "StartError": Cause.CONFIGURATION,
    "ContainerCannotRun": Cause.CONFIGURATION,
    "Unschedulable": Cause.UNSCHEDULABLE,
    "FailedCreate": Cause.UNSCHEDULABLE,
    "OutOfcpu": Cause.UNSCHEDULABLE,
    "OutOfmemory": Cause.UNSCHEDULABLE,
    "OutOfpods": Cause.UNSCHEDULABLE,
}
# What keeps a pod from starting says nothing about the end of one that did.
BEFORE_START = frozenset({Cause.IMAGE, Cause.UNSCHEDULABLE, Cause.CONFIGURATION})
# Begins Prefect's message of a run that its worker could not give to Kubernetes.
NOT_SUBMITTED = "Failed to submit flow run to infrastructure"
# Parts of Prefect's own messages, the most telling first.
MESSAGES: Mapping[str, Cause] = {
    "exceeded quota": Cause.UNSCHEDULABLE,
    f"{NOT_SUBMITTED}: ApiException: (5": Cause.PLATFORM,
    f"{NOT_SUBMITTED}: PrefectHTTPStatusError: Server error": Cause.PLATFORM,
    f"{NOT_SUBMITTED}: Client": Cause.PLATFORM,
    f"{NOT_SUBMITTED}: Timeout": Cause.PLATFORM,
    f"{NOT_SUBMITTED}: MaxRetryError": Cause.PLATFORM,
    NOT_SUBMITTED: Cause.CONFIGURATION,
    "Kubernetes job was deleted": Cause.POD_DELETED,
    "No active or succeeded pods found for any job": Cause.CRASHED,
    "Process exited with status code": Cause.CRASHED,
}
# Part of Prefect's message of a run that was paused for longer than it may be.
NEVER_RESUMED = "and never resumed"
# Prefect's name for the state of a run that took longer than its flow's own `timeout_seconds`.
TIMED_OUT = "TimedOut"
# The sentences that this package writes, behind the word of a cause, into the state of a run that could not say itself
# how it ended. A flow chooses the message of a state it returns; one that happens to begin with such a word is its own.
CRASHED_OFTEN, STARTED_OFTEN = "the run crashed", "the run was started"
ENDED_AFTER = "the run is ended after"
KERNEL_KILLED = "the kernel killed the run's process"
FOUND_BY_SWEEPER = "(found by the sweeper)"
STATES: Mapping[StateType, Cause] = {
    StateType.FAILED: Cause.ERROR,
    StateType.CRASHED: Cause.CRASHED,
    StateType.CANCELLED: Cause.CANCELLED,
}


def own_cause(state: StateType, message: str) -> Cause | None:
    """Return the cause that this package gave a state; None if the flow, or Prefect, wrote the message.

    Args:
        state: type of the state.
        message: of the state.
    """
    cause, text = Cause.from_message(message), message.partition(": ")[2]
    match state:
        case StateType.FAILED:
            is_own = text.startswith((CRASHED_OFTEN, STARTED_OFTEN, ENDED_AFTER))
        case StateType.CRASHED:
            is_own = text.startswith(KERNEL_KILLED) or text.endswith(FOUND_BY_SWEEPER)
        case _:
            is_own = False
    return cause if is_own else None


def classify(evidence: Evidence) -> Cause:
    """Return the cause; what cannot be explained counts as the state says, and never as success."""
    if evidence.overdue is Overdue.RUNNING:
        return Cause.TIMEOUT
    if said := evidence.said:
        return said
    if evidence.overdue is Overdue.PENDING:
        return _never_started(evidence)
    match evidence.state:
        case StateType.FAILED:
            is_late = evidence.state_name == TIMED_OUT or NEVER_RESUMED in evidence.message
            return evidence.reported or (Cause.TIMEOUT if is_late else Cause.ERROR)
        case StateType.CRASHED:
            return of_pods(evidence) or of_message(evidence.message)
        case state:
            # Given up while still at work: it did not stop in its time.
            return STATES.get(state, Cause.TIMEOUT)


def is_certain(evidence: Evidence) -> bool:
    """Return whether more evidence would not change the cause."""
    if evidence.overdue is Overdue.PENDING:
        # The event that says what the pod waits for may have arrived only now.
        return not evidence.has_job or of_pods(evidence) is not None
    return (
        evidence.state is not StateType.CRASHED
        or not evidence.has_job
        or evidence.overdue is not None
        or evidence.said is not None
        or of_pods(evidence) is not None
    )


def of_pods(evidence: Evidence) -> Cause | None:
    """Return the cause that the newest pod with a reason gives; a deletion counts only without any other reason."""
    diagnosed = [cause for pod in reversed(evidence.pods or ()) if (cause := _of_pod(pod, started=evidence.started))]
    if diagnosed:
        return diagnosed[0]
    return Cause.POD_DELETED if any(pod.deleted for pod in evidence.pods or ()) else None


def of_reason(reason: str, *, started: bool) -> Cause | None:
    """Return the cause of one Kubernetes reason, of a pod, a container, a Job or a disruption; None for others.

    Args:
        reason: in the words of Kubernetes.
        started: whether the run was ever Running.
    """
    return _first((REASONS.get(reason), DISRUPTIONS.get(reason)), started=started)


def _of_pod(pod: PodEvidence, *, started: bool) -> Cause | None:
    diagnosis = DIAGNOSES.get(pod.diagnosis.partition(".")[0])
    return _first((diagnosis, REASONS.get(pod.reason), DISRUPTIONS.get(pod.disruption)), started=started)


def _first(candidates: Iterable[Cause | None], *, started: bool) -> Cause | None:
    return next((cause for cause in candidates if cause and not (started and cause in BEFORE_START)), None)


def _never_started(evidence: Evidence) -> Cause:
    if cause := of_pods(evidence):
        return cause
    # A Job that Kubernetes took, and no pod: it may not make one (a quota, an admission rule).
    return Cause.UNSCHEDULABLE if evidence.has_job and evidence.pods == () else Cause.NEVER_STARTED


def of_message(message: str) -> Cause:
    """Return the cause that the message of a Crashed state gives, where nothing else says more."""
    return next((cause for part, cause in MESSAGES.items() if part in message), Cause.CRASHED)


PREFECT_OBSERVER, POD_OBSERVER = "prefect.kubernetes.pod.", "flow-of-flows.pod."
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
    """Which time limit of a child has passed."""

    PENDING = "pending"
    RUNNING = "running"


@dataclass(frozen=True)
class PodEvidence:
    """What one event says about a pod; what it does not say is empty.

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
        reported: the cause in the child's own report.
        overdue: which of its times had passed when it was cancelled.
        started: whether it was ever Running.
        has_job: whether Kubernetes took a Job for it.
        pods: what the events of its pods say, oldest first; None: not read.
        state_name: of its last state.
        from_flow: whether the flow or Prefect wrote the message, so that its first word is not a cause.
    """

    state: StateType
    message: str = ""
    reported: Cause | None = None
    overdue: Overdue | None = None
    started: bool = False
    has_job: bool = False
    pods: tuple[PodEvidence, ...] | None = None
    state_name: str = ""
    from_flow: bool = False

    @property
    def said(self) -> Cause | None:
        """Return the cause that this package wrote into the message."""
        return None if self.from_flow else Cause.from_message(self.message)


def by_run(events: Iterable[Mapping[str, Any]]) -> dict[UUID, tuple[PodEvidence, ...]]:
    """Return what the events say, by flow run, in the order in which the server received them.

    Times do not give the order: the observer dates a diagnosis back to the making of the pod (measured).
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
    fields = {field: str(event["resource"].get(label, "")) for label, field in LABELS.items()}
    return PodEvidence(**fields, deleted=event["event"] == f"{POD_OBSERVER}deleted")


class AttemptChange(StrEnum):
    """What is different about the next attempt."""

    NOTHING = "nothing"
    MEMORY = "memory"
    NODES = "nodes"


@dataclass(frozen=True)
class Rule:
    """One cause's row of policy.

    Attributes:
        advice: what the reader should do once the attempts are used up.
        retries: further attempts after the first one that ended by this cause.
        change: what is different about them.
        pauses: seconds before each of them; the last one holds for the rest. Jitter is added.
    """

    advice: str
    retries: int = 0
    change: AttemptChange = AttemptChange.NOTHING
    pauses: tuple[float, ...] = (0.0,)

    def pause(self, retry: int) -> float:
        """Return the seconds before a retry (the first is 1)."""
        return self.pauses[min(retry, len(self.pauses)) - 1]


POLICY: Mapping[Cause, Rule] = {
    Cause.DBT_NODES_FAILED: Rule(
        "Correct the failed models, or what they read. A rerun goes on from the failed nodes."
    ),
    Cause.DATA_TESTS_FAILED: Rule("Look at the rows that fail the tests; correct the data or the test."),
    Cause.DATA: Rule("Correct the data at its source."),
    Cause.CONFIGURATION: Rule("Correct the setting or parameter that the message names."),
    Cause.PLATFORM: Rule(
        "Bring back the system that the message names; nothing in the code needs a change.",
        retries=2,
        pauses=(15.0, 60.0),
    ),
    Cause.BUSY: Rule("Rerun it when the other build is over, or let it wait (`when_busy: wait`)."),
    Cause.ERROR: Rule("Read the child run's log: its code raised an error, or returned a failed state."),
    Cause.OUT_OF_MEMORY: Rule(
        "Give the deployment more memory (`memory_limit`), or have it do less at once.",
        retries=2,
        change=AttemptChange.MEMORY,
    ),
    Cause.EVICTED: Rule(
        "See what fills the node (memory or disk); request what the child really uses.",
        retries=2,
        change=AttemptChange.NODES,
    ),
    Cause.PREEMPTED: Rule(
        "Give the pipeline's pods a priority class, or the cluster more room.", retries=3, change=AttemptChange.NODES
    ),
    Cause.NODE_LOST: Rule("See what happened to the node; rerun.", retries=3, change=AttemptChange.NODES),
    Cause.POD_DELETED: Rule("See who deleted the pod or its Job; rerun.", retries=2),
    Cause.CRASHED: Rule(
        "The process was killed, and nothing says by whom. Read the pod's last lines; rerun.", retries=1
    ),
    Cause.IMAGE: Rule("Correct the image's name or tag, or the node's access to its registry; then rerun."),
    Cause.UNSCHEDULABLE: Rule(
        "Make room: nodes that fit the pod's requests and selectors, or a larger quota; or ask for less. Then rerun."
    ),
    Cause.NEVER_STARTED: Rule(
        "See whether a worker polls the pool: `flows doctor` in the worker's pod, or with PREFECT_API_URL set. Rerun.",
        retries=1,
    ),
    Cause.TIMEOUT: Rule(
        "Find out what took so long, or raise the timeout: the step's, or the flow's own `timeout_seconds`."
    ),
    Cause.CANCELLED: Rule("Somebody or something cancelled the child. Rerun when it may run again."),
    Cause.UPSTREAM: Rule("Nothing: it runs once the step before it completes."),
}


def rule(cause: Cause) -> Rule:
    """Return the rule of a cause; a test shows that each cause has one."""
    return POLICY[cause]
