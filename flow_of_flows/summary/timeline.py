"""The course of a run: outcomes in, a table of the steps and a timeline out. Pure; a part of the answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from uuid import UUID

from flow_of_flows.runs.outcome import ChildRun, Outcome

TIMELINE_WIDTH = 40


def steps_table(outcomes: Iterable[Outcome], links: Mapping[UUID, str]) -> str:
    """One row per attempt of a step: state, start (UTC), duration, child run."""
    rows = ["| step | state | started (UTC) | took | attempt | child run |", "|---|---|---|---|---|---|"]
    for outcome in outcomes:
        rows += [_row(outcome.step, f"lost: {one.cause}", one.child, links) for one in outcome.earlier]
        state = (
            str(outcome.state)
            + (f": {outcome.cause}" if outcome.cause else "")
            + (" (reused)" if outcome.reused else "")
        )
        rows.append(_row(outcome.step, state, outcome.child, links))
    return "\n".join(rows)


def _row(step: str, state: str, child: ChildRun | None, links: Mapping[UUID, str]) -> str:
    started = child.started.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S") if child and child.started else ""
    took = clock(child.ended - child.started) if child and child.started and child.ended else ""
    attempt = str(child.attempt) if child else ""
    return f"| {step} | {state} | {started} | {took} | {attempt} | {link(child, links)} |"


def timeline(outcomes: Iterable[Outcome]) -> str:
    """The steps as bars over time, each attempt a bar; empty when nothing ran."""
    runs = [
        (o.step, child)
        for o in outcomes
        for child in (*(one.child for one in o.earlier), *([o.child] if o.child and not o.reused else []))
    ]
    spans = [(step, child.started, child.ended) for step, child in runs if child.started and child.ended]
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


def link(child: ChildRun | None, links: Mapping[UUID, str]) -> str:
    """A child run as a link where its address is known, else its name and id; empty without a child."""
    if child is None:
        return ""
    url = links.get(child.id)
    return f"[{child.name}]({url})" if url else f"{child.name} (`{child.id}`)"


def clock(span: timedelta) -> str:
    """A duration as m:ss or h:mm:ss."""
    seconds = round(span.total_seconds())
    hours, rest = divmod(seconds, 3600)
    minutes, seconds = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
