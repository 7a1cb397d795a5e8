"""Runs one child for a test, and returns how it ended."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from prefect import Flow
from prefect.exceptions import ParameterTypeError

from flow_of_flows import deployments, errors
from flow_of_flows.child_flow import report_of, work_of
from flow_of_flows.child_report import ChildReport
from flow_of_flows.dispatch.pipeline import declared
from flow_of_flows.errors import Cause, ConfigurationError, FlowsError
from flow_of_flows.messages import did_you_mean, one_line
from flow_of_flows.project import current_project
from flow_of_flows.registration.prefect_yaml import read
from flow_of_flows.runs.outcome import StepState
from flow_of_flows.settings import Settings
from flow_of_flows.testing.launcher import Launcher, without_api

TIMEOUT_SECONDS = 300.0
# Part of Prefect's own message.
NO_API = "No Prefect API URL provided"


@dataclass(frozen=True, kw_only=True)
class ChildResult:
    """How one run of a child ended.

    Attributes:
        state: `completed` or `failed`.
        message: what its run's state says.
        cause: why it did not complete; None if it did.
        report: its report; None of a plain Prefect flow, and of a child that ended by an unexpected exception.
        error: the exception that ended a child in the test's process.
    """

    state: StepState
    message: str = ""
    cause: Cause | None = None
    report: ChildReport | None = None
    error: Exception | None = field(default=None, repr=False)

    @property
    def summary(self) -> str:
        """Return the summary of its report; empty without a report."""
        return self.report.summary if self.report else ""

    @property
    def facts(self) -> Mapping[str, str | int | float]:
        """Return the counts and names of its report; empty without a report."""
        return self.report.facts if self.report else {}

    @property
    def warnings(self) -> tuple[str, ...]:
        """Return the warnings of its report; empty without a report."""
        return self.report.warnings if self.report else ()


class RunChild:
    """The fixture `run_child`."""

    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher
        self._isolation = launcher.isolation

    def __call__(self, child: str | Flow[..., Any], /, **parameters: Any) -> ChildResult:
        """Run a child in this process, or a plain Prefect flow in a process of its own.

        Args:
            child: name of its deployment in prefect.yaml, or the child itself.
            parameters: of the child, over those of its deployment.
        """
        __tracebackhide__ = True
        try:
            name, flow, values = self._resolved(child, parameters)
            work = work_of(flow)
            if work is None:
                return self._on_server(name, flow, values)
            with without_api(self._isolation):
                result = _ended(name, work, _validated(name, flow, values))
        except FlowsError as error:
            raise pytest.fail.Exception(str(error)) from None
        unexpected = result.error if result.report is None else None
        self._show(name, result, "".join(traceback.format_exception(unexpected)) if unexpected else "")
        return result

    def in_own_process(self, child: str | Flow[..., Any], /, **parameters: Any) -> ChildResult:
        """Run a child as the platform does: as a flow run on the embedded server, in a process of its own.

        Args:
            child: name of its deployment in prefect.yaml, or the child itself.
            parameters: of the child, over those of its deployment.
        """
        __tracebackhide__ = True
        try:
            return self._on_server(*self._resolved(child, parameters))
        except FlowsError as error:
            raise pytest.fail.Exception(str(error)) from None

    def _resolved(
        self, child: str | Flow[..., Any], parameters: Mapping[str, Any]
    ) -> tuple[str, Flow[..., Any], dict[str, Any]]:
        settings = self._isolation.settings()
        current_project().make_importable()
        if isinstance(child, str):
            entry = deployments.find(child, settings)
            name, flow, defaults = child, entry.flow(), entry.parameters
        else:
            name, flow, defaults = child.name, child, {}
        if declared(flow):
            raise ConfigurationError(f"{name} is a pipeline", location="run_child", hint="use run_pipeline")
        values = {**defaults, **parameters}
        _refuse(name, flow, values)
        return name, flow, values

    def _on_server(self, name: str, flow: Flow[..., Any], parameters: Mapping[str, Any]) -> ChildResult:
        settings = self._isolation.settings()
        deployment = _deployment(name, flow, settings)
        run = self._launcher.run(deployment, _as_json(flow, parameters), timeout=TIMEOUT_SECONDS)
        outcome = self._launcher.summary(None, run, flow.name, settings).outcomes[0]
        result = ChildResult(state=outcome.state, message=outcome.message, cause=outcome.cause, report=outcome.report)
        self._show(name, result, "" if outcome.state is StepState.COMPLETED else self._launcher.log(run.name))
        return result

    def _show(self, name: str, result: ChildResult, log: str) -> None:
        ended = f"{result.state} ({result.cause})" if result.cause else str(result.state)
        self._launcher.show(f"run_child {name}: {ended}", f"{result.message}\n{log}")


def _ended(name: str, work: Callable[..., ChildReport], parameters: Mapping[str, Any]) -> ChildResult:
    """Run a child's function, and return what its flow would make of its end."""
    try:
        report = work(**parameters)
    except Exception as error:  # a child may raise anything; the result has the exception
        if isinstance(error, ValueError) and NO_API in str(error):
            raise ConfigurationError(
                f"{name} uses the Prefect API (a task, a block or a variable), and the test's process has none",
                location="run_child",
                hint="call run_child.in_own_process",
            ) from error
        known = error if isinstance(error, FlowsError) else errors.full(error)
        if known is None:
            message = f"Flow run encountered an exception: {type(error).__name__}: {error}"
            return ChildResult(state=StepState.FAILED, message=message, cause=Cause.ERROR, error=error)
        return ChildResult(
            state=StepState.FAILED, message=known.short, cause=known.cause, report=report_of(known), error=error
        )
    if not isinstance(report, ChildReport):
        what = f"{name} returned a {type(report).__name__}"
        raise ConfigurationError(what, location="run_child", hint="return a ChildReport")
    return ChildResult(state=StepState.COMPLETED, message=report.summary, report=report)


def _refuse(name: str, flow: Flow[..., Any], parameters: Mapping[str, Any]) -> None:
    """Refuse parameters that a flow does not take, and those that are missing."""
    known = list(flow.parameters.properties)
    takes = f"it takes {', '.join(known)}" if known else "it takes none"
    for parameter in parameters:
        if parameter not in known:
            hint = f"{did_you_mean(parameter, known)}{takes}"
            raise ConfigurationError(f"{name} has no parameter {parameter}", location="run_child", hint=hint)
    if missing := [parameter for parameter in flow.parameters.required or () if parameter not in parameters]:
        raise ConfigurationError(
            f"{name} needs the parameter {missing[0]}", location="run_child", hint=f"pass it; {takes}"
        )


def _validated(name: str, flow: Flow[..., Any], parameters: dict[str, Any]) -> dict[str, Any]:
    """Return the values as the flow's types make them, as Prefect does before it runs a flow."""
    try:
        return flow.validate_parameters(parameters)
    except ParameterTypeError as error:
        raise ConfigurationError(
            f"A parameter of {name} does not fit: {one_line(str(error).partition(' - ')[2])}",
            location="run_child",
            hint="correct the value",
        ) from error


def _as_json(flow: Flow[..., Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    return flow.serialize_parameters(dict(parameters))


def _deployment(name: str, flow: Flow[..., Any], settings: Settings) -> str:
    """Return the name of the deployment that runs a flow."""
    entries = read(settings.deployments)
    if name in (entry.name for entry in entries):
        return name
    found = next((entry.name for entry in entries if entry.flow().name == flow.name), None)
    if found is None:
        raise ConfigurationError(
            f"The flow {flow.name} has no deployment", location=str(settings.deployments), hint="add one"
        )
    return found
