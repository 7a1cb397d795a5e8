"""The clock of leases and deadlines, which goes on while the machine sleeps."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress


def now() -> float:
    """Seconds; a pod that was paused, or whose machine slept, sees that time has passed."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


async def within(event: asyncio.Event, seconds: float) -> bool:
    """Wait for an event, but not longer; whether it has come."""
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
    return event.is_set()
