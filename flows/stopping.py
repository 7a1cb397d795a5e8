"""What the end of this process means, and who hears of it first. Called by children.

A child whose work goes on without it (a job in dbt Cloud, a sync of Airbyte) leaves that alone for the run that comes
back, and cancels it in every other case: nobody would look after it.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

# What a SIGTERM means where the run is started again, by Prefect or by its Job: see `flows.pod.orders`.
HANDED_BACK = ("reschedule", "relinquish")


def is_handed_back() -> bool:
    """Whether the run is started again in another process; not so if it is cancelled, late, or nobody has said why."""
    # Private; the prefect version is capped below 3.9. `flows.pod.ending` is the other end of it. The run's state would
    # tell less: it has to be asked for, and a run that is handed back, or is too late, is Running still.
    from prefect._internal.control_listener import get_intent

    return get_intent() in HANDED_BACK


@contextmanager
def hearing_sigterm(handler: Callable[[int, FrameType | None], Any]) -> Iterator[None]:
    """Have a handler of our own hear SIGTERM in Prefect's place, as long as the block runs; the main thread's only.

    Prefect's engine takes what its supervisor means by the signal only while its own handler would hear it. A pod that
    is handed back while dbt works would be killed otherwise, and its queries would go on. So ours stands for Prefect's,
    and whoever installs it passes the signal on afterwards. Private; the prefect version is capped below 3.9.
    """
    from prefect.utilities import engine

    with engine._prefect_sigterm_bridge_lock:  # noqa: SLF001
        before, own = signal.signal(signal.SIGTERM, handler), engine._prefect_sigterm_handler  # noqa: SLF001
        if before is own:
            engine._prefect_sigterm_handler = handler  # type: ignore[assignment] # noqa: SLF001
    try:
        yield
    finally:
        with engine._prefect_sigterm_bridge_lock:  # noqa: SLF001
            signal.signal(signal.SIGTERM, before)
            engine._prefect_sigterm_handler = own  # noqa: SLF001
