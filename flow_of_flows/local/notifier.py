"""Hears that flow runs have changed: a pipe in, awakened waiters out."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum


class Sound(Enum):
    """What there is to hear: a run to start, or any change."""

    SCHEDULED = b"+"
    CHANGED = b"."


class Bell:
    """Rings for everybody who listens for a sound."""

    def __init__(self) -> None:
        self._listeners: dict[asyncio.Event, Sound] = {}

    @contextmanager
    def connected(self, descriptor: int) -> Iterator[None]:
        """Ring for what arrives on a pipe."""
        os.set_blocking(descriptor, False)
        loop = asyncio.get_running_loop()
        loop.add_reader(descriptor, self._read, descriptor)
        try:
            yield
        finally:
            loop.remove_reader(descriptor)

    @contextmanager
    def hearing(self, sound: Sound) -> Iterator[asyncio.Event]:
        """An event that a sound sets; whoever waits for it clears it."""
        event = asyncio.Event()
        self._listeners[event] = sound
        try:
            yield event
        finally:
            del self._listeners[event]

    def ring(self, heard: bytes = Sound.SCHEDULED.value) -> None:
        """Wake who listens; what schedules a run changes it, too."""
        for event, sound in self._listeners.items():
            if sound is Sound.CHANGED or sound.value in heard:
                event.set()

    def _read(self, descriptor: int) -> None:
        if heard := os.read(descriptor, 4096):
            self.ring(heard)
        else:
            # The server is gone; a closed pipe would be readable for ever.
            asyncio.get_running_loop().remove_reader(descriptor)


async def heard(event: asyncio.Event, within: float) -> None:
    """Wait for an event, at most so many seconds."""
    try:
        await asyncio.wait_for(event.wait(), within)
    except TimeoutError:
        return
    finally:
        event.clear()
