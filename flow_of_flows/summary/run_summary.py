"""The summary of a pipeline run, as Markdown and as a child report. Pure.

One text for the Prefect UI and the terminal: what failed, when, why, what was not run, what to do next, and a timeline.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from flow_of_flows.child_report import ChildReport, Problem
from flow_of_flows.messages import one_line, shortened
from flow_of_flows.runs.causes import rule
from flow_of_flows.runs.outcome import ChildRun, Outcome, StepState, Verdict, sentence
from flow_of_flows.summary.result_table import ResultTable
from flow_of_flows.summary.terminal import PLAIN, Terminal

MOST_PROBLEMS = 20
REUSED = "What completed is reused; failed steps get a new attempt, and the steps behind them run."


@dataclass(frozen=True)
class RunSummary:
    """Everything that is known about one pipeline run.

    Attributes:
        restarts: how often it was started again because its own process or pod was lost.
        note: why a run that has not ended does not go on, and what makes it go on.
        state: name of the run's state, if the run was read from the API.
        is_pipeline: whether it has steps; a child's own run is its only outcome.
        result: the rows that a child's run is for.
    """

    pipeline: str
    run: UUID
    name: str
    verdict: Verdict
    outcomes: tuple[Outcome, ...]
    restarts: int = 0
    note: str = ""
    state: str = ""
    is_pipeline: bool = True
    result: ResultTable | None = None

    @property
    def runs(self) -> tuple[UUID, ...]:
        """Return the ids of the child runs."""
        return tuple(
            child.id
            for outcome in self.outcomes
            for child in (*(one.child for one in outcome.earlier), *([outcome.child] if outcome.child else []))
        )

    @property
    def failed(self) -> tuple[Outcome, ...]:
        """Return the steps that failed, whatever their policy."""
        return tuple(outcome for outcome in self.outcomes if outcome.state is StepState.FAILED)

    def report(self) -> ChildReport:
        """Return the child report of the pipeline, for a pipeline above it."""
        first = next((outcome for outcome in self.failed if outcome.holds_up), None)
        return ChildReport(
            summary=sentence(self.outcomes),
            cause=first.cause if first else None,
            todo=todo(first) if first else None,
            problems=tuple(
                Problem(name=outcome.step, status=str(outcome.cause), message=why(outcome)) for outcome in self.failed
            ),
            skipped=tuple(outcome.step for outcome in self.outcomes if outcome.state is StepState.NOT_RUN),
            warnings=tuple(warnings(self.outcomes)),
        )

    def markdown(self, links: Mapping[UUID, str], terminal: Terminal = PLAIN) -> str:
        """Return the summary as Markdown.

        Args:
            links: addresses of the child runs, as far as known.
            terminal: where the reader runs commands.
        """
        parts = [f"# {self.pipeline} {self.verdict}", f"{self._summary()}Run `{self.name}` (`{self.run}`)."]
        if self.note:
            parts.append(self.note)
        if self.restarts:
            times = f"{self.restarts} times" if self.restarts > 1 else "once"
            parts.append(
                f"The pipeline's own process or pod was lost {times}; its children went on, and it took them up."
            )
        parts += [_failure(outcome, links) for outcome in self.failed]
        parts += _section("Not run", [f"`{o.step}`: {_not_run_because(o)}" for o in self._in(StepState.NOT_RUN)])
        parts += _section(
            "Left out",
            [f"`{o.step}`: {o.message or 'by `only` or `skip` of this run'}" for o in self._in(StepState.LEFT_OUT)],
        )
        parts += _section("Warnings", list(warnings(self.outcomes)))
        if self.verdict not in (Verdict.COMPLETED, Verdict.RUNNING, Verdict.SUSPENDED, Verdict.SKIPPED):
            parts.append(self._rerun(terminal.command(f"flows resume {self.run}")))
        done = [f"`{o.step}`: {why(o)}" for o in self._in(StepState.COMPLETED) if o.report or o.message]
        parts += _section("What was done", done)
        if self.result is not None:
            parts.append(f"## Result\n\n{self.result.markdown()}")
        if not self.is_pipeline:
            return "\n\n".join(parts) + "\n"
        parts.append("## Steps\n\n" + steps_table(self.outcomes, links))
        if bars := timeline(self.outcomes):
            parts.append(f"## Timeline\n\n```text\n{bars}\n```")
        return "\n\n".join(parts) + "\n"

    def _in(self, state: StepState) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if outcome.state is state]

    def _summary(self) -> str:
        return f"{sentence(self.outcomes)}. " if self.is_pipeline else ""

    def _rerun(self, command: str) -> str:
        how = f"## What to rerun\n\nPress **Retry** on this run's page, or run\n\n```sh\n{command}\n```"
        if not self.is_pipeline:
            return how
        return (
            f"{how}\n\n{REUSED} To resume it as a new run (after an upgrade, say), start `{self.pipeline}` "
            f"with `resume_from` = `{self.run}`."
        )


def _failure(outcome: Outcome, links: Mapping[UUID, str]) -> str:
    when = (
        outcome.child.ended.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        if outcome.child and outcome.child.ended
        else "unknown"
    )
    lines = [f"## {outcome.step} failed: {outcome.cause}"]
    run = link(outcome.child, links) or "none was started"
    lines.append(f"- **When:** {when}\n- **Child run:** {run}\n- **Why:** {why(outcome)}")
    lines[-1] += f"\n- **Tried:** {outcome.tried}" if outcome.tried else ""
    if report := outcome.report:
        lines += _section(
            "", [f"`{p.name}` ({_status(p)}): {_line(p.message)}" for p in report.problems[:MOST_PROBLEMS]]
        )
        if more := len(report.problems) - MOST_PROBLEMS:
            lines += [f"… and {more} more, in the child run."] if more > 0 else []
        if report.skipped:
            lines.append(f"Skipped because of that: {_names(report.skipped[:MOST_PROBLEMS])}")
    lines.append(f"**What to do:** {todo(outcome)}")
    return "\n\n".join(lines)


def _status(problem: Problem) -> str:
    return f"{problem.status}, owner {problem.owner}" if problem.owner else problem.status


def _not_run_because(outcome: Outcome) -> str:
    return f"held up by {_names(outcome.held_up_by)}" if outcome.held_up_by else "the run ended before its turn"


def why(outcome: Outcome) -> str:
    """Return why a step did not complete, on one line."""
    return _line(outcome.report.summary if outcome.report else outcome.message) or "the child left no message"


def todo(outcome: Outcome) -> str:
    """Return what to do about a failed step."""
    if outcome.report and outcome.report.todo:
        return outcome.report.todo[0].upper() + outcome.report.todo[1:]
    return rule(outcome.cause).advice if outcome.cause else ""


def warnings(outcomes: Iterable[Outcome]) -> Iterable[str]:
    """Return the warnings of all steps, each with its step."""
    return (f"`{o.step}`: {_line(text)}" for o in outcomes if o.report for text in o.report.warnings)


def _section(title: str, items: list[str]) -> list[str]:
    if not items:
        return []
    body = "\n".join(f"- {item}" for item in items)
    return [f"## {title}\n\n{body}" if title else body]


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _line(text: str) -> str:
    """Return one line for a list item or a table cell, no longer than a screen."""
    return shortened(one_line(text.replace("|", "\\|")), rest="on the child run's page and in its log")


TIMELINE_WIDTH = 40


def steps_table(outcomes: Iterable[Outcome], links: Mapping[UUID, str]) -> str:
    """Return one row per attempt of a step: state, start (UTC), duration, child run.

    Args:
        outcomes: outcomes of the steps.
        links: known addresses of the child runs.
    """
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
    """Return the steps as bars over time, one bar per attempt; empty if nothing ran."""
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
    """Return a child run as a link if its address is known, else its name and id; empty without a child.

    Args:
        child: the child run.
        links: known addresses of the child runs.
    """
    if child is None:
        return ""
    url = links.get(child.id)
    return f"[{child.name}]({url})" if url else f"{child.name} (`{child.id}`)"


def clock(span: timedelta) -> str:
    """Return a duration as m:ss or h:mm:ss."""
    seconds = round(span.total_seconds())
    hours, rest = divmod(seconds, 3600)
    minutes, seconds = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
