"""Makes a Prefect flow of a pipeline: the parent that orders children."""

from __future__ import annotations

import inspect
import logging
from typing import Any, Literal
from uuid import UUID

from prefect import Flow, flow, runtime
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.flows import FlowStateHook
from prefect.states import Completed, Failed

from flow_of_flows.alerts.notify import notify, should_notify
from flow_of_flows.dispatch.dispatcher import Dispatcher, PipelineRun
from flow_of_flows.dispatch.overlap import OverlapGuard
from flow_of_flows.dispatch.parameters import Parameters, docstring, form
from flow_of_flows.dispatch.pipeline import ATTRIBUTE, Overlap, Pipeline, Step
from flow_of_flows.dispatch.retries import RetryLimits
from flow_of_flows.errors import FlowsError
from flow_of_flows.output import into_run_log, reraise
from flow_of_flows.prefect_api import artifacts
from flow_of_flows.prefect_api.launch import RunsClient
from flow_of_flows.runs.outcome import (
    DEGRADED,
    SKIPPED,
    ChildRun,
    Outcome,
    StepState,
    Verdict,
    of_child,
    outcomes_of,
    sentence,
    verdict,
)
from flow_of_flows.settings import Settings
from flow_of_flows.summary.run_summary import RunSummary
from flow_of_flows.summary.terminal import of_readers

logger = logging.getLogger(__name__)


def pipeline(
    name: str,
    *steps: Step,
    description: str = "",
    overlap: Overlap | Literal["allow", "wait", "skip"] = Overlap.ALLOW,
) -> Flow[..., Any]:
    """Declare a pipeline: a parent flow that runs its steps as child runs.

    Args:
        name: name of the flow and of its deployment, lower case with dashes.
        steps: what it runs; a step starts when the steps it comes `after` have completed.
        description: one sentence for the Prefect UI.
        overlap: what a run does while an earlier run of the same deployment is not over: run beside it (`allow`), start
            when that one is over (`wait`), or end at once without a step (`skip`).

    Returns:
        The Prefect flow, for an entry of prefect.yaml.

    Raises:
        ConfigurationError: no step, two steps with one name, an unknown step in `after`, or a cycle.
    """
    return parent(Pipeline(name, steps, description, overlap=overlap))


def parent(plan: Pipeline) -> Flow[..., Any]:
    """Return the flow that runs a pipeline, with a form of its parameters."""

    async def run(**values: Any) -> State[Any]:
        into_run_log()
        try:
            return await _run(plan, Parameters.model_validate(values))
        except FlowsError as error:
            logger.error("%s", error)  # noqa: TRY400 - the reader can act on the sentence, not on a traceback
            await _notify_failure(error, plan)
            return Failed(message=str(error))
        except Exception as error:  # noqa: BLE001 - raised again below
            await _notify_failure(error, plan)
            reraise(error)

    run.__name__ = plan.name.replace("-", "_")
    run.__doc__ = docstring(plan)
    run.__annotations__ = form(plan)
    run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=_default(name), annotation=kind)
            for name, kind in run.__annotations__.items()
        ]
    )
    hooks: list[FlowStateHook[..., Any]] = [cancel_children, _cancellation_hook(plan)]
    setattr(run, ATTRIBUTE, plan)
    return flow(name=plan.name, on_cancellation=hooks, persist_result=False)(run)


async def cancel_children(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:  # noqa: ARG001
    """Cancel the children of a cancelled run; Prefect itself does not (the names of the parameters are Prefect's)."""
    into_run_log()
    async with get_client() as client:
        cancelled = await RunsClient(client).cancel_children(flow_run)
    # A hook has no run of its own, whose log this would go to.
    logger.info("Cancelling %d children of %s", len(cancelled), flow_run.name, extra={"flow_run_id": str(flow_run.id)})


def _cancellation_hook(pipeline: Pipeline) -> FlowStateHook[..., Any]:
    """Return the hook that sends alerts about a cancelled run, with what was done until then."""

    async def notify_cancelled(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:  # noqa: ARG001
        settings = Settings.load()
        if not should_notify(settings):
            return
        async with get_client() as client:
            api = RunsClient(client, retry_seconds=settings.alerts.seconds)
            children, refusals = await api.children(flow_run.id), await api.refusals(flow_run.id)
        latest = {child.step: child for child in children}
        refused = outcomes_of(refusals, pipeline, children)
        outcomes = tuple(refused.get(step.name) or _so_far(step, latest.get(step.name)) for step in pipeline.steps)
        await notify(settings, RunSummary(pipeline.name, flow_run.id, flow_run.name, Verdict.CANCELLED, outcomes))

    return notify_cancelled


def _so_far(step: Step, child: ChildRun | None) -> Outcome:
    """Return the outcome of a step of a cancelled run; a child that was cancelled with it has not failed."""
    if child is None or not child.is_final or child.state is StateType.CANCELLED:
        return Outcome(step.name, StepState.WAITING, policy=step.policy, child=child)
    return of_child(step.name, step.policy, child)


async def _notify_failure(error: Exception, pipeline: Pipeline) -> None:
    """Send alerts about a run that ends before its steps could."""
    try:
        settings = Settings.load()
    except FlowsError:
        return  # the settings are what is wrong: they do not say whom to notify
    run, name = UUID(runtime.flow_run.id), runtime.flow_run.name
    await notify(settings, RunSummary(pipeline.name, run, name, Verdict.FAILED, ()), error)


async def _run(pipeline: Pipeline, parameters: Parameters) -> State[Any]:
    settings = Settings.load()
    pipeline = pipeline.configured(settings)
    parameters = parameters.checked(pipeline)
    run = PipelineRun(UUID(runtime.flow_run.id), runtime.flow_run.name, runtime.flow_run.run_count)
    async with get_client() as client:
        poll = (settings.poll_seconds, settings.poll_max_seconds)
        api = RunsClient(client)
        if skipped := await _wait_for_earlier(api, run, parameters.overlap_of(pipeline), settings.poll_max_seconds):
            return Completed(name=SKIPPED, message=skipped)
        dispatcher = Dispatcher(pipeline, parameters, api, run, poll, RetryLimits.of(settings))
        outcomes = await dispatcher.dispatch()
    answer = RunSummary(pipeline.name, run.id, run.name, verdict(outcomes), outcomes, dispatcher.failed.restarts)
    await artifacts.answer(answer.markdown(artifacts.links(answer.runs), of_readers(settings)), answer.report())
    await notify(settings, answer)
    return _end(outcomes)


async def _wait_for_earlier(api: RunsClient, run: PipelineRun, overlap: Overlap, pause: float) -> str:
    """Wait until no earlier run of the deployment is at work; return why this run is skipped, empty if it begins."""
    current = artifacts.current_run()
    if current is None or current.deployment_id is None:
        return ""
    skipped = await OverlapGuard(api, run.id, current.deployment_id, pause).acquire(overlap)
    if skipped:
        logger.warning("%s", skipped)
    return skipped


def _end(outcomes: tuple[Outcome, ...]) -> State[Any]:
    message = sentence(outcomes)
    match verdict(outcomes):
        case Verdict.COMPLETED:
            return Completed(message=message)
        case Verdict.DEGRADED:
            return Completed(name=DEGRADED, message=message)
        case _:
            return Failed(message=message)


def _default(name: str) -> object:
    """Return the default of a parameter as JSON, so that the form shows it."""
    return Parameters().model_dump(mode="json")[name]
