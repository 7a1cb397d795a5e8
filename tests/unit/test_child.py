"""What makes a function a child: its end state tells the truth, and its report is kept."""

from __future__ import annotations

import inspect
import logging
from typing import Literal

import pytest
from prefect.client.schemas.objects import StateType

from flow_of_flows.child_flow import child
from flow_of_flows.child_report import ChildReport, Problem
from flow_of_flows.errors import Cause, DataError, PlatformError
from flow_of_flows.output import into_run_log
from flow_of_flows.prefect_api import artifacts

PROBLEM = Problem(name="orders.csv", status="line 7", message="amount is no number")


@child("load-orders")
def load_orders(how: Literal["well", "badly", "never", "wrongly"] = "well", *, days: int = 3) -> ChildReport:
    """Load orders.

    Args:
        how: how it goes.
        days: how many.
    """
    if how == "badly":
        raise DataError("A row is bad", location="orders.csv", hint="correct the row", problems=(PROBLEM,))
    if how == "never":
        raise PlatformError("The shop does not answer")
    if how == "wrongly":
        raise ZeroDivisionError("nothing divides by zero")
    return ChildReport(summary=f"loaded {days} days", warnings=("late",))


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch) -> list[ChildReport]:
    """What is reported; without a run there is neither a page to put it on nor a log."""
    monkeypatch.setattr("flow_of_flows.child_flow.into_run_log", lambda: None)
    handed_back: list[ChildReport] = []
    monkeypatch.setattr(artifacts, "child_report", handed_back.append)
    return handed_back


def test_a_child_is_a_flow_of_its_name_with_the_functions_parameters() -> None:
    """Annotations that are text are evaluated, and the form has descriptions."""
    assert load_orders.name == "load-orders"
    assert load_orders.persist_result is False
    schema = load_orders.parameters.model_dump()["properties"]
    assert schema == {
        "how": {
            "default": "well",
            "description": "how it goes.",
            "enum": ["well", "badly", "never", "wrongly"],
            "position": 0,
            "title": "how",
            "type": "string",
        },
        "days": {"default": 3, "description": "how many.", "position": 1, "title": "days", "type": "integer"},
    }
    assert list(inspect.signature(load_orders.fn).parameters) == ["how", "days"]


def test_a_child_that_did_its_work_completes_with_its_summary(reports: list[ChildReport]) -> None:
    """The report is returned as it is."""
    state = load_orders.fn("well", days=9)
    assert (state.type, state.name, state.message) == (StateType.COMPLETED, "Completed", "loaded 9 days")
    assert reports == [ChildReport(summary="loaded 9 days", warnings=("late",))]


def test_an_error_somebody_can_act_on_fails_the_run_in_one_sentence(
    reports: list[ChildReport], caplog: pytest.LogCaptureFixture
) -> None:
    """No traceback; the report carries cause, advice and problems."""
    state = load_orders.fn("badly")
    sentence = "A row is bad. Where: orders.csv. Next: correct the row."
    assert (state.type, state.message) == (StateType.FAILED, sentence)
    assert reports == [
        ChildReport(
            summary="A row is bad. Where: orders.csv.",
            cause=Cause.DATA,
            todo="correct the row",
            problems=(PROBLEM,),
        )
    ]
    (record,) = caplog.records
    assert (record.getMessage(), record.levelname, record.exc_info) == (sentence, "ERROR", None)


def test_an_error_without_advice_is_handed_back_without(reports: list[ChildReport]) -> None:
    """The answers then give the advice of its cause."""
    assert load_orders.fn("never").message == "The shop does not answer."
    assert reports == [ChildReport(summary="The shop does not answer.", cause=Cause.PLATFORM)]


def test_a_mistake_in_the_code_keeps_its_traceback(reports: list[ChildReport]) -> None:
    """Prefect fails the run with it; nothing is reported that would sound as if somebody knew why."""
    with pytest.raises(ZeroDivisionError):
        load_orders.fn("wrongly")
    assert reports == []


def test_what_the_package_logs_goes_where_prefect_sends_its_runs_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    """From INFO on, through each handler once, and not a second time through the root logger."""
    ours, own, shared = logging.getLogger("flow_of_flows"), logging.NullHandler(), logging.NullHandler()
    monkeypatch.setattr(ours, "handlers", [own])
    monkeypatch.setattr(ours, "level", logging.NOTSET)
    monkeypatch.setattr(ours, "propagate", True)
    monkeypatch.setattr(logging.getLogger("prefect.extra"), "handlers", [shared])
    into_run_log()
    into_run_log()
    assert (ours.handlers, ours.level, ours.propagate) == ([own, shared], logging.INFO, False)
