"""Notifies subscribers that flow runs have changed, as the embedded server writes to a pipe."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum


class RunChange(Enum):
    """What subscribers wait for: a run to start, or any change."""

    SCHEDULED = b"+"
    CHANGED = b"."


class ChangeNotifier:
    """Sets the events of those who subscribed to a change."""

    def __init__(self) -> None:
        self._subscribers: dict[asyncio.Event, RunChange] = {}

    @contextmanager
    def connected(self, descriptor: int) -> Iterator[None]:
        """Notify of what arrives on a pipe, until the block ends."""
        os.set_blocking(descriptor, False)
        loop = asyncio.get_running_loop()
        loop.add_reader(descriptor, self._read, descriptor)
        try:
            yield
        finally:
            loop.remove_reader(descriptor)

    @contextmanager
    def subscribed(self, change: RunChange) -> Iterator[asyncio.Event]:
        """Yield an event that a change sets; whoever waits for it clears it."""
        event = asyncio.Event()
        self._subscribers[event] = change
        try:
            yield event
        finally:
            del self._subscribers[event]

    def notify(self, changes: bytes = RunChange.SCHEDULED.value) -> None:
        """Set the events of the subscribers; what schedules a run changes it, too."""
        for event, change in self._subscribers.items():
            if change is RunChange.CHANGED or change.value in changes:
                event.set()

    def _read(self, descriptor: int) -> None:
        if changes := os.read(descriptor, 4096):
            self.notify(changes)
        else:
            # The server is gone; a closed pipe would stay readable.
            asyncio.get_running_loop().remove_reader(descriptor)


async def wait_for_change(event: asyncio.Event, seconds: float) -> None:
    """Wait for an event and clear it.

    Args:
        event: a subscriber's.
        seconds: the longest time to wait.
    """
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return
    finally:
        event.clear()
