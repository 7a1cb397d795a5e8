"""Flows of another team: plain Prefect, with nothing of this package; registered by tests/prefect.yaml."""

from __future__ import annotations

import asyncio
import os
import time
from datetime import date
from pathlib import Path
from typing import Any

from prefect import flow, pause_flow_run, suspend_flow_run, task
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed, Crashed, Failed
from pydantic import BaseModel


class Region(BaseModel):
    """A parameter with fields."""

    name: str
    zones: list[int] = []


@task(retries=2)
def scored(row: int, marks: str) -> int:
    """A task that fails once and is tried again."""
    mark = Path(marks) / f"row-{row}"
    if not mark.exists():
        mark.touch()
        raise ConnectionError("the feature store is away")
    return row


@task
def refused(row: int) -> int:
    """A task that fails."""
    raise ValueError(f"row {row} has no features")


@flow(name="score-model", description="Score a model.")
def score(marks: str, region: Region, day: date, rows: int = 2, ratio: float = 0.5) -> dict[str, Any]:
    """Tasks with retries, types of their own, and data as the result."""
    assert isinstance(day, date)
    assert isinstance(ratio, float)
    Path(marks, "seen").write_text(f"{region.name} {region.zones} {day} {rows} {ratio}")
    return {"scored": [future.result() for future in scored.map(range(rows), marks=marks)]}


@flow(name="plain-async")
async def waits(seconds: float = 0.1) -> str:
    """An async flow."""
    await asyncio.sleep(seconds)
    return "waited"


@flow(name="plain-tasks")
def several() -> tuple[State[int], State[int]]:
    """Two states, one of them failed."""
    return refused(1, return_state=True), scored_well(return_state=True)


@task
def scored_well() -> int:
    """A task that completes."""
    return 1


@flow(name="plain-state")
def says(kind: str, message: str = "") -> State[Any]:
    """A state of its own."""
    kinds = {"completed": Completed, "failed": Failed, "cancelled": Cancelled, "crashed": Crashed}
    return kinds[kind](message=message)


@flow(name="plain-raises")
def raises(unless: str = "") -> str:
    """An exception whose text has lines and marks of Markdown, until a file exists."""
    if unless and Path(unless).exists():
        return "well"
    raise ValueError("no model for Rome\n| see the registry")


@flow(name="plain-dies")
def dies(once: str = "") -> str:
    """The process ends without a word; once, if a file is given."""
    if once and not Path(once).exists():
        return "well"
    if once:
        Path(once).unlink()
    os._exit(3)


@flow(name="plain-flaky", retries=2, retry_delay_seconds=2)
def flaky(marks: str, good_try: int = 3) -> str:
    """Tried again by Prefect itself, in the same process."""
    file = Path(marks)
    tries = len(file.read_text().split()) + 1 if file.exists() else 1
    with file.open("a") as lines:
        lines.write(f"{os.getpid()}\n")
    if tries < good_try:
        raise ConnectionError(f"try {tries} found nobody")
    return f"try {tries} did it"


@flow(name="plain-slow", timeout_seconds=1)
def slow() -> None:
    """A flow with a timeout of its own."""
    time.sleep(30)


@flow(name="plain-holds")
def holds(started: str, until: str) -> str:
    """Works until a file exists."""
    Path(started).touch()
    while not Path(until).exists():
        time.sleep(0.1)
    return "let go"


@flow(name="plain-pauses")
def pauses(seconds: int = 60, *, suspended: bool = False) -> str:
    """Paused, or suspended, by itself until a person resumes it."""
    if suspended:
        suspend_flow_run(timeout=seconds)
    else:
        pause_flow_run(timeout=seconds, poll_interval=1)
    return "resumed"
