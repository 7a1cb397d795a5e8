"""What is wrong beside the runs: Jobs without a run, slots of the dead, and what is only told. Pure, for `findings`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prefect.client.schemas.objects import StateType

from flow_of_flows.settings import Settings
from flow_of_flows.sweeper.actions import FindingKind, SweepAction, SweepFinding, minutes
from flow_of_flows.sweeper.snapshot import Facts


def strange_jobs(facts: Facts, settings: Settings) -> Iterator[SweepFinding]:
    """Jobs of runs that the API does not know: deleted where they carry this release's label, else told."""
    for job in facts.cluster.jobs if facts.cluster else ():
        if job.run not in facts.unknown or not job.is_active:
            continue
        if facts.age(job.created) < settings.sweep.leftover_seconds:
            continue
        why = f"the Prefect API does not know its run {job.run}"
        if facts.release and job.release == facts.release:
            yield SweepFinding(
                FindingKind.LEFTOVER, SweepAction.DELETE, f"Job {job.name}", why, run=job.run, jobs=(job,)
            )
        else:
            yield SweepFinding(FindingKind.STRANGE_JOB, SweepAction.TELL, f"Job {job.name}", why)


def slots(facts: Facts) -> Iterator[SweepFinding]:
    """Slots of concurrency limits that are held by the dead."""
    for limit in facts.limits:
        if limit.taken > limit.holders and (limit.deployment or not limit.holders):
            why = f"{limit.taken} slots are taken, and {limit.holders} runs can hold one"
            remain = limit.holders
            yield SweepFinding(
                FindingKind.DEAD_SLOTS, SweepAction.FREE, f"limit {limit.name}", why, limit=limit.id, remain=remain
            )


def told(facts: Facts, settings: Settings) -> Iterator[SweepFinding]:
    """What only a person can mend, or cannot be judged."""
    yield from _late(facts, settings)
    yield from _elsewhere(facts)
    for name in facts.paused:
        yield SweepFinding(FindingKind.PAUSED, SweepAction.TELL, name, "it is paused, so nothing of it runs")


def _late(facts: Facts, settings: Settings) -> Iterator[SweepFinding]:
    late = [
        facts.age(run.due)
        for run in facts.runs.values()
        if run.type is StateType.SCHEDULED and run.due and run.id != facts.own
    ]
    late = [age for age in late if age > settings.sweep.late_seconds]
    if late:
        wait = f"{len(late)} wait for worker or slot, the first for {minutes(max(late))}"
        why = f"{wait}: `flows doctor` in the worker's pod says why"
        yield SweepFinding(FindingKind.LATE, SweepAction.TELL, "late runs", why)


def _elsewhere(facts: Facts) -> Iterator[SweepFinding]:
    """Runs whose Jobs this sweep does not see: it would take them for lost."""
    if facts.cluster is None:
        return
    away = Counter(
        place
        for run in facts.runs.values()
        if not run.is_over and run.id != facts.own and (place := run.place.elsewhere(facts.cluster.namespace))
    )
    for place, count in sorted(away.items()):
        why = f"{count} active runs have their Jobs there; whether they are lost is not looked for"
        yield SweepFinding(FindingKind.ELSEWHERE, SweepAction.TELL, place, why)
