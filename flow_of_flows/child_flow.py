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
                return _failed(error)
            except Exception as error:
                if (full := errors.full(error)) is None:
                    reraise(error)
                logger.exception("A file could not be written")
                return _failed(full)
            artifacts.child_report(report)
            return Completed(message=shortened(report.summary))

        # Evaluated, so that Prefect finds the types of a module that postpones its annotations.
        run.__signature__ = inspect.signature(work, eval_str=True)  # type: ignore[attr-defined]
        return flow(name=name, persist_result=False)(run)

    return decorate


def _failed(error: FlowsError) -> State[Any]:
    logger.error("%s", error)
    artifacts.child_report(
        ChildReport(
            summary=error.fact,
            cause=error.cause,
            todo=error.hint,
            problems=error.problems,
            skipped=error.skipped,
            warnings=error.warnings,
        )
    )
    return Failed(message=error.short)
