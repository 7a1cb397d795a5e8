"""A flow of another team, plain Prefect, that leaves the same trace as the children of `.children`. In job pods."""

from __future__ import annotations

import time
from typing import Any

from prefect import flow, task
from prefect.states import Failed

from .children import effect


@task
def slept(seconds: float) -> float:
    """Work for a while."""
    time.sleep(seconds)
    return seconds


@flow(name="faults-plain")
def plain(seconds: float = 20, message: str = "") -> Any:
    """Work for a while in a task; then fail with a message, if there is one."""
    effect("plain began")
    slept(seconds)
    if message:
        return Failed(message=message)
    effect("plain done")
    return {"slept": seconds}
