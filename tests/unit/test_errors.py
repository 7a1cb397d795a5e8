"""The errors somebody can act on: their sentences and their exit codes."""

from __future__ import annotations

import pytest

import flow_of_flows.errors
from flow_of_flows.child_report import Problem
from flow_of_flows.errors import Cause, ConfigurationError, DataError, ExitCode, FlowsError, PlatformError


@pytest.mark.parametrize(
    ("error", "fact", "text"),
    [
        (FlowsError("It broke"), "It broke.", "It broke."),
        (FlowsError("It broke.", location="a file"), "It broke. Where: a file.", "It broke. Where: a file."),
        (FlowsError("It broke", hint="mend it."), "It broke.", "It broke. Next: mend it."),
        (
            FlowsError("It broke", location="a file", hint="mend it"),
            "It broke. Where: a file.",
            "It broke. Where: a file. Next: mend it.",
        ),
    ],
)
def test_an_error_says_what_where_and_what_next(error: FlowsError, fact: str, text: str) -> None:
    """The fact is the part without advice, for a report that gives the advice its own place."""
    assert error.fact == fact
    assert str(error) == text


@pytest.mark.parametrize(
    ("family", "cause", "exit_code", "retryable"),
    [
        (FlowsError, Cause.ERROR, ExitCode.FAILED, False),
        (ConfigurationError, Cause.CONFIGURATION, ExitCode.CONFIGURATION, False),
        (DataError, Cause.DATA, ExitCode.FAILED, False),
        (PlatformError, Cause.PLATFORM, ExitCode.PLATFORM, True),
    ],
)
def test_a_family_has_a_cause_an_exit_code_and_says_whether_a_retry_may_help(
    family: type[FlowsError],
    cause: Cause,
    exit_code: int,
    retryable: bool,  # noqa: FBT001 - a column of the table
) -> None:
    """Who must act decides all three."""
    error = family("It broke")
    assert (error.cause, error.exit_code, error.retryable) == (cause, exit_code, retryable)


def test_a_cause_and_problems_of_its_own_are_kept() -> None:
    """For a dbt run: which nodes."""
    problem = Problem(name="model.orders", status="error", message="no such column")
    error = DataError("1 node failed", cause=Cause.DBT_NODES_FAILED, problems=(problem,))
    assert (error.cause, error.problems) == (Cause.DBT_NODES_FAILED, (problem,))


def test_the_tree_in_the_docstring_is_the_tree_of_the_classes() -> None:
    """Completeness: each family is drawn, with the first words of its own docstring."""
    drawn = [
        line.replace("├──", "").replace("└──", "").split(maxsplit=1)
        for line in (flow_of_flows.errors.__doc__ or "").splitlines()
        if "──" in line
    ]
    assert [name for name, _ in drawn] == [family.__name__ for family in FlowsError.__subclasses__()]
    for (_, meaning), family in zip(drawn, FlowsError.__subclasses__(), strict=True):
        assert meaning.split(" (")[0].lower().startswith(str(family.__doc__).split(":")[0].rstrip(".").lower())


def test_exit_codes_are_told_apart() -> None:
    """Scripts can rely on them."""
    assert {name: code for name, code in vars(ExitCode).items() if name.isupper()} == {
        "OK": 0,
        "FAILED": 1,
        "CONFIGURATION": 2,
        "PLATFORM": 3,
        "CANCELLED": 130,
    }


@pytest.mark.parametrize("cause", list(Cause))
def test_a_cause_that_is_said_in_a_state_message_is_found_there(cause: Cause) -> None:
    """Whoever writes the message and whoever reads it agree."""
    assert Cause.from_message(cause.prefix("because: of this")) is cause


@pytest.mark.parametrize("message", ["", "out-of-memory", "Timeout: no", "error in line 3: x"])
def test_another_message_says_no_cause(message: str) -> None:
    """Only a whole word of the enum before a colon counts."""
    assert Cause.from_message(message) is None
