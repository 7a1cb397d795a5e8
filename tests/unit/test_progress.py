"""A running pipeline in the terminal: the exact text of table and lines."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from prefect.client.schemas.objects import StateType
from rich.console import Console

from flow_of_flows.child_report import ChildReport
from flow_of_flows.errors import Cause
from flow_of_flows.local.progress import STYLES, RunProgress, describe, table
from flow_of_flows.runs.outcome import Outcome, StepState, Verdict
from flow_of_flows.summary.run_summary import RunSummary
from tests.child_runs import SIX, child_run

RUN = UUID("00000000-0000-4000-8000-00000000000c")
NOW = SIX + timedelta(seconds=95)
STAGING = Outcome("staging", StepState.RUNNING, child=child_run("staging", StateType.RUNNING), message="Running")
BAD = Outcome(
    "raw-orders",
    StepState.FAILED,
    Cause.DATA,
    child=child_run("raw-orders", StateType.FAILED, attempt=2, begin=5, seconds=30),
    report=ChildReport(summary="A row is bad. Where:\n orders.csv, " + "line 7, " * 20),
)
GOOD = Outcome("raw-customers", StepState.COMPLETED, child=child_run("raw-customers"), message="100 rows")
HELD = Outcome("build", StepState.NOT_RUN, Cause.UPSTREAM, held_up_by=("staging",))
WAITING = Outcome("serve", StepState.WAITING)


def answer(*outcomes: Outcome, name: str = "shop") -> RunSummary:
    """A run that is going on."""
    return RunSummary(name, RUN, "keen-owl", Verdict.RUNNING, outcomes)


def console(width: int = 140) -> Console:
    """A console that is not a terminal and keeps what is printed."""
    return Console(record=True, width=width, file=io.StringIO(), force_terminal=False)


def lines(text: str) -> list[str]:
    """Lines without the blanks that fill a table's width."""
    return [line.rstrip() for line in text.splitlines()]


def test_table_shows_every_step_and_those_of_a_pipeline_within() -> None:
    """State, time so far or in all, and the newest word of the child, shortened."""
    printed = console(170)
    printed.print(table(answer(STAGING, HELD, WAITING), {"staging": answer(GOOD, BAD)}, now=NOW))
    assert lines(printed.export_text()) == [
        "shop: running (keen-owl)",
        " step                     state                        time",
        " staging                  running                      1:35  Running",
        "   staging/raw-customers  completed                    1:00  100 rows",
        (
            "   staging/raw-orders     failed (data), attempt 2     0:30  A row is bad. Where: orders.csv, "
            "line 7, line 7, line 7, line 7, line 7, line 7, line 7, line 7, lin"
        ),
        " build                    not run, held up by staging",
        " serve                    waiting",
    ]


def test_lines_tell_each_change_once() -> None:
    """For a CI log: nothing for what waits, and nothing for what stays as it was."""
    printed = console()
    with RunProgress(printed) as progress:
        progress.show(answer(STAGING, WAITING), {"staging": answer(WAITING)})
        progress.show(answer(STAGING, WAITING), {"staging": answer(GOOD)})
        progress.show(answer(STAGING, WAITING), {"staging": answer(GOOD)})
        progress.show(answer(STAGING, HELD), {"staging": answer(GOOD, BAD)})
    assert lines(printed.export_text()) == [
        "staging: running",
        "staging/raw-customers: completed",
        "staging/raw-orders: failed (data), attempt 2",
        "build: not run, held up by staging",
    ]


def test_a_terminal_gets_a_live_table_that_goes_away_at_the_end() -> None:
    """The answers take its place."""
    screen = io.StringIO()
    terminal = Console(file=screen, width=100, force_terminal=True, legacy_windows=False, color_system=None)
    with RunProgress(terminal) as progress:
        progress.show(answer(STAGING), {}, now=NOW)
        assert lines(screen.getvalue())[-2:] == [" step     state    time", " staging  running  1:35  Running"]
    assert screen.getvalue().endswith("\x1b[1A\x1b[2K")


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (STAGING, "running"),
        (BAD, "failed (data), attempt 2"),
        (GOOD, "completed"),
        (HELD, "not run, held up by staging"),
        (WAITING, "waiting"),
        (Outcome("chart", StepState.LEFT_OUT), "left out"),
        (Outcome("load", StepState.FAILED), "failed"),
        (Outcome("load", StepState.RETRYING, Cause.CRASHED), "retrying (crashed)"),
        (Outcome("load", StepState.FAILED, Cause.ERROR), "failed (error)"),
    ],
)
def test_a_step_in_a_few_words(outcome: Outcome, words: str) -> None:
    """State, then cause or what held it up, then the attempt if it is not the first."""
    assert describe(outcome) == words


def test_every_state_has_a_style() -> None:
    """Completeness."""
    assert set(STYLES) == set(StepState)


def test_a_step_that_waits_for_a_schema_says_for_which_run() -> None:
    """In the words of its state."""
    message = "Waiting for run brisk-fox (dbt-build, started by me), which builds into analytics"
    child = replace(child_run("build", StateType.RUNNING), state_name="WaitingForSchema", message=message)
    outcome = Outcome("build", StepState.RUNNING, child=child)
    assert describe(outcome) == f"running: {message}"
