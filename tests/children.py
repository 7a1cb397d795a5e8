"""Children and pipelines for the tests of dispatch; registered by tests/prefect.yaml."""

from __future__ import annotations

import os
import signal
from datetime import timedelta
from pathlib import Path
from typing import Any

from prefect import Flow

from flow_of_flows.child_flow import child
from flow_of_flows.child_report import ChildReport
from flow_of_flows.dispatch.flow import parent
from flow_of_flows.dispatch.pipeline import Pipeline, Step
from flow_of_flows.errors import DataError
from flow_of_flows.runs.outcome import Policy
from tests.conditions import eventually


@child("work")
def work(
    *,
    fail_if: str = "",
    crash_if: str = "",
    crash_once: str = "",
    await_file: str = "",
    touch: str = "",
    note: str = "",
    show: str = "",
    retry_of: str = "",
) -> ChildReport:
    """A child that files control.

    Args:
        fail_if: fail if this file exists.
        crash_if: kill the own process if this file exists.
        crash_once: the same, and remove the file before.
        await_file: go on when this file exists.
        touch: make this file at once.
        note: add a line to this file, which tells how often the work was begun.
        show: report the value of this environment variable.
        retry_of: the attempt before.
    """
    if touch:
        Path(touch).touch()
    if note:
        with Path(note).open("a") as file:
            file.write(f"{os.getpid()}\n")
    if crash_if and Path(crash_if).exists():
        os.kill(os.getpid(), signal.SIGKILL)
    if crash_once and Path(crash_once).exists():
        Path(crash_once).unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    if await_file:
        eventually(Path(await_file).exists, f"{await_file} appears")
    if fail_if and Path(fail_if).exists():
        raise DataError("A row is bad", location="orders.csv, line 7", hint="correct the row")
    return ChildReport(
        summary="did its work", facts={"shown": os.environ.get(show, ""), "retry_of": retry_of, "pid": os.getpid()}
    )


@child("broken")
def broken() -> ChildReport:
    """A child with a mistake in its code."""
    raise ZeroDivisionError("nothing divides by zero")


def _step(name: str, *after: str, **more: Any) -> Step:
    return Step(name=name, deployment="work/work", after=after, **more)


DIAMOND = Pipeline(
    "diamond",
    (
        _step("left", continues="retry_of"),
        _step("right", continues="retry_of"),
        _step("join", "left", "right"),
        _step("alone"),
    ),
)
LENIENT = Pipeline("lenient", (_step("optional", policy=Policy.WARN), _step("after", "optional")))
HASTY = Pipeline("hasty", (_step("slow", timeout=timedelta(seconds=3)), _step("after", "slow")))
OUTER = Pipeline(
    "outer",
    (Step(name="diamond", pipeline=DIAMOND, continues="resume_from"), _step("last", "diamond")),
)
HASTY_OUTER = Pipeline("hasty_outer", (Step(name="lenient", pipeline=LENIENT, timeout=timedelta(seconds=15)),))
QUEUED = Pipeline("queued", (_step("load"), _step("build", "load")), overlap="wait")
ALONE = Pipeline("alone", (_step("load"), _step("build", "load")), overlap="skip")
MISTAKEN = Pipeline("mistaken", (Step(name="nowhere"), Step(name="broken")))
FIFTY = Pipeline("fifty", tuple(_step(f"n{number:02}") for number in range(50)))

SPARSE = Pipeline(
    "sparse", (_step("absent", without=lambda _settings: "no source is configured"), _step("after", "absent"))
)

diamond: Flow[..., Any] = parent(DIAMOND)
lenient: Flow[..., Any] = parent(LENIENT)
hasty: Flow[..., Any] = parent(HASTY)
outer: Flow[..., Any] = parent(OUTER)
hasty_outer: Flow[..., Any] = parent(HASTY_OUTER)
queued: Flow[..., Any] = parent(QUEUED)
alone: Flow[..., Any] = parent(ALONE)
mistaken: Flow[..., Any] = parent(MISTAKEN)
fifty: Flow[..., Any] = parent(FIFTY)
sparse: Flow[..., Any] = parent(SPARSE)
