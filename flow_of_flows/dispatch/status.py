"""The summary of a pipeline run as it stands, read from the API.

It also works for a run whose parent died. Failed attempts are judged by the same code as in the parent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from prefect.client.schemas.objects import FlowRun, StateType

from flow_of_flows.child_report import ChildReport
from flow_of_flows.dispatch.parameters import Parameters
from flow_of_flows.dispatch.pipeline import Pipeline, Step
from flow_of_flows.dispatch.recovery import FailedAttempts
from flow_of_flows.dispatch.retries import RetryLimits, is_expected
from flow_of_flows.errors import Cause, ConfigurationError
from flow_of_flows.messages import one_line, shortened
from flow_of_flows.prefect_api.runs import RunsReader, child_run
from flow_of_flows.runs.outcome import (
    SKIPPED,
    ChildRun,
    Outcome,
    StepState,
    Verdict,
    blockers,
    of_child,
    outcomes_of,
    verdict,
    with_report,
)
from flow_of_flows.runs.resume import is_waiting
from flow_of_flows.settings import Settings
from flow_of_flows.summary.run_summary import RunSummary

Known = Mapping[str, Outcome]


async def observe(api: RunsReader, pipeline: Pipeline, run: FlowRun, limits: RetryLimits | None = None) -> RunSummary:
    """Return the summary of a run as it stands, with the reports of its children and the events of their pods.

    Args:
        api: where the run is.
        pipeline: the plan.
        run: as the API returned it.
        limits: of this installation; the defaults without them.
    """
    inherited = await api.inherited(await api.resume_chain(run))
    # What these settings, or this version, do not know any more is not a step.
    own = [child for child in await api.children(run.id) if child.step in pipeline.order]
    failed = FailedAttempts(pipeline, api, limits or RetryLimits())
    await failed.load(run.id, own)
    children = [*inherited, *own]
    for outcome in outline(pipeline, run, children).failed:
        if outcome.child:
            failed.add_earlier(outcome.child)
    explained = await failed.explain()
    known = {name: _retrying(one) if again and not _is_over(run) else one for name, (one, again) in explained.items()}
    refused = outcomes_of(await api.refusals(run.id), pipeline, own)
    answer = outline(pipeline, run, children, known | refused)
    reports = await api.reports(o.child.id for o in answer.outcomes if o.child and o.child.is_final)
    outcomes = (with_report(o, reports.get(o.child.id) if o.child else None) for o in answer.outcomes)
    return replace(answer, outcomes=tuple(_with_earlier(o, failed) for o in outcomes), restarts=failed.restarts)


async def answer_of(api: RunsReader, plan: Pipeline | None, flow: str, run: UUID, settings: Settings) -> RunSummary:
    """Return the answer of a run as it stands, of a pipeline or of any other flow.

    Args:
        api: where it is.
        plan: its steps, if it is a pipeline.
        flow: name of its flow.
        run: its id.
        settings: limits of a pipeline.
    """
    read = await api.read(run)
    if plan is not None:
        return await observe(api, plan, read, RetryLimits.of(settings))
    summary = alone(flow, read, (await api.reports([run])).get(run))
    return replace(summary, result=await api.result(run))


def displayed(plan: Pipeline | None, settings: Settings, run: FlowRun) -> Pipeline | None:
    """Return the steps as these settings make them, unless the run has steps that these settings leave out. Pure.

    Args:
        plan: the steps, if it is a pipeline.
        settings: of this installation.
        run: as the API returned it.
    """
    if plan is None:
        return None
    chosen, configured_plan = parameters_of(run), plan.configured(settings)
    try:
        configured_plan.left_out(chosen.only, chosen.skip)
    except ConfigurationError:
        return plan
    return configured_plan


def _with_earlier(outcome: Outcome, failed: FailedAttempts) -> Outcome:
    earlier = failed.attempts.get(outcome.step, ())
    return replace(outcome, earlier=earlier) if earlier and not outcome.reused else outcome


def _retrying(outcome: Outcome) -> Outcome:
    return replace(outcome, state=StepState.RETRYING)


def expected(
    pipeline: Pipeline,
    children: Sequence[ChildRun],
    reports: Mapping[UUID, ChildReport | None],
    now: datetime,
    *,
    pause_factor: float = 1.0,
) -> Known:
    """Return the steps whose child failed and that are about to get another attempt, from what is known already. Pure.

    Args:
        pipeline: the plan.
        children: of this generation of the run, oldest attempt first.
        reports: of children that failed.
        now: the time.
        pause_factor: factor of the pauses before further attempts.
    """
    known: dict[str, Outcome] = {}
    for step in pipeline.steps:
        attempts = [child for child in children if child.step == step.name]
        lost = [with_report(of_child(step.name, step.policy, child), reports.get(child.id)) for child in attempts]
        causes = [one.cause for one in lost if one.cause]
        if len(causes) == len(attempts) > 0 and is_expected(
            causes, attempts[-1].ended or now, now, pause_factor=pause_factor
        ):
            known[step.name] = _retrying(lost[-1])
    return known


def outline(pipeline: Pipeline, run: FlowRun, children: Sequence[ChildRun], known: Known | None = None) -> RunSummary:
    """Return the summary of a run from its children alone. Pure.

    Args:
        pipeline: the plan.
        run: as the API returned it.
        children: of the run and of those it resumes, oldest first.
        known: outcomes of failed steps, where more is known than their children say.
    """
    if run.state and (run.state.is_scheduled() or run.state.is_pending()):
        # About to start (again): what failed before is what it will take up.
        children, known = [child for child in children if child.is_completed or not child.is_final], None
    if is_skipped(run):
        skipped = tuple(Outcome(name, StepState.LEFT_OUT, message="the run was skipped") for name in pipeline.edges)
        return RunSummary(
            pipeline.name, run.id, run.name, Verdict.SKIPPED, skipped, state=_state_name(run), note=note(run)
        )
    outcomes = standing(pipeline, parameters_of(run), children, over=_is_over(run), known=known)
    return RunSummary(
        pipeline.name,
        run.id,
        run.name,
        _verdict(run, outcomes),
        outcomes,
        state=_state_name(run),
        note=note(run) or _own_cause(run, outcomes),
    )


def _own_cause(run: FlowRun, outcomes: Sequence[Outcome]) -> str:
    """Return why the run itself failed or crashed, where its steps do not tell; else an empty text."""
    state = run.state
    if state is None or not state.message or not (state.is_failed() or state.is_crashed()):
        return ""
    if state.name == "Failed" and any(outcome.state is StepState.FAILED for outcome in outcomes):
        return ""
    return f"{state.name}: {shortened(one_line(state.message))}"


def is_skipped(run: FlowRun) -> bool:
    """Return whether a run ended at once because an earlier one was not over."""
    return run.state is not None and run.state.is_completed() and run.state.name == SKIPPED


def note(run: FlowRun) -> str:
    """Return why a run does not go on, and what makes it go on; empty for one that does, or is over."""
    if run.state is None:
        return ""
    if is_waiting(run.state) or is_skipped(run):
        return f"{run.state.message}."
    if not run.state.is_paused():
        return ""
    said = f" ({run.state.message.rstrip('.')})" if run.state.message else ""
    return (
        f"{run.state.name}{said}: no step starts until the run is resumed; the children that run finish. "
        "Press Resume on the run's page."
    )


def parameters_of(run: FlowRun) -> Parameters:
    """Return the parameters of a pipeline run, as far as this version knows them. Pure."""
    return Parameters.model_validate(
        {name: run.parameters[name] for name in Parameters.model_fields if name in run.parameters}
    )


def alone(flow: str, run: FlowRun, report: ChildReport | None = None) -> RunSummary:
    """Return the answer of a run that is not of a pipeline: the run itself is its only outcome. Pure.

    Args:
        flow: name of its flow.
        run: as the API returned it.
        report: its child report.
    """
    child = child_run(run, step=flow, attempt=max(run.run_count, 1))
    outcome = with_report(_of(Step(name=flow), child, {}), report)
    verdict = _verdict(run, [outcome])
    return RunSummary(flow, run.id, run.name, verdict, (outcome,), state=_state_name(run), is_pipeline=False)


def standing(
    pipeline: Pipeline,
    parameters: Parameters,
    children: Sequence[ChildRun],
    *,
    over: bool,
    known: Known | None = None,
) -> tuple[Outcome, ...]:
    """Return one outcome per step from the newest child of each. Pure.

    Args:
        pipeline: the plan.
        parameters: those of the run.
        children: of the run and of those it resumes, oldest first.
        over: whether the pipeline run has ended, so that what waits will not run.
        known: outcomes of failed steps, where more is known than their children say.
    """
    latest = {child.step: child for child in children}
    left_out = pipeline.left_out(parameters.only, parameters.skip)
    found: dict[str, Outcome] = {}
    for name in pipeline.order:
        step, child = pipeline.step(name), latest.get(name)
        # What these settings leave out may have been run with others: on the cluster, or before they changed.
        if name in left_out and not (step.absent and child):
            found[name] = Outcome(name, StepState.LEFT_OUT, message=step.absent)
        elif child is None:
            found[name] = (known or {}).get(name) or _without_child(step, found, over=over)
        else:
            found[name] = _of(step, child, known or {})
    return tuple(found[step.name] for step in pipeline.steps)


def _of(step: Step, child: ChildRun, known: Known) -> Outcome:
    if not child.is_final:
        return Outcome(step.name, StepState.RUNNING, child=child, policy=step.policy, message=child.state_name)
    better = known.get(step.name)
    # Without a child: the newest attempt was refused, and this child is one before it.
    return better if better and better.child in (child, None) else of_child(step.name, step.policy, child)


def _without_child(step: Step, known: dict[str, Outcome], *, over: bool) -> Outcome:
    if held_up_by := blockers(known[name] for name in step.upstream):
        return Outcome(step.name, StepState.NOT_RUN, Cause.UPSTREAM, policy=step.policy, held_up_by=held_up_by)
    waiting = Outcome(step.name, StepState.WAITING, policy=step.policy)
    return replace(waiting, state=StepState.NOT_RUN) if over else waiting


def _state_name(run: FlowRun) -> str:
    return (run.state.name or "") if run.state else ""


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
        case StateType.PAUSED:
            return Verdict.RUNNING if is_waiting(run.state) else Verdict.SUSPENDED
        case _:
            return Verdict.RUNNING
