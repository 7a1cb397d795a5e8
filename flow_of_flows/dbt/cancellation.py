"""Cancels the queries that dbt's threads run in the warehouse, from a signal to the end of dbt, with any adapter.

dbt cancels once, and one query that cannot be cancelled keeps it from cancelling the others. What begins between two
looks is cancelled at the next one.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

logger = logging.getLogger(__name__)

# Some adapters log in to cancel, so that they do not cancel again sooner.
AGAIN_SECONDS = 2.0
NAME = "flows-cancel"
# When a connection was cancelled last, by its identity.
_cancelled: dict[int, float] = {}
# dbt's own context variables, which its threads have and the thread that watches for signals has not.
_context: list[contextvars.Context] = []


def take_over() -> None:
    """Replace dbt's cancelling of open connections; called in the main thread, when the signal is heard."""
    _cancelled.clear()
    _context[:] = [contextvars.copy_context()]
    for adapter in _adapters():
        own = adapter.connections.cancel_open
        if not hasattr(own, "func"):
            adapter.connections.cancel_open = functools.partial(_cancel_open, adapter, own)
        if not (adapter.type() in _CANCEL or _has_cancel(adapter) or _has_own(adapter)):
            logger.warning("dbt's adapter %s cannot cancel queries: those that run go on to their end", adapter.type())


def running_queries() -> list[str]:
    """Cancel the queries of all threads but the main one, which belongs to dbt's own cancelling.

    Returns:
        Names of the connections, as dbt's own function does.
    """
    return [name for adapter in _adapters() for name in _cancel(adapter)]


def _cancel_open(adapter: Any, own: Callable[[], Any]) -> list[str]:
    """Cancel as dbt does, once; what an adapter adds to it, such as its jobs of Python models, is called, too."""
    names = _cancel(adapter)
    if _has_own(adapter) and adapter.type() not in _CANCEL:
        names += _guarded(own) or []
    return names


def _cancel(adapter: Any) -> list[str]:
    """Cancel the queries of one adapter's threads; the names of their connections."""
    cancel = _CANCEL.get(adapter.type())
    due = [each for each in _open_connections(adapter) if cancel or _is_due(each)]
    if cancel is not None:
        for connection in due:
            _guarded(functools.partial(cancel, connection.handle))
    elif due and _has_cancel(adapter):
        _in_dbt(functools.partial(_through_adapter, adapter, due))
    elif due and _has_own(adapter) and not _is_main():
        _in_dbt(functools.partial(_guarded, type(adapter.connections).cancel_open.__get__(adapter.connections)))
    return [str(connection.name) for connection in due]


def _through_adapter(adapter: Any, connections: list[Any]) -> None:
    """Cancel by dbt's interface; some adapters send a statement on the connection of the thread that cancels."""
    with contextlib.nullcontext() if _is_main() else adapter.connection_named(NAME):
        for connection in connections:
            _guarded(functools.partial(adapter.connections.cancel, connection))


def _open_connections(adapter: Any) -> Iterator[Any]:
    """Yield the connections of dbt's threads that a query may run on."""
    others = {threading.main_thread().ident, threading.get_ident()}
    for (_, thread), connection in list(adapter.connections.thread_connections.items()):
        if thread not in others and connection.state == "open":
            yield connection


def _is_due(connection: Any) -> bool:
    """Whether it is time to cancel a connection, at first or again."""
    now = time.monotonic()
    if now - _cancelled.get(id(connection), float("-inf")) < AGAIN_SECONDS:
        return False
    _cancelled[id(connection)] = now
    return True


def _has_cancel(adapter: Any) -> bool:
    """Whether an adapter can cancel one connection; dbt's base classes cannot."""
    from dbt.adapters.sql.connections import SQLConnectionManager

    own = getattr(type(adapter.connections), "cancel", None)
    return own is not None and own is not SQLConnectionManager.cancel


def _has_own(adapter: Any) -> bool:
    """Whether an adapter has its own way to cancel all connections."""
    from dbt.adapters.base.connections import BaseConnectionManager
    from dbt.adapters.sql.connections import SQLConnectionManager

    own = type(adapter.connections).cancel_open
    return own not in (BaseConnectionManager.cancel_open, SQLConnectionManager.cancel_open)


def _is_main() -> bool:
    return threading.current_thread() is threading.main_thread()


def _in_dbt(act: Callable[[], Any]) -> None:
    """Call a function of dbt, which logs by context variables of its own threads."""
    if _is_main() or not _context:
        act()
    else:
        _guarded(functools.partial(_context[0].run, act))


def _adapters() -> list[Any]:
    # Where dbt is not loaded yet, there is nothing to cancel, and a signal handler is no place to load it.
    factory = getattr(sys.modules.get("dbt.adapters.factory"), "FACTORY", None)
    return list(factory.adapters.values()) if factory else []


def _guarded(act: Callable[[], Any]) -> Any:
    try:
        return act()
    except Exception:  # its node may have ended and closed it meanwhile; the others still have to hear it
        logger.debug("A query could not be cancelled", exc_info=True)
        return None


def _duckdb(handle: Any) -> None:
    handle.cursor().interrupt()


def _postgres(handle: Any) -> None:
    # psycopg2 sends it on a connection of its own, from any thread.
    handle.cancel()


def _spark(handle: Any) -> None:
    # The adapter's own function does nothing for a session in this process.
    if "pyspark" in sys.modules and type(handle).__name__ == "SessionConnectionWrapper":
        from pyspark.sql import SparkSession

        SparkSession.builder.getOrCreate().sparkContext.cancelAllJobs()
    else:
        handle.cancel()


_CANCEL: Mapping[str, Callable[[Any], None]] = {"duckdb": _duckdb, "postgres": _postgres, "spark": _spark}
