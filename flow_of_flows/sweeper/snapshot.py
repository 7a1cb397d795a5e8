"""What a sweep sees, as frozen values: runs, Jobs, pods and limits; and what it can find and do about it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from prefect.client.schemas.objects import TERMINAL_STATES, StateType

from flow_of_flows.errors import Cause
from flow_of_flows.runs.causes import FOUND_BY_SWEEPER
from flow_of_flows.runs.resume import WAITING


class FindingKind(StrEnum):
    """What is wrong. `ACTIONS` has what may be done about each."""

    NEVER_STARTED = "never-started"
    CANNOT_START = "cannot-start"
    GONE = "gone"
    ORPHAN = "orphan"
    LEFTOVER = "leftover"
    STUCK_CANCELLING = "stuck-cancelling"
    DEAD_SLOTS = "dead-slots"
    CRASHED_EARLY = "crashed-early"
    STRANGE_JOB = "strange-job"
    LATE = "late"
    PAUSED = "paused"
    ELSEWHERE = "elsewhere"


class SweepAction(StrEnum):
    """What is done."""

    RETRY = "starts again"
    CRASH = "ends as Crashed"
    CANCEL = "is asked to stop"
    END = "ends as Cancelled"
    DELETE = "Job is deleted"
    FREE = "slots are freed"
    REPORT = "a person decides"


ACTIONS: dict[FindingKind, frozenset[SweepAction]] = {
    FindingKind.NEVER_STARTED: frozenset({SweepAction.RETRY, SweepAction.CRASH}),
    FindingKind.CANNOT_START: frozenset({SweepAction.CRASH}),
    FindingKind.GONE: frozenset({SweepAction.RETRY, SweepAction.CRASH}),
    FindingKind.ORPHAN: frozenset({SweepAction.CANCEL}),
    FindingKind.LEFTOVER: frozenset({SweepAction.DELETE}),
    FindingKind.STUCK_CANCELLING: frozenset({SweepAction.END}),
    FindingKind.DEAD_SLOTS: frozenset({SweepAction.FREE}),
    FindingKind.CRASHED_EARLY: frozenset({SweepAction.RETRY}),
    FindingKind.STRANGE_JOB: frozenset({SweepAction.REPORT}),
    FindingKind.LATE: frozenset({SweepAction.REPORT}),
    FindingKind.PAUSED: frozenset({SweepAction.REPORT}),
    FindingKind.ELSEWHERE: frozenset({SweepAction.REPORT}),
}


@dataclass(frozen=True)
class SweepFinding:
    """One thing that is wrong.

    Attributes:
        subject: the run, Job or limit, by its name.
        why: a sentence without its full stop.
        run: the run that it is about, and the id of the state that was judged.
        cause: what the run's state message begins with, where it ends.
        jobs: the Jobs that go with it.
        limit: the limit whose slots are freed, and how many remain taken.
    """

    kind: FindingKind
    action: SweepAction
    subject: str
    why: str
    run: UUID | None = None
    state: UUID | None = None
    cause: Cause | None = None
    jobs: tuple[KubernetesJob, ...] = field(default=())
    limit: UUID | None = None
    remain: int = 0

    @property
    def message(self) -> str:
        """Return the state message that the run gets."""
        text = f"{self.why} {FOUND_BY_SWEEPER}"
        return self.cause.prefix(text) if self.cause else text

    def __str__(self) -> str:
        return f"{self.kind}: {self.subject}: {self.why}; {self.action}"


def minutes(seconds: float) -> str:
    """Return an age as people say it."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"  # noqa: PLR2004 - two minutes


@dataclass(frozen=True)
class Place:
    """Where a Job is made.

    Attributes:
        namespace: None where the job variables do not say.
        is_other_cluster: the worker makes it in another cluster than its own.
    """

    namespace: str | None = None
    is_other_cluster: bool = False

    def elsewhere(self, namespace: str) -> str | None:
        """Return a name for the place if it is outside a namespace of the worker's own cluster; else None."""
        if self.is_other_cluster:
            return "another cluster (`cluster_config`)"
        return f"namespace {self.namespace}" if self.namespace not in (None, namespace) else None


UNSAID = Place()


def place(*layers: Mapping[str, Any] | None) -> Place:
    """Return the place that job variables name; later layers take precedence."""
    merged = {name: value for layer in layers for name, value in (layer or {}).items()}
    namespace = merged.get("namespace")
    return Place(str(namespace) if namespace else None, is_other_cluster=bool(merged.get("cluster_config")))


@dataclass(frozen=True)
class RunHistory:
    """One state that a run was in."""

    type: StateType
    name: str
    at: datetime


@dataclass(frozen=True)
class SweptRun:
    """A flow run as the API returns it.

    Attributes:
        state: id of its state; while it is the same, the run has not moved.
        since: when it came into that state.
        due: when it should begin: the first time, or again after a retry of its flow's own.
        parent: the pipeline run that started it.
        place: where its Jobs are made.
        is_foreign: its work pool is another than the sweeper's, so that its Jobs and pods, if any, are not looked for.
    """

    id: UUID
    name: str
    deployment: UUID | None
    state: UUID
    type: StateType
    state_name: str
    since: datetime
    message: str = ""
    run_count: int = 0
    is_pipeline: bool = False
    parent: UUID | None = None
    due: datetime | None = None
    place: Place = UNSAID
    is_foreign: bool = False

    @property
    def is_at_work(self) -> bool:
        """Return whether it has a pod: it runs, or waits for an earlier run of its pipeline."""
        is_waiting = self.type is StateType.PAUSED and self.state_name == WAITING
        return self.type is StateType.RUNNING or is_waiting

    @property
    def is_over(self) -> bool:
        """Return whether its state is final."""
        return self.type in TERMINAL_STATES


@dataclass(frozen=True)
class KubernetesJob:
    """A Kubernetes Job of a flow run.

    Attributes:
        release: the Helm release that it carries as a label.
        reason: why it failed, in Kubernetes' word.
    """

    name: str
    uid: str
    run: UUID
    created: datetime
    is_active: bool
    release: str | None = None
    reason: str = ""


@dataclass(frozen=True)
class KubernetesPod:
    """A pod of a flow run.

    Attributes:
        job: name of the Job that it belongs to.
        is_live: neither ended nor past the end of its deletion's grace.
        is_started: a container of it runs.
        trouble: why it does not start, or why it ended; Kubernetes' words.
    """

    name: str
    run: UUID
    job: str
    is_live: bool
    is_started: bool = False
    reason: str = ""
    trouble: str = ""
    deleted: datetime | None = None


@dataclass(frozen=True)
class Limit:
    """A concurrency limit with slots that are taken.

    Attributes:
        deployment: whose it is; None for one that tasks and code take by name.
        holders: runs that can hold a slot of it.
    """

    id: UUID
    name: str
    taken: int
    holders: int
    deployment: UUID | None = None


@dataclass(frozen=True)
class Cluster:
    """Everything of flow runs in one namespace."""

    namespace: str
    jobs: tuple[KubernetesJob, ...] = ()
    pods: tuple[KubernetesPod, ...] = ()


@dataclass(frozen=True)
class Facts:
    """All that one sweep looks at.

    Attributes:
        runs: active runs of the pool and children of its pipelines elsewhere, runs that crashed lately before they
            began, runs that have Jobs, and parents.
        unknown: runs of Jobs that the API does not know.
        histories: states of the runs that are suspect, oldest first.
        cluster: None where there is none to ask, or the pool's runs are not Jobs.
        own: the run that sweeps; it is left alone.
        paused: names of deployments, queues, or the pool, that somebody has paused.
        has_jobs: whether the pool's runs are Jobs.
    """

    now: datetime
    runs: Mapping[UUID, SweptRun]
    unknown: frozenset[UUID] = frozenset()
    histories: Mapping[UUID, tuple[RunHistory, ...]] = field(default_factory=dict)
    cluster: Cluster | None = None
    limits: tuple[Limit, ...] = ()
    paused: tuple[str, ...] = ()
    own: UUID | None = None
    release: str | None = None
    has_jobs: bool = True

    def covers(self, run: SweptRun) -> bool:
        """Return whether the snapshot covers the place of this run's Jobs and pods."""
        return self.cluster is not None and not run.is_foreign and run.place.elsewhere(self.cluster.namespace) is None

    def jobs(self, run: UUID) -> tuple[KubernetesJob, ...]:
        """Return the Jobs of a run."""
        return tuple(job for job in self.cluster.jobs if job.run == run) if self.cluster else ()

    def pods(self, run: UUID) -> tuple[KubernetesPod, ...]:
        """Return the pods of a run."""
        return tuple(pod for pod in self.cluster.pods if pod.run == run) if self.cluster else ()

    def is_own(self, job: KubernetesJob) -> bool:
        """Return whether a Job has the label of this release."""
        return self.release is not None and job.release == self.release

    def age(self, moment: datetime) -> float:
        """Return the seconds since a moment."""
        return (self.now - moment).total_seconds()
