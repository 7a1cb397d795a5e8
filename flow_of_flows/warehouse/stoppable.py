"""SIGTERM while this process waits for Postgres: a target in, its sessions there ended, so that the signal is obeyed.

psycopg2 waits in C, where Python hears no signal: the process would be killed in the end, and its query would wait on
in the database, for a lock or for hours.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from uuid import uuid4

from flow_of_flows.settings import environment
from flow_of_flows.signals import after_signal
from flow_of_flows.warehouse.targets import PostgresTarget, Target

logger = logging.getLogger(__name__)

CONNECT_SECONDS = 5
END = """
select count(pg_terminate_backend(pid)) from pg_stat_activity
where application_name = %s and datname = current_database() and pid <> pg_backend_pid()
"""


@contextmanager
def stoppable(target: Target) -> Iterator[None]:
    """Inside, a signal ends every session that this process opens in Postgres, until the block is left.

    The sessions are found by their application name, so they are those of this block alone, whatever library and
    thread opened them. Other warehouses need none of it; only the main thread can hear a signal.
    """
    if not isinstance(target, PostgresTarget):
        yield
        return
    name = f"flows-{uuid4().hex[:12]}"

    def end(_number: int) -> None:
        _end_sessions(target, name)

    is_main = threading.current_thread() is threading.main_thread()
    watch = after_signal(end, thread="postgres-end") if is_main else nullcontext()
    with environment({"PGAPPNAME": name}), watch:
        yield


def _end_sessions(target: PostgresTarget, name: str) -> None:
    import psycopg2

    try:
        arguments = target.connection(timeout=CONNECT_SECONDS, application=f"{name}-end")
        with closing(psycopg2.connect(**arguments)) as connection:
            connection.cursor().execute(END, [name])
    except psycopg2.Error:
        logger.warning("The sessions in %s could not be ended", target.describe(), exc_info=True)
