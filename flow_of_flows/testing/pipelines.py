"""Runs a pipeline for a test, and returns how it and its steps ended."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any
from uuid import UUID

import pytest
from prefect.client.schemas.objects import FlowRun

from flow_of_flows import deployments
from flow_of_flows.dispatch.parameters import Parameters, StepOverride
from flow_of_flows.dispatch.pipeline import Pipeline
from flow_of_flows.errors import Cause, ConfigurationError, FlowsError
from flow_of_flows.registration import step_deployments
from flow_of_flows.registration.prefect_yaml import read
from flow_of_flows.runs.outcome import Outcome, StepState, Verdict
from flow_of_flows.settings import Settings
from flow_of_flows.testing.faults import InjectedFault, StepFault
from flow_of_flows.testing.launcher import Launcher

TIMEOUT_SECONDS = 600.0
# Parameters of a step by their names.
Values = Mapping[str, Any]
Outcomes = Mapping[str, Outcome]


@dataclass(frozen=True, kw_only=True)
class PipelineResult:
    """How a pipeline run ended.

    Attributes:
        pipeline: name of the pipeline.
        verdict: `completed`, `degraded`, `failed`, `cancelled` or `skipped`.
        outcomes: of the steps, in the order of the pipeline; those of a step that is a pipeline itself follow it, as
            `outer/inner`. An outcome has `state`, `cause`, `message`, `report`, `held_up_by` and more.
        run_id: id of the run.
        message: what the run's state says.
        page: the text on the run's page, in Markdown.
    """

    pipeline: str
    verdict: Verdict
    outcomes: Mapping[str, Outcome]
    run_id: UUID
    message: str
    page: str = field(repr=False)
    _resume: Callable[[], PipelineResult] = field(repr=False, compare=False)

    @property
    def states(self) -> dict[str, StepState]:
        """Return the state of each step: `completed`, `failed`, `not run` or `left out`."""
        return {step: outcome.state for step, outcome in self.outcomes.items()}

    @property
    def causes(self) -> dict[str, Cause]:
        """Return the cause of each step that failed."""
        return {
            step: outcome.cause
            for step, outcome in self.outcomes.items()
            if outcome.cause and outcome.state is StepState.FAILED
        }

    def resume(self) -> PipelineResult:
        """Run the rest of this run, as **Retry** and `flows resume` do, and return how it ends then.

        It has the same id: what completed is reused, what failed gets a new attempt, with the present environment.
        """
        __tracebackhide__ = True
        try:
            return self._resume()
        except FlowsError as error:
            raise pytest.fail.Exception(str(error)) from None


class RunPipeline:
    """The fixture `run_pipeline`."""

    def __init__(self, launcher: Launcher, planned: list[StepFault]) -> None:
        self._launcher = launcher
        self._planned = planned

    def __call__(
        self,
        name: str,
        *,
        parameters: Mapping[str, Values] | None = None,
        only: Iterable[str] = (),
        skip: Iterable[str] = (),
        full_refresh: bool = False,
        timeout: float = TIMEOUT_SECONDS,
    ) -> PipelineResult:
        """Run a pipeline to its end.

        Args:
            name: name of its deployment in prefect.yaml.
            parameters: of its steps, by the name of the step (`outer/inner` within a step that is a pipeline itself).
            only: steps to run; the others are left out.
            skip: steps to leave out.
            full_refresh: rebuild incremental models from scratch.
            timeout: seconds until the run is cancelled and the test fails.
        """
        __tracebackhide__ = True
        try:
            settings = self._launcher.isolation.settings()
            plan = deployments.pipeline(name, settings)
            chosen = Parameters(
                full_refresh=full_refresh,
                only=tuple(only),
                skip=tuple(skip),
                overrides=_overrides(plan, parameters or {}),
            ).checked(plan)
            _refuse_missing(plan, chosen, settings)
            values = chosen.model_dump(mode="json", exclude_defaults=True)
            run = self._launcher.run(name, values, self._faults(plan), timeout=timeout)
            return self._result(plan, run, timeout)
        except FlowsError as error:
            raise pytest.fail.Exception(str(error)) from None

    def _resumed(self, plan: Pipeline, run: UUID, timeout: float, before: Outcomes) -> PipelineResult:
        resumed = self._launcher.retry(run, self._faults(plan), timeout=timeout)
        return self._result(plan, resumed, timeout, before)

    def _result(
        self, plan: Pipeline, run: FlowRun, timeout: float, before: Outcomes = MappingProxyType({})
    ) -> PipelineResult:
        settings = self._launcher.isolation.settings()
        summary = self._launcher.summary(plan, run, plan.name, settings)
        outcomes: dict[str, Outcome] = {}
        for outcome in summary.outcomes:
            outcomes |= {outcome.step: outcome, **self._within(plan, outcome)}
        outcomes = {step: _reused(outcome, before.get(step)) for step, outcome in outcomes.items()}
        page = self._launcher.page(run.id) or summary.markdown({})
        self._launcher.show(f"run_pipeline {plan.name}: {summary.verdict}", page)
        for step, outcome in outcomes.items():
            if outcome.state is StepState.FAILED and outcome.child:
                self._launcher.show(f"log of {step}", self._launcher.log(outcome.child.name))
        return PipelineResult(
            pipeline=plan.name,
            verdict=summary.verdict,
            outcomes=outcomes,
            run_id=run.id,
            message=(run.state.message or "") if run.state else "",
            page=page,
            _resume=lambda: self._resumed(plan, run.id, timeout, outcomes),
        )

    def _within(self, plan: Pipeline, outcome: Outcome) -> dict[str, Outcome]:
        """Return the outcomes of a step that is a pipeline itself, if it has run."""
        nested = plan.step(outcome.step).nested
        if nested is None or outcome.child is None:
            return {}
        found: dict[str, Outcome] = {}
        for inner in self._launcher.nested(nested, outcome.child.id).outcomes:
            below = {inner.step: inner, **self._within(nested, inner)}
            found |= {f"{outcome.step}/{name}": one for name, one in below.items()}
        return found

    def _faults(self, plan: Pipeline) -> list[InjectedFault]:
        for planned in self._planned:
            _refuse_unknown(plan, planned.fault.step.split("/"), planned.by)
        return [planned.fault for planned in self._planned]


def _reused(outcome: Outcome, before: Outcome | None) -> Outcome:
    """Return the outcome of a step after a resume, which says whether its child completed before."""
    child = outcome.child
    is_reused = child and child.is_completed and before and before.child and before.child.id == child.id
    return replace(outcome, reused=True) if is_reused else outcome


def _refuse_unknown(plan: Pipeline, path: list[str], asked_by: str) -> None:
    """Refuse a step that a pipeline does not have, or one within a step that is no pipeline."""
    step = plan.step(path[0], asked_by=asked_by)
    if len(path) == 1:
        return
    if step.nested is None:
        raise ConfigurationError(
            f"{'/'.join(path)} goes too deep: {step.name} is not a pipeline",
            location=asked_by,
            hint=f"write {step.name}",
        )
    _refuse_unknown(step.nested, path[1:], asked_by)


def _refuse_missing(plan: Pipeline, chosen: Parameters, settings: Settings) -> None:
    """Refuse a run with a step without a deployment, or without a parameter that its flow requires."""
    known = step_deployments.declared_in({entry: entry.flow() for entry in read(settings.deployments)}, settings)
    step_deployments.refuse_missing(step_deployments.named_by(plan, chosen), known, file=settings.deployments)


def _overrides(plan: Pipeline, parameters: Mapping[str, Values]) -> dict[str, StepOverride]:
    """Return parameters by step as the overrides of a run."""
    overrides: dict[str, StepOverride] = {}
    for step, values in parameters.items():
        _override(overrides, plan, step.split("/"), values)
    return overrides


def _override(overrides: dict[str, StepOverride], plan: Pipeline, path: list[str], values: Values) -> None:
    """Add parameters of a step, or of one within a step that is a pipeline itself."""
    _refuse_unknown(plan, path, "parameters")
    step = plan.step(path[0])
    present = dict(overrides[step.name].parameters) if step.name in overrides else {}
    if len(path) == 1 or step.nested is None:
        overrides[step.name] = StepOverride(parameters={**present, **values})
        return
    inner = present.get("overrides")
    below = (
        {name: StepOverride.model_validate(entry) for name, entry in inner.items()} if isinstance(inner, dict) else {}
    )
    _override(below, step.nested, path[1:], values)
    nested = {name: entry.model_dump(mode="json") for name, entry in below.items()}
    overrides[step.name] = StepOverride(parameters={**present, "overrides": nested})
