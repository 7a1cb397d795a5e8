"""The one door to dbtRunner: an argument list in, what dbt returned out. One invocation per process at a time.

Called by `dbt_core` through `Dbt`. SIGTERM reaches dbt as KeyboardInterrupt, so that it cancels its queries in the
warehouse; what the process was told is passed on afterwards, so that Prefect still sees it.
"""

from __future__ import annotations

import gc
import importlib
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any, Never

from flows.settings import environment

Listener = Callable[[Any], None]

_one_at_a_time = threading.Lock()
# Loading a manifest makes a million objects that live; collecting garbage while they are made only costs time.
_GC_THRESHOLD = (200_000, 50, 100)
_CANCEL_SECONDS = 0.2


@dataclass(frozen=True)
class Ended:
    """What one invocation returned: dbt's own result object, or the exception that ended it."""

    success: bool
    result: Any
    exception: BaseException | None


class Stopped(BaseException):
    """dbt was interrupted and has cancelled its queries. Not an Exception: nothing may take it for a failure."""

    def __init__(self, number: int) -> None:
        """Remember which signal it was."""
        self.signal = signal.Signals(number)
        super().__init__(self.signal.name)

    def pass_on(self) -> Never:
        """Give the signal to whoever had it before dbt did: Prefect, or the default action.

        Raises:
            KeyboardInterrupt: nobody ended the process or raised.
        """
        if self.signal is not signal.SIGINT:
            signal.raise_signal(self.signal)
        raise KeyboardInterrupt


def invoke(
    arguments: list[str],
    *,
    variables: Mapping[str, str],
    listener: Listener | None = None,
    manifest: Any = None,
    cancel: Callable[[], None] | None = None,
) -> Ended:
    """Run dbt in this process.

    Args:
        arguments: dbt's argument list.
        variables: environment of this invocation alone: what profiles.yml asks for.
        listener: called with each of dbt's events, from dbt's threads.
        manifest: dbt's Manifest of an earlier invocation, to save a second load.
        cancel: cancels running queries; called again and again after an interrupt, since dbt tries only once.

    Raises:
        Stopped: a signal interrupted it.
    """
    from dbt.cli.main import dbtRunner

    with _one_at_a_time, environment(variables), _patient_gc(), _interruptible(cancel) as received:
        runner = dbtRunner(manifest=manifest, callbacks=[listener] if listener else [])
        ended = runner.invoke(arguments)
    if received:
        raise Stopped(received[0])
    if isinstance(ended.exception, KeyboardInterrupt):
        raise Stopped(signal.SIGINT)
    return Ended(ended.success, ended.result, ended.exception)


def version() -> str:
    """The version of dbt that runs."""
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
def _interruptible(cancel: Callable[[], None] | None) -> Iterator[list[int]]:
    """While dbt runs, SIGTERM is an interrupt of the main thread; only the main thread can hear it."""
    received: list[int] = []
    over = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield received
        return

    def interrupt(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        # Once: a second interrupt would stop dbt while it cancels its queries.
        if len(received) == 1:
            if cancel is not None:
                threading.Thread(target=_repeat, args=(cancel, over), name="dbt-cancel", daemon=True).start()
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield received
    except KeyboardInterrupt:
        # It came before or after dbt's own handling; the caller reads `received`.
        if not received:
            raise
    finally:
        over.set()
        signal.signal(signal.SIGTERM, before)


def _repeat(cancel: Callable[[], None], over: threading.Event) -> None:
    while not over.wait(_CANCEL_SECONDS):
        cancel()


@contextmanager
def _patient_gc() -> Iterator[None]:
    before = gc.get_threshold()
    gc.set_threshold(*_GC_THRESHOLD)
    try:
        yield
    finally:
        gc.set_threshold(*before)
