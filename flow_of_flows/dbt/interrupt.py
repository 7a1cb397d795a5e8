"""SIGTERM and Ctrl-C while dbt runs: a signal in, dbt's KeyboardInterrupt, cancelled queries and `Stopped` out.

What the process was told is passed on afterwards, so that Prefect still sees it.
"""

from __future__ import annotations

import functools
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Never

from flow_of_flows.dbt import cancel
from flow_of_flows.signals import after_signal, hearing_sigterm

_heard = threading.Event()


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
        _heard.set()
        # Once: a second interrupt would stop dbt while it waits for its threads.
        if len(received) == 1:
            cancel.take_over()
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
    """See to it that a signal is heard and obeyed: wake the main thread until it is, and cancel what still runs.

    A thread that goes to wait just when the signal comes handles it when it wakes up, and dbt's waits for ever.
    """
    main = threading.main_thread().ident
    if received:
        cancel.running_queries()
    elif main is not None:
        signal.pthread_kill(main, number)
