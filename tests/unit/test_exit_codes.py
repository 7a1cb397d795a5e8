"""The exit code of a run that was followed to its end."""

from __future__ import annotations

from uuid import uuid4

import pytest

from flow_of_flows.cli.remote import CODES, exit_code
from flow_of_flows.errors import Cause
from flow_of_flows.runs.outcome import Outcome, StepState, Verdict
from flow_of_flows.summary.run_summary import RunSummary


@pytest.mark.parametrize(
    ("cause", "is_pipeline", "code"),
    [
        (Cause.CONFIGURATION, False, 2),
        (Cause.CONFIGURATION, True, 1),
        (Cause.DATA, False, 1),
        (Cause.PLATFORM, False, 1),
    ],
)
def test_a_child_that_was_given_bad_input_ends_with_2(cause: Cause, *, is_pipeline: bool, code: int) -> None:
    """As a refused word of the command line does; a pipeline has failed, whatever its steps say."""
    failed = Outcome("build", StepState.FAILED, cause)
    answer = RunSummary("build", uuid4(), "keen-owl", Verdict.FAILED, (failed,), is_pipeline=is_pipeline)
    assert exit_code(answer) == code


def test_every_verdict_has_an_exit_code() -> None:
    """A run that is followed ends with one."""
    assert set(CODES) == set(Verdict)
