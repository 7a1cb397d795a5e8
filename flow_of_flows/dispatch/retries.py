"""Whether a failed attempt is followed by another one, and how: attempts and policy in, the next attempt out. Pure.

Attempts are counted from what the API returns, so that a parent that was started again decides as it would have before.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pydantic import JsonValue

from flow_of_flows.errors import Cause
from flow_of_flows.limits import EVIDENCE_WAIT, NEXT_ATTEMPT_NOTICE
from flow_of_flows.runs.causes import AttemptChange, rule
from flow_of_flows.runs.outcome import Attempt
from flow_of_flows.runs.resume import Start
from flow_of_flows.settings import Settings


@dataclass(frozen=True, kw_only=True)
class RetryLimits:
    """How far a pipeline goes for one child.

    Attributes:
        pending: time from Pending until a child that does not start is cancelled.
        memory_max: what memory is raised to at most.
        nodes: job variables of an attempt that is to run on other nodes.
        pause_factor: factor of the pauses before further attempts.
    """

    pending: timedelta = timedelta(minutes=15)
    memory_max: str = "16Gi"
    nodes: Mapping[str, JsonValue] = field(default_factory=dict)
    pause_factor: float = 1.0

    @classmethod
    def of(cls, settings: Settings) -> RetryLimits:
        """Return the limits of this installation."""
        return cls(
            pending=timedelta(seconds=settings.deadlines.pending),
            memory_max=settings.retry.memory_max,
            nodes=settings.retry.nodes,
            pause_factor=settings.retry.pause_factor,
        )


@dataclass(frozen=True)
class NextAttempt:
    """Another attempt.

    Attributes:
        start: its number, and the attempt that it continues.
        pause: seconds after the end of that one.
        job_variables: all that are its own.
    """

    start: Start
    pause: float
    job_variables: Mapping[str, JsonValue]


def again(attempts: Sequence[Attempt], effective: Mapping[str, JsonValue], limits: RetryLimits) -> NextAttempt | None:
    """Return the next attempt, or None where the attempts are used up.

    Args:
        attempts: those of this generation, oldest first; none completed.
        effective: job variables that the last one ran with, defaults included; only for `AttemptChange.MEMORY`.
        limits: of this installation.
    """
    last = attempts[-1]
    row = rule(last.cause)
    count = sum(attempt.cause is last.cause for attempt in attempts)
    if count > row.retries or not last.child.is_final:
        return None
    change: Mapping[str, JsonValue] | None = {}
    match row.change:
        case AttemptChange.MEMORY:
            change = doubled(effective, limits.memory_max)
        case AttemptChange.NODES:
            change = limits.nodes
    if change is None:
        return None
    start = Start(last.child.attempt + 1, continues=last.child)
    return NextAttempt(start, limits.pause_factor * row.pause(count), {**last.child.job_variables, **change})


def tried(attempts: Sequence[Attempt], effective: Mapping[str, JsonValue], limits: RetryLimits) -> str:
    """Return what was tried, for a step that has failed for good; empty for a single attempt with nothing to add.

    Args:
        attempts: those of this generation, oldest first.
        effective: job variables that the last one ran with.
        limits: of this installation.
    """
    last, count = attempts[-1], len(attempts)
    parts = [f"attempt {count} of {count}"] if count > 1 else []
    if last.cause is Cause.OUT_OF_MEMORY and (had := limit(effective)):
        at_most = (size(had) or 0) >= (size(limits.memory_max) or 0)
        parts.append(f"out of memory at {had}" + (", which is FLOWS_RETRY_MEMORY_MAX" if at_most else ""))
    return "; ".join(parts)


def is_expected(causes: Sequence[Cause], ended: datetime, now: datetime, *, pause_factor: float = 1.0) -> bool:
    """Return whether another attempt can be expected, by the causes of those so far and the time alone.

    Args:
        causes: of the attempts of this generation, oldest first, as far as they are known.
        ended: when the last one did.
        now: the time.
        pause_factor: factor of the pauses before further attempts.
    """
    row, count = rule(causes[-1]), causes.count(causes[-1])
    pause = timedelta(seconds=pause_factor * row.pause(count))
    return count <= row.retries and now < ended + EVIDENCE_WAIT + 1.2 * pause + NEXT_ATTEMPT_NOTICE


REQUEST, LIMIT = "memory_request", "memory_limit"
UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
QUANTITY = re.compile(r"^(\d+(?:\.\d+)?)(|k|M|G|T|Ki|Mi|Gi|Ti)$")


def size(quantity: object) -> int | None:
    """Return the bytes of a Kubernetes quantity; None for anything else."""
    found = QUANTITY.match(str(quantity))
    return round(float(found[1]) * UNITS[found[2]]) if found else None


def limit(variables: Mapping[str, JsonValue]) -> str:
    """Return the memory limit of an attempt as it was written; empty without a limit."""
    return str(variables.get(LIMIT) or "")


def doubled(variables: Mapping[str, JsonValue], most: str) -> dict[str, JsonValue] | None:
    """Return request and limit twice as large, as far as `most` allows; None if nothing can be raised.

    Args:
        variables: what the attempt before had.
        most: largest quantity.
    """
    bound, now = size(most) or 0, size(variables.get(LIMIT))
    if now is None or now >= bound:
        return None
    requested = size(variables.get(REQUEST))
    more: dict[str, JsonValue] = {LIMIT: quantity(min(2 * now, bound))}
    return more | ({REQUEST: quantity(min(2 * requested, bound))} if requested else {})


def quantity(size: int) -> str:
    """Return bytes in the largest unit in which they are a whole number."""
    unit = next(unit for unit in ("Gi", "Mi", "Ki", "") if size % UNITS[unit] == 0)
    return f"{size // UNITS[unit]}{unit}"
