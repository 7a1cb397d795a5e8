"""Runs dbtRunner: an argument list in, what dbt returned out. One invocation per process at a time.

SIGTERM and Ctrl-C reach dbt as a KeyboardInterrupt, with which it cancels its queries. The signal is passed on
afterwards, so that Prefect still sees it.
"""

from __future__ import annotations

import functools
import gc
import importlib
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any, Never

from flow_of_flows.dbt import cancellation
from flow_of_flows.prefect_internals import hearing_sigterm
from flow_of_flows.settings import environment
from flow_of_flows.signals import after_signal

_heard = threading.Event()

Listener = Callable[[Any], None]

_one_at_a_time = threading.Lock()
# Loading a manifest makes a million objects that live; collecting garbage while they are made only costs time.
_GC_THRESHOLD = (200_000, 50, 100)


def is_heard() -> bool:
    """Return whether a signal has interrupted the invocation of dbt that runs now."""
    return _heard.is_set()


class Stopped(BaseException):
    """dbt was interrupted and has cancelled its queries. Not an Exception: nothing may take it for a failure."""

    def __init__(self, number: int) -> None:
        """Remember which signal it was."""
        self.signal = signal.Signals(number)
        super().__init__(self.signal.name)

    def pass_on(self) -> Never:
        """Raise the signal again for its earlier handler: Prefect's, or the default action.

        Raises:
            KeyboardInterrupt: the signal neither ended the process nor raised.
        """
        if self.signal is not signal.SIGINT:
            signal.raise_signal(self.signal)
        raise KeyboardInterrupt


@contextmanager
def interruptible() -> Iterator[list[int]]:
    """Inside, a signal interrupts the main thread once; only the main thread can hear it.

    Returns:
        The signals that were heard, first one first.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return

    def interrupt(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        _heard.set()
        # Once: a second interrupt would stop dbt while it waits for its threads.
        if len(received) == 1:
            cancellation.take_over()
            raise KeyboardInterrupt

    _heard.clear()
    with after_signal(functools.partial(_obeyed, received), thread="dbt-cancel"), hearing_sigterm(interrupt):
        before = signal.signal(signal.SIGINT, interrupt)
        try:
            yield received
        except KeyboardInterrupt:
            # It came before or after dbt's own handling; the caller reads `received`.
            if not received:
                raise
        finally:
            signal.signal(signal.SIGINT, before)


def _obeyed(received: list[int], number: int) -> None:
    """Wake the main thread until it has handled a signal, then cancel what still runs.

    A thread that begins to wait just as the signal comes handles it when it wakes up, and dbt's waits indefinitely.
    """
    main = threading.main_thread().ident
    if received:
        cancellation.running_queries()
    elif main is not None:
        signal.pthread_kill(main, number)


@dataclass(frozen=True)
class InvocationResult:
    """What one invocation returned: dbt's own result object, or the exception that ended it."""

    success: bool
    result: Any
    exception: BaseException | None


def invoke(
    arguments: list[str],
    *,
    variables: Mapping[str, str],
    listener: Listener | None = None,
    manifest: Any = None,
) -> InvocationResult:
    """Run dbt in this process.

    Args:
        arguments: dbt's argument list.
        variables: environment of this invocation alone: what profiles.yml asks for.
        listener: called with each of dbt's events, from dbt's threads.
        manifest: dbt's Manifest of an earlier invocation, to save a second load.

    Raises:
        Stopped: a signal interrupted it.
    """
    from dbt.cli.main import dbtRunner

    _forget_behavior_flags()
    with _one_at_a_time, environment(variables), _patient_gc(), interruptible() as received:
        runner = dbtRunner(manifest=manifest, callbacks=[listener] if listener else [])
        ended = runner.invoke(arguments)
    if received:
        raise Stopped(received[0])
    if isinstance(ended.exception, KeyboardInterrupt):
        raise Stopped(signal.SIGINT)
    return InvocationResult(ended.success, ended.result, ended.exception)


def check(arguments: list[str], variables: Mapping[str, str]) -> Any:
    """Have dbt's own parser read an argument list, without running it; return dbt's flags.

    Args:
        arguments: dbt's argument list.
        variables: environment of the invocation, which has options of dbt, too.
    """
    from dbt.cli.flags import Flags, args_to_context

    with environment(variables):
        return Flags(args_to_context(arguments))


@functools.cache
def _behavior_flags() -> tuple[Any, ...]:
    """Return dbt's behavior flags of every adapter, as they are before it makes the first adapter."""
    from dbt.adapters.base.impl import DEFAULT_BASE_BEHAVIOR_FLAGS

    return tuple(DEFAULT_BASE_BEHAVIOR_FLAGS)


def _forget_behavior_flags() -> None:
    """Take back what each adapter has added to dbt's list of behavior flags (dbt-adapters 1.24).

    dbt makes an adapter for each invocation, and looks up the source of every flag on the stack, which takes
    milliseconds. In a process of many invocations they would take ever longer.
    """
    from dbt.adapters.base.impl import DEFAULT_BASE_BEHAVIOR_FLAGS

    DEFAULT_BASE_BEHAVIOR_FLAGS[:] = _behavior_flags()


def selectors() -> Mapping[str, Any]:
    """Return the definitions of selectors.yml by name, as the last invocation of dbt has read them.

    The manifest has those of the last change of a node: dbt does not replace them where no node has changed.
    """
    return dict(_config().manifest_selectors)


def variables() -> Mapping[str, Mapping[str, Any]]:
    """Return dbt's variables by package and name, as the nodes of a package see them in the last invocation.

    A package has its own, over them those of the project, over them those of the invocation.
    """
    config = _config()
    return {
        package: {**_variables(project, package), **_variables(config, package), **config.cli_vars}
        for package, project in config.load_dependencies().items()
    }


def _variables(project: Any, package: str) -> Mapping[str, Any]:
    from dbt.context.configured import FQNLookup

    return dict(project.vars.vars_for(FQNLookup(package), project.credentials.type))


def _config() -> Any:
    """Return dbt's configuration in the last invocation."""
    from dbt.adapters.factory import FACTORY

    adapter: Any
    (adapter,) = FACTORY.adapters.values()
    return adapter.config


def version() -> str:
    """Return the version of dbt that runs."""
    from dbt.version import __version__

    return str(__version__)


def preload(adapter: str) -> None:
    """Import what a build needs, and make what dbt makes once per process; for a process that is forked later.

    Starts no thread and opens nothing.

    Args:
        adapter: dbt's name of the warehouse, such as duckdb.
    """
    for name in ("dbt.cli.main", "dbt.task.build", "dbt.task.freshness", "dbt.task.retry", f"dbt.adapters.{adapter}"):
        importlib.import_module(name)
    # agate and babel read locale files when the first query returns; contracts are compiled to JSON schema.
    importlib.import_module("dbt_common.clients.agate_helper")
    from dbt.contracts.project import PackageConfig, ProfileConfig, Project, ProjectFlags

    for contract in (PackageConfig, ProfileConfig, Project, ProjectFlags):
        contract.json_schema()


@contextmanager
def _patient_gc() -> Iterator[None]:
    before = gc.get_threshold()
    gc.set_threshold(*_GC_THRESHOLD)
    try:
        yield
    finally:
        gc.set_threshold(*before)
