"""How a pipeline run stands, seen from outside: the API and a pipeline in, an answer out.

Called by the terminal's progress, `flows report` and `flows resume`; also for a run whose parent died without a word.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from uuid import UUID

from prefect.client.schemas.objects import FlowRun, StateType

from flows.dispatch.evidence import Pod
from flows.dispatch.launch import Api
from flows.dispatch.outcome import (
    ChildRun,
    Outcome,
    StepState,
    Verdict,
    evidence_of,
    lost,
    of_child,
    verdict,
    with_report,
)
from flows.dispatch.parameters import Parameters
from flows.dispatch.plan import Pipeline, Step
from flows.errors import Cause
from flows.report.answers import Answer


async def observe(api: Api, pipeline: Pipeline, run: FlowRun) -> Answer:
    """The answer of a run as it stands, with what its children handed back and what was told of their pods."""
    children: list[ChildRun] = []
    for earlier in await api.lineage(run):
        children = await api.children(earlier.id) + children
    children += await api.children(run.id)
    answer = outline(pipeline, run, children)
    silent = [o.child.id for o in answer.failed if o.child and o.child.has_job]
    pods = await api.pods(silent)
    reports = await api.reports(o.child.id for o in answer.outcomes if o.child and o.child.is_final)
    outcomes = (with_report(explained(o, pods), reports.get(o.child.id) if o.child else None) for o in answer.outcomes)
    return replace(answer, outcomes=tuple(outcomes))


def explained(outcome: Outcome, pods: Mapping[UUID, tuple[Pod, ...]]) -> Outcome:
    """A failed step with what was told of its child's pod. Pure."""
    if outcome.child is None or outcome.child.id not in pods:
        return outcome
    evidence = evidence_of(outcome.child, pods=pods[outcome.child.id])
    return lost(outcome.step, outcome.policy, outcome.child, evidence)


def outline(pipeline: Pipeline, run: FlowRun, children: Sequence[ChildRun]) -> Answer:
    """The answer of a run from its children alone. Pure.

    Args:
        pipeline: the plan.
        run: as the API tells it.
        children: of the run and of those it resumes, oldest first.
    """
    if run.state and (run.state.is_scheduled() or run.state.is_pending()):
        # About to start (again): what failed before is what it will take up.
        children = [child for child in children if child.is_completed or not child.is_final]
    outcomes = standing(pipeline, Parameters.model_validate(run.parameters), children, over=_is_over(run))
    return Answer(pipeline.name, run.id, run.name, _verdict(run, outcomes), outcomes)


def standing(
    pipeline: Pipeline, parameters: Parameters, children: Sequence[ChildRun], *, over: bool
) -> tuple[Outcome, ...]:
    """One outcome per step from the newest child of each. Pure.

    Args:
        pipeline: the plan.
        parameters: those of the run.
        children: of the run and of those it resumes, oldest first.
        over: whether the pipeline run has ended, so that what waits will not run.
    """
    latest = {child.step: child for child in children}
    left_out = pipeline.left_out(parameters.only, parameters.skip)
    known: dict[str, Outcome] = {}
    for name in pipeline.order:
        step, child = pipeline.step(name), latest.get(name)
        # What these settings leave out may have been run with others: on the cluster, or before they changed.
        if name in left_out and not (step.absent and child):
            known[name] = Outcome(name, StepState.LEFT_OUT, message=step.absent)
        elif child is None:
            known[name] = _without_child(step, known, over=over)
        elif child.is_final:
            known[name] = of_child(name, step.policy, child)
        else:
            known[name] = Outcome(name, StepState.RUNNING, child=child, policy=step.policy, message=child.state_name)
    return tuple(known[step.name] for step in pipeline.steps)


def _without_child(step: Step, known: dict[str, Outcome], *, over: bool) -> Outcome:
    held_up_by = tuple(name for name in step.after if known[name].holds_up)
    if held_up_by:
        roots = dict.fromkeys(root for name in held_up_by for root in known[name].held_up_by or (name,))
        return Outcome(step.name, StepState.NOT_RUN, Cause.UPSTREAM, policy=step.policy, held_up_by=tuple(roots))
    waiting = Outcome(step.name, StepState.WAITING, policy=step.policy)
    return replace(waiting, state=StepState.NOT_RUN) if over else waiting


def _is_over(run: FlowRun) -> bool:
    return run.state is not None and run.state.is_final()


def _verdict(run: FlowRun, outcomes: Sequence[Outcome]) -> Verdict:
    kind = run.state.type if run.state else StateType.PENDING
    match kind:
        case StateType.COMPLETED:
            return verdict(outcomes)
        case StateType.FAILED | StateType.CRASHED:
            return Verdict.FAILED
        case StateType.CANCELLED:
            return Verdict.CANCELLED
        case _:
            return Verdict.RUNNING
