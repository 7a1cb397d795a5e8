"""The only module that uses private names of Prefect, whose version is capped below 3.9.

A test checks that each name exists and takes what is passed to it. Classes are imported on first use, so that a child
which only asks what a SIGTERM means does not import Prefect's runner.
"""

from __future__ import annotations

import importlib
import signal
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any
from uuid import UUID

if TYPE_CHECKING:
    from prefect.runner._control_channel import ControlChannel, ControlSignalStatus
    from prefect.runner._flow_run_executor import FlowRunExecutorContext
    from prefect.runner._process_manager import ProcessHandle
    from prefect.runner._state_proposer import StateProposer

__all__ = [
    "ControlChannel",
    "ControlSignalStatus",
    "FlowRunExecutorContext",
    "ProcessHandle",
    "StateProposer",
    "cancellation_manager",
    "filter_job_environment",
    "hearing_sigterm",
    "hook_runner",
    "propose_states_by",
    "sigterm_intent",
    "start_cancelling",
    "when_unobserved",
]
CLASSES: Mapping[str, str] = {
    "ControlChannel": "prefect.runner._control_channel",
    "ControlSignalStatus": "prefect.runner._control_channel",
    "FlowRunExecutorContext": "prefect.runner._flow_run_executor",
    "ProcessHandle": "prefect.runner._process_manager",
    "StateProposer": "prefect.runner._state_proposer",
}


def __getattr__(name: str) -> Any:
    """Import one of Prefect's private classes."""
    if name not in CLASSES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(CLASSES[name]), name)


def sigterm_intent() -> str | None:
    """Return what this run's supervisor means by a SIGTERM; None where it has not said."""
    from prefect._internal.control_listener import get_intent

    return get_intent()


@contextmanager
def hearing_sigterm(handler: Callable[[int, FrameType | None], Any]) -> Iterator[None]:
    """Let another handler receive SIGTERM in place of Prefect's, as long as the block runs; in the main thread only.

    Prefect's engine takes its supervisor's intent only while its own handler would receive the signal. A pod that gives
    up a run while dbt works would be killed otherwise, and its queries would go on. So the handler stands in for
    Prefect's, and whoever installs it passes the signal on afterwards.
    """
    from prefect.utilities import engine

    with engine._prefect_sigterm_bridge_lock:  # noqa: SLF001
        before, own = signal.signal(signal.SIGTERM, handler), engine._prefect_sigterm_handler  # noqa: SLF001
        if before is own:
            engine._prefect_sigterm_handler = handler  # type: ignore[assignment] # noqa: SLF001
    try:
        yield
    finally:
        with engine._prefect_sigterm_bridge_lock:  # noqa: SLF001
            signal.signal(signal.SIGTERM, before)
            engine._prefect_sigterm_handler = own  # noqa: SLF001


def propose_states_by(context: FlowRunExecutorContext, proposer: StateProposer) -> None:
    """Let an executor propose states through another object.

    Args:
        context: of the executor, before it is created.
        proposer: in place of Prefect's.
    """
    context._state_proposer = proposer  # noqa: SLF001


def cancellation_manager(context: FlowRunExecutorContext) -> Any:
    """Return what cancels the runs of an executor: `cancel_by_id(run)`, which may be replaced."""
    return context._cancellation_manager  # noqa: SLF001


def hook_runner(context: FlowRunExecutorContext) -> Any:
    """Return what runs the hooks of a flow: `run_cancellation_hooks(run, state)`."""
    return context._cancellation_manager._hook_runner  # noqa: SLF001


def start_cancelling(
    context: FlowRunExecutorContext, cancel: Callable[[UUID], Coroutine[Any, Any, None]], run: UUID
) -> None:
    """Cancel a run in the executor's own task group.

    Args:
        context: of the executor.
        cancel: cancels a run.
        run: its id.
    """
    context._cancellation_task_group.start_soon(cancel, run)  # noqa: SLF001


def when_unobserved(context: FlowRunExecutorContext, then: Callable[[], None]) -> None:
    """Call something when Prefect's observer of cancellations gives up, as it does in an outage of the API of 45 s.

    Args:
        context: of the executor.
        then: called after Prefect's own reaction.
    """
    wired: Any = context
    is_lost = wired._handle_cancellation_observer_failure  # noqa: SLF001

    def lost(runs: set[UUID]) -> None:
        is_lost(runs)
        then()

    wired._handle_cancellation_observer_failure = lost  # noqa: SLF001


def filter_job_environment(keep: Callable[[str], bool]) -> None:
    """Copy only some of Prefect's settings, which are plain text there, from this worker into each Job.

    Args:
        keep: whether to copy a variable, by its name; asked for each Job.
    """
    from prefect.workers.base import BaseJobConfiguration

    copied = BaseJobConfiguration._base_environment  # noqa: SLF001 - what Prefect copies has no public name

    def kept(_: type[BaseJobConfiguration]) -> dict[str, str]:
        return {name: value for name, value in copied().items() if keep(name)}

    BaseJobConfiguration._base_environment = classmethod(kept)  # type: ignore[assignment, method-assign]  # noqa: SLF001
