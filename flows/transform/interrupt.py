"""SIGTERM and Ctrl-C while dbt runs: a signal in, dbt's KeyboardInterrupt, cancelled queries and `Stopped` out.

Called by `invoke`. What the process was told is passed on afterwards, so that Prefect still sees it.
"""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Never

from flows.stopping import hearing_sigterm
from flows.transform import cancel

SIGNALS = (signal.SIGTERM, signal.SIGINT)
_REPEAT_SECONDS = 0.2


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
        # Once: a second interrupt would stop dbt while it waits for its threads.
        if len(received) == 1:
            cancel.take_over()
            raise KeyboardInterrupt

    with _watched(received), hearing_sigterm(interrupt):
        before = signal.signal(signal.SIGINT, interrupt)
        try:
            yield received
        except KeyboardInterrupt:
            # It came before or after dbt's own handling; the caller reads `received`.
            if not received:
                raise
        finally:
            signal.signal(signal.SIGINT, before)


@contextmanager
def _watched(received: list[int]) -> Iterator[None]:
    """A thread that sees to it that a signal is heard and obeyed."""
    reader, writer = socket.socketpair()
    writer.settimeout(0)  # a signal handler must not wait
    before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    over = threading.Event()
    thread = threading.Thread(target=_watch, args=(reader, received, over), name="dbt-cancel", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        signal.set_wakeup_fd(before)
        writer.close()
        thread.join()
        reader.close()


def _watch(reader: socket.socket, received: list[int], over: threading.Event) -> None:
    """From a signal to the end of dbt: wake the main thread until it has heard it, and cancel what still runs.

    A thread that goes to wait just when the signal comes handles it when it wakes up, and dbt's waits for ever.
    """
    while (number := reader.recv(1)) and number[0] not in SIGNALS:
        pass
    main = threading.main_thread().ident
    while number and main is not None and not over.wait(_REPEAT_SECONDS):
        if received:
            cancel.running_queries()
        else:
            signal.pthread_kill(main, number[0])
