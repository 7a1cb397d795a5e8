"""What the end of this process means, and who hears of it first.

A child whose work goes on without it (a job in dbt Cloud, a sync of Airbyte) leaves that alone for the run that comes
back, and cancels it in every other case: nobody would look after it.
"""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from flow_of_flows.prefect_internals import sigterm_intent

SIGNALS = (signal.SIGTERM, signal.SIGINT)
REPEAT_SECONDS = 0.2
# What a SIGTERM means where the run is started again, by Prefect or by its Job: see `flow_of_flows.pod.shutdown`.
RESCHEDULED = ("reschedule", "relinquish")


def is_rescheduled() -> bool:
    """Return whether the run goes on in another process; not so if it is cancelled, late, or the reason is unknown."""
    # The run's state would say less: a run that is rescheduled, or is past its deadline, is still Running.
    return sigterm_intent() in RESCHEDULED


@contextmanager
def after_signal(act: Callable[[int], None], *, thread: str) -> Iterator[None]:
    """Call a function repeatedly in a thread, from SIGTERM or SIGINT to the end of the block.

    Python hears no signal while its main thread waits in C; that thread does. Once would not do: what is to be ended
    may begin between two looks. Only for the main thread, which alone hears signals.

    Args:
        act: gets the number of the signal.
        thread: name of the thread.
    """
    reader, writer = socket.socketpair()
    writer.settimeout(0)  # a signal handler must not wait
    before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    over = threading.Event()
    watcher = threading.Thread(target=_watch, args=(reader, over, act), name=thread, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        signal.set_wakeup_fd(before)
        writer.close()
        watcher.join()
        reader.close()


def _watch(reader: socket.socket, over: threading.Event, act: Callable[[int], None]) -> None:
    while (number := reader.recv(1)) and number[0] not in SIGNALS:
        pass
    while number and not over.wait(REPEAT_SECONDS):
        act(number[0])
