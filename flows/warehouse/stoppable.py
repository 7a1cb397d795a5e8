"""SIGTERM while this process waits for Postgres: a target in, its sessions there ended, so that the signal is obeyed.

Called by `flows.ingest.load` and `flows.warehouse.reading`. psycopg2 waits in C, where Python hears no signal: the
process would be killed in the end, and its query would wait on in the database, for a lock or for hours.
"""

from __future__ import annotations

import logging
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from uuid import uuid4

from flows.settings import environment
from flows.warehouse.targets import Postgres, Target

logger = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT)
CONNECT_SECONDS = 5
REPEAT_SECONDS = 0.2
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
    if not isinstance(target, Postgres):
        yield
        return
    name = f"flows-{uuid4().hex[:12]}"
    watch = _watched(target, name) if threading.current_thread() is threading.main_thread() else nullcontext()
    with environment({"PGAPPNAME": name}), watch:
        yield


@contextmanager
def _watched(target: Postgres, name: str) -> Iterator[None]:
    reader, writer = socket.socketpair()
    writer.settimeout(0)  # a signal handler must not wait
    before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    over = threading.Event()
    thread = threading.Thread(target=_watch, args=(reader, over, target, name), name="postgres-end", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        signal.set_wakeup_fd(before)
        writer.close()
        thread.join()
        reader.close()


def _watch(reader: socket.socket, over: threading.Event, target: Postgres, name: str) -> None:
    """Again and again: between two statements of a library there is nothing to end."""
    while (number := reader.recv(1)) and number[0] not in SIGNALS:
        pass
    while number and not over.wait(REPEAT_SECONDS):
        _end_sessions(target, name)


def _end_sessions(target: Postgres, name: str) -> None:
    import psycopg2

    try:
        with closing(
            psycopg2.connect(
                host=target.host,
                port=target.port,
                user=target.user,
                password=target.password.get_secret_value(),
                dbname=target.database,
                connect_timeout=CONNECT_SECONDS,
                application_name=f"{name}-end",
            )
        ) as connection:
            connection.cursor().execute(END, [name])
    except psycopg2.Error:
        logger.warning("The sessions in %s could not be ended", target.describe(), exc_info=True)
