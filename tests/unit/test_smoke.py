"""The smoke child with its checks: what the doctor finds from a child's own place."""

from __future__ import annotations

from pathlib import Path

import pytest
from prefect.client.schemas.objects import StateType

from flow_of_flows.child_report import ChildReport
from flow_of_flows.errors import Cause
from flow_of_flows.prefect_api import artifacts
from flow_of_flows.smoke import smoke


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch) -> list[ChildReport]:
    """What is reported."""
    monkeypatch.setattr("flow_of_flows.child_flow.into_run_log", lambda: None)
    handed_back: list[ChildReport] = []
    monkeypatch.setattr(artifacts, "child_report", handed_back.append)
    return handed_back


def test_without_checks_it_only_answers(reports: list[ChildReport]) -> None:
    """A wrong setting is not its business."""
    assert smoke.fn("hello").type is StateType.COMPLETED
    assert (reports[0].summary, set(reports[0].facts)) == (
        "hello",
        {"host", "first_line", "user", "python", "version"},
    )


def test_checks_that_find_nothing_wrong_are_facts(reports: list[ChildReport], tmp_path: Path) -> None:
    """Each with what it found."""
    assert smoke.fn(checks=True).type is StateType.COMPLETED
    assert reports[0].facts["folder"] == str(tmp_path / "home")
    assert str(reports[0].facts["dbt project"]).startswith("flow_of_flows in ")


def test_a_check_that_finds_something_wrong_fails_the_run_and_says_what(
    reports: list[ChildReport], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """All of it is in the report, the worst is the cause."""
    monkeypatch.setenv("FLOWS_DBT_PROJECT", str(tmp_path / "nowhere"))
    state = smoke.fn(checks=True)
    assert state.type is StateType.FAILED
    assert "found something wrong: dbt project" in str(state.message)
    (report,) = reports
    assert report.cause is Cause.CONFIGURATION
    assert [(problem.name, problem.status) for problem in report.problems] == [("dbt project", "wrong")]
    assert "No dbt project: the folder does not exist" in report.problems[0].message
