"""Steps that fail or are killed on purpose: declared by a test, and run in place of the step's own flow.

A test process plans faults; the embedded server passes the one that fits a run to its process, in a variable.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import Self

import pytest
from pydantic import BaseModel, ConfigDict

from flow_of_flows.errors import Cause, ConfigurationError, FlowsError
from flow_of_flows.messages import did_you_mean

# Prefect's engine runs this flow instead of the deployment's own.
ENTRYPOINT = "PREFECT__FLOW_ENTRYPOINT"
NAME = "stand_in"
MODULE = "flow_of_flows.testing.stand_in"
VARIABLE = "FLOW_OF_FLOWS_TESTING_FAULT"


class InjectedFault(BaseModel):
    """What happens to a step.

    Attributes:
        step: name of the step; `outer/inner` within a step that is a pipeline itself.
        cause: why its child fails; None: its process is killed.
        message: what its child says.
        attempts: how many attempts of a run, from the first; None: all.
    """

    model_config = ConfigDict(frozen=True)

    step: str
    cause: Cause | None = None
    message: str = ""
    attempts: int | None = None


class RunFault(BaseModel):
    """A fault of one run.

    Attributes:
        parameters: names of the run's parameters.
    """

    model_config = ConfigDict(frozen=True)

    fault: InjectedFault
    parameters: tuple[str, ...] = ()

    def variables(self) -> dict[str, str]:
        """Return the variables of the run's process."""
        return {ENTRYPOINT: f"{MODULE}.{NAME}", VARIABLE: self.model_dump_json()}


def fault_of(faults: Iterable[InjectedFault], step: str, *, tries: int) -> InjectedFault | None:
    """Return the fault that a run meets; the newest one counts. Pure.

    Args:
        faults: those that are planned, oldest first.
        step: name of the run's step.
        tries: how often the step was tried before in its pipeline run.
    """
    fitting = [fault for fault in faults if fault.step == step and (fault.attempts is None or tries < fault.attempts)]
    return fitting[-1] if fitting else None


class StepFault:
    """A fault that is planned until the test ends; as a context manager, until the block ends."""

    def __init__(self, planned: list[StepFault], fault: InjectedFault, *, by: str) -> None:
        self._planned = planned
        self.fault = fault
        self.by = by
        planned.append(self)

    def remove(self) -> None:
        """Let the step run as it is from now on."""
        if self in self._planned:
            self._planned.remove(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()


class FailStep:
    """The fixture `fail_step`."""

    def __init__(self, planned: list[StepFault]) -> None:
        self._planned = planned

    def __call__(
        self,
        step: str,
        *,
        message: str = "The test made this step fail",
        cause: Cause | str = Cause.ERROR,
        attempts: int | None = None,
    ) -> StepFault:
        """Make a step fail.

        Args:
            step: name of the step; `outer/inner` within a step that is a pipeline itself.
            message: what its child says.
            cause: why it fails, which decides whether it is tried again: `data`, `platform`, `out-of-memory`, …
            attempts: how many attempts of each run fail, from the first; None: all.
        """
        __tracebackhide__ = True
        try:
            fault = InjectedFault(step=step, cause=_cause(cause), message=message, attempts=_attempts(attempts))
        except FlowsError as error:
            raise pytest.fail.Exception(str(error)) from None
        return StepFault(self._planned, fault, by="fail_step")


class KillStep:
    """The fixture `kill_step`."""

    def __init__(self, planned: list[StepFault]) -> None:
        self._planned = planned

    def __call__(self, step: str, *, attempts: int | None = None) -> StepFault:
        """Kill the process of a step when it begins.

        Args:
            step: name of the step; `outer/inner` within a step that is a pipeline itself.
            attempts: how many attempts of each run are killed, from the first; None: all.
        """
        __tracebackhide__ = True
        try:
            fault = InjectedFault(step=step, attempts=_attempts(attempts))
        except FlowsError as error:
            raise pytest.fail.Exception(str(error)) from None
        return StepFault(self._planned, fault, by="kill_step")


def _cause(cause: Cause | str) -> Cause:
    known = [one for one in Cause if one is not Cause.UPSTREAM]
    if cause not in known:
        raise ConfigurationError(
            f"Unknown cause {cause}",
            location="fail_step",
            hint=f"{did_you_mean(cause, known)}there are {', '.join(known)}",
        )
    return Cause(cause)


def _attempts(attempts: int | None) -> int | None:
    if attempts is not None and attempts < 1:
        raise ConfigurationError(
            f"attempts={attempts} leaves nothing to fail", location="fail_step or kill_step", hint="1 is the least"
        )
    return attempts
