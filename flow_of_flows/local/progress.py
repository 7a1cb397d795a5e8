"""Shows a running pipeline in the terminal: changes and answers in, a live table or lines out."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import Enum
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from flow_of_flows.child_report import WAITING_FOR_SCHEMA
from flow_of_flows.messages import one_line
from flow_of_flows.runs.outcome import Outcome, StepState
from flow_of_flows.summary.run_summary import RunSummary, clock

STYLES: Mapping[StepState, str] = {
    StepState.COMPLETED: "green",
    StepState.FAILED: "bold red",
    StepState.NOT_RUN: "red",
    StepState.LEFT_OUT: "dim",
    StepState.RUNNING: "cyan",
    StepState.WAITING: "dim",
    StepState.RETRYING: "yellow",
}
# States that say their cause.
SAID = (StepState.FAILED, StepState.RETRYING)
# A nested pipeline's answer by the name of its step.
Nested = Mapping[str, RunSummary]
# States that every run passes through; a run that starts at once passes them too quickly to be worth a line.
USUAL = ("", "Scheduled", "AwaitingRetry", "Pending", "Submitting", "Running")


class RunProgress:
    """A table that is redrawn on a terminal, one line per change elsewhere (a CI log, a pipe).

    Args:
        console: where to print.
        every_state: print a line for each state of the run, usual ones included.
    """

    def __init__(self, console: Console, *, every_state: bool = False) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        self._shown: dict[str, str] = {}
        self._every_state = every_state
        self._state = self._hint = self._note = ""
        self._last: tuple[RunSummary, Nested] | None = None

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def show(self, answer: RunSummary, nested: Nested, *, now: datetime | None = None) -> None:
        """Show how the run stands; why it does not go on is printed once.

        Args:
            answer: summary of the run.
            nested: summaries of the pipelines within it.
            now: the time; that of this machine without it.
        """
        if answer.note and answer.note != self._note:
            self._console.print(answer.note, style="yellow", highlight=False, soft_wrap=True, markup=False)
        self._note = answer.note
        self._last = answer, nested
        if self._live:
            drawn = table(answer, nested, now=now or datetime.now(UTC))
            self._live.update(Group(drawn, Text(self._hint, "yellow")) if self._hint else drawn, refresh=True)
            return
        self._show_state(answer)
        # A child's own run has its state said already.
        unsaid = (StepState.WAITING,) if answer.is_pipeline else (StepState.WAITING, StepState.RUNNING)
        for name, outcome in _flat(answer, nested):
            line = f"{name.strip()}: {describe(outcome)}"
            if self._shown.get(name) != line and outcome.state not in unsaid:
                self._console.print(line, style=STYLES[outcome.state], highlight=False, soft_wrap=True)
            self._shown[name] = line

    def redraw(self) -> None:
        """Bring the times of the table up to date."""
        if self._live and self._last:
            self.show(*self._last)

    def hint(self, text: str) -> None:
        """Show a sentence about the run until another one replaces it; an empty one removes it."""
        if text and text != self._hint and not self._live:
            self._console.print(text, style="yellow", highlight=False, soft_wrap=True, markup=False)
        self._hint = text
        self.redraw()

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Remove the table from the terminal until the block ends, for a question."""
        if self._live:
            self._live.stop()
        yield
        if self._live:
            self._live.start()

    def _show_state(self, answer: RunSummary) -> None:
        if answer.verdict.is_over or answer.state == self._state:
            return
        if answer.note:
            # It names the state.
            self._state = answer.state
        elif self._every_state or self._state or answer.state not in USUAL:
            self._console.print(f"{answer.pipeline}: {answer.state}", highlight=False, soft_wrap=True)
            self._state = answer.state


def table(answer: RunSummary, nested: Nested, *, now: datetime) -> Group:
    """Return the steps of a run with their states and times, below its name.

    Args:
        answer: summary of the run.
        nested: summaries of the pipelines within it.
        now: the time.
    """
    # Not the table's own title, which would be folded to its width.
    state = answer.verdict if answer.state in ("", "Running") or answer.verdict.is_over else answer.state
    title = Text(f"{answer.pipeline}: {state} ({answer.name})", "bold")
    drawn = Table(box=None)
    for column in ("step", "state", "time", ""):
        drawn.add_column(column, no_wrap=column != "")
    for name, outcome in _flat(answer, nested):
        style = STYLES[outcome.state]
        drawn.add_row(name, Text(describe(outcome), style), _time(outcome, now), Text(_note(outcome), "dim"))
    return Group(title, drawn)


def describe(outcome: Outcome) -> str:
    """Return the state of a step in a few words."""
    cause = f" ({outcome.cause})" if outcome.cause and outcome.state in SAID else ""
    held = f", held up by {', '.join(outcome.held_up_by)}" if outcome.held_up_by else ""
    attempt = f", attempt {outcome.child.attempt}" if outcome.child and outcome.child.attempt > 1 else ""
    child = outcome.child
    waiting = f": {child.message}" if child and child.state_name == WAITING_FOR_SCHEMA else ""
    return f"{outcome.state}{cause}{held}{attempt}{waiting}"


def _flat(answer: RunSummary, nested: Nested) -> Iterator[tuple[str, Outcome]]:
    for outcome in answer.outcomes:
        yield outcome.step, outcome
        if inner := nested.get(outcome.step):
            for below in inner.outcomes:
                yield f"  {outcome.step}/{below.step}", below


def _time(outcome: Outcome, now: datetime) -> str:
    child = outcome.child
    if child is None or child.started is None:
        return ""
    return clock((child.ended or now) - child.started)


def _note(outcome: Outcome) -> str:
    text = outcome.report.summary if outcome.report else outcome.message
    return one_line(text)[:100]


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
