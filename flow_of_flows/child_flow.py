"""Turns a function that returns a `ChildReport` into a child: a Prefect flow whose end state tells the truth.

A `FlowsError` ends the run as Failed with the error's own sentence and no traceback, and so does a full disk; anything
unexpected keeps its traceback.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable
from typing import Any, ParamSpec

from prefect import Flow, flow
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from flow_of_flows import errors
from flow_of_flows.child_report import ChildReport
from flow_of_flows.errors import FlowsError
from flow_of_flows.messages import shortened
from flow_of_flows.output import into_run_log, reraise
from flow_of_flows.prefect_api import artifacts

P = ParamSpec("P")
logger = logging.getLogger(__name__)
# Where the function of a child's flow keeps the work that was decorated: an attribute outlives `flow.with_options`.
WORK = "__child_work__"


def child(name: str) -> Callable[[Callable[P, ChildReport]], Flow[P, State[Any]]]:
    """Make a child of a function.

    Args:
        name: name of the flow and of its deployment, lower case with dashes.

    Returns:
        A decorator. The decorated function becomes a Prefect flow with the function's parameters.
    """

    def decorate(work: Callable[P, ChildReport]) -> Flow[P, State[Any]]:
        @functools.wraps(work)
        def run(*args: P.args, **kwargs: P.kwargs) -> State[Any]:
            into_run_log()
            try:
                report = work(*args, **kwargs)
            except FlowsError as error:
                return failed(error)
            except Exception as error:
                if (full := errors.full(error)) is None:
                    reraise(error)
                logger.exception("A file could not be written")
                return failed(full)
            artifacts.child_report(report)
            return Completed(message=shortened(report.summary))

        # Evaluated, so that Prefect finds the types of a module that postpones its annotations.
        run.__signature__ = inspect.signature(work, eval_str=True)  # type: ignore[attr-defined]
        setattr(run, WORK, work)
        return flow(name=name, persist_result=False)(run)

    return decorate


def work_of(flow: Flow[..., Any]) -> Callable[..., ChildReport] | None:
    """Return the function that a child runs, without the flow around it; None for another flow."""
    work: Callable[..., ChildReport] | None = getattr(flow.fn, WORK, None)
    return work


def failed(error: FlowsError) -> State[Any]:
    """Publish the report of a child that failed, and return the state that its run ends in."""
    logger.error("%s", error)
    artifacts.child_report(report_of(error))
    return Failed(message=error.short)


def report_of(error: FlowsError) -> ChildReport:
    """Return the report of a child that failed with this error."""
    return ChildReport(
        summary=error.fact,
        cause=error.cause,
        todo=error.hint,
        problems=error.problems,
        skipped=error.skipped,
        warnings=error.warnings,
    )
