"""Facts in, findings out: what is wrong with runs, Jobs and slots, and what is to be done about each. Pure.

Called by `flow_of_flows.sweeper.flow`; a run is found at most once.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from uuid import UUID

from prefect.client.schemas.objects import TERMINAL_STATES, StateType

from flow_of_flows.errors import Cause
from flow_of_flows.limits import (
    EARLY_CRASH_SECONDS,
    MAX_EARLY_CRASHES,
    MAX_SUBMISSIONS,
    MAX_SWEEP_STARTS,
    PARENT_MARGIN_SECONDS,
)
from flow_of_flows.runs.causes import NOT_SUBMITTED, of_message, of_reason, rule
from flow_of_flows.settings import Settings
from flow_of_flows.sweeper.snapshot import (
    Facts,
    FindingKind,
    KubernetesJob,
    KubernetesPod,
    RunHistory,
    SweepAction,
    SweepFinding,
    SweptRun,
    minutes,
)

Judge = Callable[[Facts, SweptRun, Settings], SweepFinding | None]


def findings(facts: Facts, settings: Settings) -> tuple[SweepFinding, ...]:
    """Return everything that is wrong: runs first, then Jobs, slots and what is only reported.

    Args:
        facts: the snapshot.
        settings: time limits.
    """
    runs = [run for run in facts.runs.values() if run.id != facts.own]
    found = [finding for run in runs if (finding := _of_run(facts, run, settings))]
    return (*found, *strange_jobs(facts, settings), *slots(facts), *reported_only(facts, settings))


def suspects(facts: Facts, settings: Settings) -> frozenset[UUID]:
    """Return the runs whose history has to be read before they are judged.

    Args:
        facts: the snapshot, without histories.
        settings: time limits.
    """
    found = findings(facts, settings)
    return frozenset(finding.run for finding in found if finding.run and finding.action is not SweepAction.DELETE)


def _of_run(facts: Facts, run: SweptRun, settings: Settings) -> SweepFinding | None:
    judges = OF_OTHER_POOLS if run.is_foreign else JUDGES
    return next((finding for judge in judges if (finding := judge(facts, run, settings))), None)


def _orphan(facts: Facts, run: SweptRun, settings: Settings) -> SweepFinding | None:
    parent = facts.runs.get(run.parent) if run.parent else None
    if run.is_over or run.type is StateType.CANCELLING or parent is None or not parent.is_over:
        return None
    grace = settings.sweep.crashed_parent_seconds if parent.type is StateType.CRASHED else 0.0
    restarted = _restarted(facts.histories.get(run.id, ()))
    if facts.age(parent.since) < grace or (restarted and restarted.at > parent.since):
        return None
    why = f"its pipeline run {parent.name} is over ({parent.state_name})"
    return _about(FindingKind.ORPHAN, SweepAction.CANCEL, run, why)


def _stuck_cancelling(facts: Facts, run: SweptRun, settings: Settings) -> SweepFinding | None:
    if run.type is not StateType.CANCELLING or facts.age(run.since) < settings.sweep.cancelling_seconds:
        return None
    jobs = tuple(job for job in facts.jobs(run.id) if job.is_active)
    return _about(
        FindingKind.STUCK_CANCELLING, SweepAction.END, run, f"Cancelling for {minutes(facts.age(run.since))}", jobs=jobs
    )


def _never_started(facts: Facts, run: SweptRun, settings: Settings) -> SweepFinding | None:
    patient = settings.sweep.never_started_seconds
    if not facts.covers(run) or run.type is not StateType.PENDING or facts.age(run.since) < patient:
        return None
    if any(job.is_active for job in facts.jobs(run.id)) or any(pod.is_live for pod in facts.pods(run.id)):
        return None
    why = f"Pending for {minutes(facts.age(run.since))} and there is no Job for it"
    if submissions(facts.histories.get(run.id, ())) < MAX_SUBMISSIONS:
        return _about(FindingKind.NEVER_STARTED, SweepAction.RETRY, run, why)
    why = f"submitted {MAX_SUBMISSIONS} times, and no Job came to be"
    return _about(FindingKind.NEVER_STARTED, SweepAction.CRASH, run, why, cause=Cause.NEVER_STARTED)


def _cannot_start(facts: Facts, run: SweptRun, settings: Settings) -> SweepFinding | None:
    jobs = tuple(job for job in facts.jobs(run.id) if job.is_active)
    if run.type is not StateType.PENDING or not jobs or any(pod.is_started for pod in facts.pods(run.id)):
        return None
    parent = facts.runs.get(run.parent) if run.parent else None
    margin = PARENT_MARGIN_SECONDS if parent and not parent.is_over else 0.0
    if facts.age(run.since) < settings.deadlines.pending + margin:
        return None
    cause, trouble = not_starting(facts.pods(run.id))
    why = f"Pending for {minutes(facts.age(run.since))}: {trouble}"
    return _about(FindingKind.CANNOT_START, SweepAction.CRASH, run, why, cause=cause, jobs=jobs)


def _gone(facts: Facts, run: SweptRun, settings: Settings) -> SweepFinding | None:
    patient = settings.sweep.gone_seconds
    if not facts.covers(run) or not run.is_at_work or facts.age(run.since) < patient:
        return None
    jobs, of_run = facts.jobs(run.id), facts.pods(run.id)
    active = tuple(job for job in jobs if job.is_active)
    # A Job that has no pod yet is about to make one, unless its pod is one that will not come back.
    if any(pod.is_live for pod in of_run) or (active and not of_run):
        return None
    cause, trouble = gone(jobs, of_run)
    why = f"{run.state_name}, but {trouble}"
    if run.is_pipeline and run.run_count < MAX_SWEEP_STARTS:
        return _about(FindingKind.GONE, SweepAction.RETRY, run, why, jobs=active)
    return _about(FindingKind.GONE, SweepAction.CRASH, run, why, cause=cause, jobs=active)


def _leftover(facts: Facts, run: SweptRun, settings: Settings) -> SweepFinding | None:
    jobs = tuple(job for job in facts.jobs(run.id) if job.is_active and (not run.is_foreign or facts.is_own(job)))
    if not run.is_over or not jobs or facts.age(run.since) < settings.sweep.leftover_seconds:
        return None
    why = f"its Job {', '.join(job.name for job in jobs)} goes on, {minutes(facts.age(run.since))} after it ended"
    return _about(FindingKind.LEFTOVER, SweepAction.DELETE, run, f"{run.state_name}, but {why}", jobs=jobs)


def _crashed_early(facts: Facts, run: SweptRun, settings: Settings) -> SweepFinding | None:  # noqa: ARG001 - one form for all
    if run.type is not StateType.CRASHED or run.run_count or run.parent or not run.is_pipeline:
        return None
    said = Cause.from_message(run.message)
    # What the worker could not submit it cannot submit the next time, unless it was the API that failed.
    refused = run.message.startswith(NOT_SUBMITTED) and of_message(run.message) is not Cause.PLATFORM
    if refused or said is Cause.NEVER_STARTED or (said and not rule(said).retries):
        return None
    crashes = sum(past.type is StateType.CRASHED for past in facts.histories.get(run.id, ()))
    if crashes >= MAX_EARLY_CRASHES or facts.age(run.since) > EARLY_CRASH_SECONDS:
        return None
    return _about(FindingKind.CRASHED_EARLY, SweepAction.RETRY, run, "Crashed before it began")


# The first that fits counts: an orphan is not started again.
JUDGES: tuple[Judge, ...] = (
    _stuck_cancelling,
    _orphan,
    _never_started,
    _cannot_start,
    _gone,
    _leftover,
    _crashed_early,
)
# The owner of another pool looks after its runs. Known here: the pipeline that started one, and a Job of this release.
OF_OTHER_POOLS: tuple[Judge, ...] = (_orphan, _leftover)


def submissions(history: tuple[RunHistory, ...]) -> int:
    """Return how often a run was submitted: Pending after another state."""
    before = [None, *(past.type for past in history)]
    return sum(
        past.type is StateType.PENDING and earlier is not StateType.PENDING
        for earlier, past in zip(before, history, strict=False)
    )


def _restarted(history: tuple[RunHistory, ...]) -> RunHistory | None:
    """Return the last state that restarted the run after its end."""
    pairs = itertools.pairwise(history)
    return next((after for before, after in reversed(list(pairs)) if before.type in TERMINAL_STATES), None)


def _about(
    kind: FindingKind,
    action: SweepAction,
    run: SweptRun,
    why: str,
    *,
    cause: Cause | None = None,
    jobs: tuple[KubernetesJob, ...] = (),
) -> SweepFinding:
    return SweepFinding(kind, action, f"run {run.name}", why, run=run.id, state=run.state, cause=cause, jobs=jobs)


def strange_jobs(facts: Facts, settings: Settings) -> Iterator[SweepFinding]:
    """Yield the Jobs of runs that the API does not know: deleted where they have this release's label, else reported.

    Args:
        facts: the snapshot.
        settings: time limits.
    """
    for job in facts.cluster.jobs if facts.cluster else ():
        if job.run not in facts.unknown or not job.is_active:
            continue
        if facts.age(job.created) < settings.sweep.leftover_seconds:
            continue
        why = f"the Prefect API does not know its run {job.run}"
        if facts.is_own(job):
            yield SweepFinding(
                FindingKind.LEFTOVER, SweepAction.DELETE, f"Job {job.name}", why, run=job.run, jobs=(job,)
            )
        else:
            yield SweepFinding(FindingKind.STRANGE_JOB, SweepAction.REPORT, f"Job {job.name}", why)


def slots(facts: Facts) -> Iterator[SweepFinding]:
    """Yield the concurrency limits with slots of runs that are over."""
    for limit in facts.limits:
        if limit.taken > limit.holders and (limit.deployment or not limit.holders):
            why = f"{limit.taken} slots are taken, and {limit.holders} runs can hold one"
            remain = limit.holders
            yield SweepFinding(
                FindingKind.DEAD_SLOTS, SweepAction.FREE, f"limit {limit.name}", why, limit=limit.id, remain=remain
            )


def reported_only(facts: Facts, settings: Settings) -> Iterator[SweepFinding]:
    """Yield what only a person can mend, or what cannot be judged.

    Args:
        facts: the snapshot.
        settings: time limits.
    """
    yield from _late(facts, settings)
    yield from _elsewhere(facts)
    for name in facts.paused:
        yield SweepFinding(FindingKind.PAUSED, SweepAction.REPORT, name, "it is paused, so nothing of it runs")


def _late(facts: Facts, settings: Settings) -> Iterator[SweepFinding]:
    late = [
        facts.age(run.due)
        for run in facts.runs.values()
        if run.type is StateType.SCHEDULED and run.due and run.id != facts.own and not run.is_foreign
    ]
    late = [age for age in late if age > settings.sweep.late_seconds]
    if late:
        wait = f"{len(late)} wait for worker or slot, the first for {minutes(max(late))}"
        why = f"{wait}: `flows doctor` in the worker's pod says why"
        yield SweepFinding(FindingKind.LATE, SweepAction.REPORT, "late runs", why)


def _elsewhere(facts: Facts) -> Iterator[SweepFinding]:
    """Yield the places of runs whose Jobs this sweep does not see: it would take them for lost."""
    if facts.cluster is None:
        return
    away = Counter(
        place
        for run in facts.runs.values()
        if not (run.is_over or run.is_foreign or run.id == facts.own)
        and (place := run.place.elsewhere(facts.cluster.namespace))
    )
    for place, count in sorted(away.items()):
        why = f"{count} active runs have their Jobs there; whether they are lost is not looked for"
        yield SweepFinding(FindingKind.ELSEWHERE, SweepAction.REPORT, place, why)


def not_starting(pods: Sequence[KubernetesPod]) -> tuple[Cause, str]:
    """Return why the pods of a Pending run do not start."""
    if not pods:
        return Cause.UNSCHEDULABLE, "its Job has no pod; see `kubectl describe job` (a quota, a policy)"
    causes = [(pod, of_reason(pod.reason, started=False)) for pod in pods]
    pod, cause = next((known for known in causes if known[1]), causes[0])
    return cause or Cause.NEVER_STARTED, _said(pod.reason, pod.trouble, pod.name)


def gone(jobs: Iterable[KubernetesJob], pods: Sequence[KubernetesPod]) -> tuple[Cause, str]:
    """Return why there is no pod of a Running run any more.

    Args:
        jobs: those of the run.
        pods: those of the run.
    """
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
