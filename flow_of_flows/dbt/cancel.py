"""Cancels what runs in the warehouse on dbt's connections, in place of dbt; called by `interrupt`, again and again.

dbt cancels once, and then waits for its threads for ever. It misses a query that starts just after that. DuckDB forgets
an interrupt that comes before its query has started. And dbt opens connections that are not open yet: where their own
thread does so at the same time, its query runs on a handle that no connection has any more.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

logger = logging.getLogger(__name__)


def take_over() -> None:
    """From here on dbt leaves the cancelling to us, where we know how."""
    for adapter in _adapters():
        adapter.connections.cancel_open = running_queries


def running_queries() -> list[str]:
    """Cancel the queries of all threads but the main one, which belongs to dbt's own cancelling.

    Returns:
        Names of the connections, as dbt's own function does.
    """
    main = threading.main_thread().ident
    names: list[str] = []
    for adapter in _adapters():
        for (_, thread), connection in list(adapter.connections.thread_connections.items()):
            if thread != main and connection.state == "open":
                _try(_CANCEL[adapter.type()], connection.handle)
                names.append(str(connection.name))
    return names


def _adapters() -> list[Any]:
    # Where dbt is not loaded yet, there is nothing to cancel, and a signal handler is no place to load it.
    factory = getattr(sys.modules.get("dbt.adapters.factory"), "FACTORY", None)
    return [adapter for adapter in list(factory.adapters.values()) if adapter.type() in _CANCEL] if factory else []


def _try(cancel: Callable[[Any], None], handle: Any) -> None:
    try:
        cancel(handle)
    except Exception:  # its node may have ended and closed it meanwhile; the others still have to hear it
        logger.debug("A query could not be cancelled", exc_info=True)


def _duckdb(handle: Any) -> None:
    handle.cursor().interrupt()


def _postgres(handle: Any) -> None:
    # psycopg2 sends it on a connection of its own, from any thread.
    handle.cancel()


_CANCEL: Mapping[str, Callable[[Any], None]] = {"duckdb": _duckdb, "postgres": _postgres}
