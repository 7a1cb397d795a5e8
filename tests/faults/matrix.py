"""What a row of the matrix is: a fault, a promise, and what came of it. Pure; rows are collected by `row`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING
from uuid import UUID

if TYPE_CHECKING:
    from tests.faults.case import Case


class Lane(StrEnum):
    """Which rows may run at the same time."""

    PODS = "pods"  # each breaks only its own run
    DBT = "dbt"  # one at a time in the warehouse
    PARTS = "parts"  # breaks a part of the second release, one at a time
    LONG = "long"  # breaks a part of the third release for minutes, one at a time
    NODE = "node"  # breaks what all share: after everything else


@dataclass(frozen=True)
class Promise:
    """How a row has to end, exactly.

    Attributes:
        words: the same as a sentence.
        state: name of the state that the run ends in.
        message: of that state; empty where it is not part of the promise.
        children: state name of every child by `step/attempt`.
        attempts: how often what was struck began: the run itself, or the step `struck`.
        struck: a step, where that is what the fault hits.
        starts: how often children of the row began to work.
        cause: what the answers or the state say that it was; empty where it is not part of the promise.
    """

    words: str
    state: str
    message: str = ""
    children: Mapping[str, str] = field(default_factory=dict)
    attempts: int = 1
    struck: str = ""
    starts: int = 0
    cause: str = ""


@dataclass(frozen=True)
class Row:
    """One fault.

    Attributes:
        break_it: does it, and returns the run whose end is promised.
        within: seconds from the fault to the promised end.
        builds: whether dbt runs in it, alone in its release.
    """

    name: str
    fault: str
    promise: Promise
    break_it: Callable[[Case], UUID]
    lane: Lane = Lane.PODS
    fast: bool = False
    within: float = 180
    builds: bool = False


@dataclass(frozen=True)
class Columns:
    """What is measured of a row; None where it was not seen."""

    detected: float | None = None
    ended: float | None = None
    attempts: int | None = None
    rebuilt: int | None = None
    doubled: int | None = None
    pods: int | None = None
    slots: int | None = None


@dataclass(frozen=True)
class Result:
    """What came of one row.

    Attributes:
        ended: name and message of the state the run ended in.
        problems: what differs from the promise, one sentence each.
    """

    row: Row
    repeat: int
    ended: str
    columns: Columns
    problems: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether all of the promise was kept."""
        return not self.problems


ROWS: dict[str, Row] = {}


def row(
    name: str,
    fault: str,
    promise: Promise,
    *,
    lane: Lane = Lane.PODS,
    fast: bool = False,
    within: float = 180,
    builds: bool = False,
) -> Callable[[Callable[[Case], UUID]], Callable[[Case], UUID]]:
    """Add a row; the decorated function breaks something and returns the run."""

    def add(break_it: Callable[[Case], UUID]) -> Callable[[Case], UUID]:
        if name in ROWS:
            raise ValueError(f"two rows are called {name}")
        ROWS[name] = Row(name, fault, promise, break_it, lane, fast, within, builds or lane is Lane.DBT)
        return break_it

    return add


def chosen(text: str) -> list[Row]:
    """The rows that `FAULTS` names: `all`, `fast`, or names with commas between.

    Raises:
        ValueError: there is no such row.
    """
    if text == "all":
        return list(ROWS.values())
    if text == "fast":
        return [row for row in ROWS.values() if row.fast]
    names = [name.strip() for name in text.split(",") if name.strip()]
    if unknown := [name for name in names if name not in ROWS]:
        raise ValueError(f"no fault is called {', '.join(unknown)}; there are all, fast, {', '.join(ROWS)}")
    return [ROWS[name] for name in names]


def differences(row: Row, seen: Promise, columns: Columns) -> Iterable[str]:
    """What was seen instead of what was promised, one sentence each."""
    promise = row.promise
    if columns.ended is None or columns.ended > row.within:
        yield f"ended after {columns.ended} s instead of within {row.within:g} s"
    if seen.state != promise.state:
        yield f"ended {seen.state} ({seen.message}) instead of {promise.state}"
    elif promise.message and seen.message != promise.message:
        yield f"said {seen.message!r} instead of {promise.message!r}"
    if seen.children != promise.children:
        yield f"children {_listed(seen.children)} instead of {_listed(promise.children)}"
    if columns.attempts != promise.attempts:
        yield f"{columns.attempts} attempts instead of {promise.attempts}"
    if seen.starts != promise.starts:
        yield f"children began {seen.starts} times instead of {promise.starts}"
    if seen.cause != promise.cause:
        yield f"the cause is {seen.cause or 'not said'} instead of {promise.cause}"
    nothing = {
        "models rebuilt twice": columns.rebuilt,
        "rows doubled": columns.doubled,
        "pods left": columns.pods,
        "slots held": columns.slots,
    }
    yield from (f"{count} {what}" for what, count in nothing.items() if count)


def _listed(children: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {state}" for name, state in sorted(children.items())) or "none"
