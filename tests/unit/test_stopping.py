"""What the end of a process means for what it has started elsewhere."""

from __future__ import annotations

import signal

import pytest
from prefect._internal import control_listener
from prefect.exceptions import TerminationSignal
from prefect.utilities.engine import can_ack_control_intent, capture_sigterm

from flow_of_flows.pod.shutdown import Intent
from flow_of_flows.prefect_internals import hearing_sigterm
from flow_of_flows.signals import RESCHEDULED, is_rescheduled


@pytest.mark.parametrize(
    ("intent", "rescheduled"), [("reschedule", True), ("relinquish", True), ("cancel", False), (None, False)]
)
def test_only_a_run_that_is_started_again_is_rescheduled(
    monkeypatch: pytest.MonkeyPatch, intent: str | None, *, rescheduled: bool
) -> None:
    """A cancelled one is not, nor one that ends for a reason that nobody has given."""
    monkeypatch.setattr(control_listener, "_intent", intent)
    assert is_rescheduled() is rescheduled


def test_what_the_pod_may_say_is_what_is_understood() -> None:
    """Completeness."""
    assert set(RESCHEDULED) == set(Intent.__args__)  # type: ignore[attr-defined]


def test_prefect_understands_its_supervisor_while_our_own_handler_hears_sigterm() -> None:
    """Inside of Prefect's own block and no longer than ours; the signal comes to our handler."""
    heard: list[int] = []
    with capture_sigterm():
        with hearing_sigterm(lambda number, _frame: heard.append(number)):
            assert can_ack_control_intent()
            signal.raise_signal(signal.SIGTERM)
        assert can_ack_control_intent()
        with pytest.raises(TerminationSignal):
            signal.raise_signal(signal.SIGTERM)
    assert heard == [signal.SIGTERM]


def test_without_prefect_nothing_stands_for_its_handler() -> None:
    """On the command line, say."""
    with hearing_sigterm(lambda _number, _frame: None):
        assert not can_ack_control_intent()
