"""Shows a running pipeline in the terminal: observed answers in, a live table or lines out. Called by the commands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from flows.dispatch.outcome import Outcome, StepState
from flows.report.answers import Answer
from flows.report.course import clock

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
Nested = Mapping[str, Answer]


class Progress:
    """A table that is redrawn on a terminal, one line per change elsewhere (a CI log, a pipe)."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        self._shown: dict[str, str] = {}
        self._note = ""

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def show(self, answer: Answer, nested: Nested, *, now: datetime | None = None) -> None:
        """Show how the run stands; why it does not go on is printed once."""
        if answer.note and answer.note != self._note:
            self._console.print(answer.note, style="yellow", highlight=False, soft_wrap=True)
        self._note = answer.note
        if self._live:
            self._live.update(table(answer, nested, now=now or datetime.now(UTC)), refresh=True)
            return
        for name, outcome in _flat(answer, nested):
            line = f"{name.strip()}: {describe(outcome)}"
            if self._shown.get(name) != line and outcome.state is not StepState.WAITING:
                self._console.print(line, style=STYLES[outcome.state], highlight=False, soft_wrap=True)
            self._shown[name] = line


def table(answer: Answer, nested: Nested, *, now: datetime) -> Group:
    """The steps of a run with their states and times, below its name."""
    # Not the table's own title, which would be folded to its width.
    title = Text(f"{answer.pipeline}: {answer.verdict} ({answer.name})", "bold")
    drawn = Table(box=None)
    for column in ("step", "state", "time", ""):
        drawn.add_column(column, no_wrap=column != "")
    for name, outcome in _flat(answer, nested):
        style = STYLES[outcome.state]
        drawn.add_row(name, Text(describe(outcome), style), _time(outcome, now), Text(_note(outcome), "dim"))
    return Group(title, drawn)


def describe(outcome: Outcome) -> str:
    """The state of a step in a few words."""
    cause = f" ({outcome.cause})" if outcome.cause and outcome.state in SAID else ""
    held = f", held up by {', '.join(outcome.held_up_by)}" if outcome.held_up_by else ""
    attempt = f", attempt {outcome.child.attempt}" if outcome.child and outcome.child.attempt > 1 else ""
    return f"{outcome.state}{cause}{held}{attempt}"


def _flat(answer: Answer, nested: Nested) -> Iterator[tuple[str, Outcome]]:
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
    return " ".join(text.split())[:100]
