"""The course of a run: outcomes in, a table of the steps and a timeline out. Pure; a part of the answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from uuid import UUID

from flows.dispatch.outcome import Outcome

TIMELINE_WIDTH = 40


def steps_table(outcomes: Iterable[Outcome], links: Mapping[UUID, str]) -> str:
    """One row per step: state, start (UTC), duration, child run."""
    rows = ["| step | state | started (UTC) | took | attempt | child run |", "|---|---|---|---|---|---|"]
    for outcome in outcomes:
        child = outcome.child
        state = (
            str(outcome.state)
            + (f": {outcome.cause}" if outcome.cause else "")
            + (" (reused)" if outcome.reused else "")
        )
        started = child.started.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S") if child and child.started else ""
        took = clock(child.ended - child.started) if child and child.started and child.ended else ""
        attempt = str(child.attempt) if child else ""
        rows.append(f"| {outcome.step} | {state} | {started} | {took} | {attempt} | {link(outcome, links)} |")
    return "\n".join(rows)


def timeline(outcomes: Iterable[Outcome]) -> str:
    """The steps as bars over time; empty when nothing ran."""
    spans = [
        (o.step, o.child.started, o.child.ended)
        for o in outcomes
        if o.child and o.child.started and o.child.ended and not o.reused
    ]
    if not spans:
        return ""
    begin, end = min(span[1] for span in spans), max(span[2] for span in spans)
    total = max((end - begin).total_seconds(), 0.001)
    width = max(len(span[0]) for span in spans)
    return "\n".join(
        f"{name:<{width}}  {_bar(started - begin, ended - begin, total)}  {clock(ended - started)}"
        for name, started, ended in sorted(spans, key=_started)
    )


def _started(span: tuple[str, datetime, datetime]) -> datetime:
    return span[1]


# ASCII, because the blocks of a browser's monospaced font are not as wide as its letters.
def _bar(start: timedelta, end: timedelta, total: float) -> str:
    left = round(start.total_seconds() / total * (TIMELINE_WIDTH - 1))
    size = max(1, round((end - start).total_seconds() / total * TIMELINE_WIDTH))
    return ("." * left + "#" * size).ljust(TIMELINE_WIDTH, ".")[:TIMELINE_WIDTH]


def link(outcome: Outcome, links: Mapping[UUID, str]) -> str:
    """A child run as a link where its address is known, else its name and id; empty without a child."""
    if outcome.child is None:
        return ""
    url = links.get(outcome.child.id)
    return f"[{outcome.child.name}]({url})" if url else f"{outcome.child.name} (`{outcome.child.id}`)"


def clock(span: timedelta) -> str:
    """A duration as m:ss or h:mm:ss."""
    seconds = round(span.total_seconds())
    hours, rest = divmod(seconds, 3600)
    minutes, seconds = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
