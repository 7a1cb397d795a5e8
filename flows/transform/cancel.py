"""Cancels what runs in the warehouse on dbt's connections. `invoke` calls it again and again after an interrupt.

dbt cancels once, and then waits for its threads for ever. A query that starts just after that is missed, and DuckDB
forgets an interrupt that comes before its query has started.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

logger = logging.getLogger(__name__)


def running_queries() -> None:
    """Cancel the queries of all threads but the main one, in which dbt does its own cancelling."""
    from dbt.adapters.factory import FACTORY

    main = threading.main_thread().ident
    for adapter in list(FACTORY.adapters.values()):
        cancel = _CANCEL.get(adapter.type())
        for (_, thread), connection in list(adapter.connections.thread_connections.items()):
            # A handle that is not open yet would be opened by looking at it.
            if cancel is not None and thread != main and connection.state == "open":
                _try(cancel, connection.handle)


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
