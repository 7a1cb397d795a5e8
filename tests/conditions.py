"""Waiting for a condition, with a bound and a reason."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(condition: Callable[[], T | None], what: str, *, within: float = 90) -> T:
    """The condition's value, as soon as it is true.

    Raises:
        TimeoutError: it was not true in time (seconds).
    """
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.05)
    raise TimeoutError(f"not within {within} s: {what}")
