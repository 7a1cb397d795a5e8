"""Messages as a person reads them: plain, and no longer than a screen."""

from __future__ import annotations

import logging

import pytest
from prefect.exceptions import FailedRun

from flow_of_flows.errors import ConfigurationError
from flow_of_flows.messages import SCREEN, did_you_mean, plain, shortened
from flow_of_flows.output import into_run_log


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[\x1b[33mWARNING\x1b[0m]: late", "[WARNING]: late"),
        ("\x1b[1;38;5;208mbold\x1b[m", "bold"),
        ("\x1b]8;;https://example.com\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]0;title\x07text", "text"),
        ("a\x1b[2K\x1b[1Ab", "ab"),
        ("\x9b31mred", "red"),
        ("bell\x07, null\x00, backspace\x08, delete\x7f", "bell, null, backspace, delete"),
        ("two\nlines\tand é → 😀", "two\nlines\tand é → 😀"),
    ],
)
def test_plain_text_has_nothing_for_a_terminal(text: str, expected: str) -> None:
    """Colours, cursor moves, links and control characters go; line ends, tabs and letters stay."""
    assert plain(text) == expected


def test_short_text_stays_and_a_long_one_says_how_much_is_missing() -> None:
    """The number of missing characters is exact, and the place of the rest is named."""
    assert shortened("x" * SCREEN) == "x" * SCREEN
    assert shortened("x" * 3_000, 10) == "xxxxxxxxxx… (2,990 more characters)"
    assert shortened("x" * 11, 10, rest="in the log") == "xxxxxxxxxx… (1 more characters in the log)"


def test_error_is_cut_for_a_terminal_and_keeps_what_to_do() -> None:
    """What happened is cut to a screen; the whole text stays in the error."""
    error = ConfigurationError("\x1b[31m" + "row " * 1_000, location="here", hint="mend it")

    assert len(error.message) == 4_000
    assert error.short == "row " * 374 + "row… (2,514 more characters) Next: mend it."
    assert str(error).endswith("Where: here. Next: mend it.")


@pytest.mark.parametrize(("error", "kept"), [(FailedRun("1 of 2 dbt nodes failed"), False), (KeyError("a"), True)])
def test_failed_state_leaves_no_traceback_in_the_log(
    monkeypatch: pytest.MonkeyPatch, error: Exception, *, kept: bool
) -> None:
    """Prefect raises where a flow returns a failed state; its traceback says nothing that the state does not."""
    for name, value in (("handlers", []), ("level", logging.NOTSET), ("propagate", True)):
        monkeypatch.setattr(logging.getLogger("flow_of_flows"), name, value)
    into_run_log()
    text, raised = "Engine execution exited with unexpected exception", (type(error), error, None)
    record = logging.LogRecord("prefect.flow_runs", logging.ERROR, __file__, 1, text, (), raised)

    assert bool(logging.getLogger("prefect.flow_runs").filter(record)) is kept


def test_a_misspelt_name_is_asked_about_and_another_is_not() -> None:
    """The question begins a hint; without a similar name the hint is as it was."""
    known = ("daily-pipeline", "weekly-full-refresh")
    assert did_you_mean("daily-pipline", known) == "did you mean daily-pipeline? "
    assert did_you_mean("smoke", known) == ""
