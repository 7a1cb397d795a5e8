"""What the end of a process means for what it has started elsewhere."""

from __future__ import annotations

import pytest
from prefect._internal import control_listener

from flows.pod.orders import Intent
from flows.stopping import HANDED_BACK, is_handed_back


@pytest.mark.parametrize(
    ("intent", "handed_back"), [("reschedule", True), ("relinquish", True), ("cancel", False), (None, False)]
)
def test_only_a_run_that_is_started_again_is_handed_back(
    monkeypatch: pytest.MonkeyPatch, intent: str | None, *, handed_back: bool
) -> None:
    """A cancelled one is not, nor one that ends for a reason that nobody has given."""
    monkeypatch.setattr(control_listener, "_intent", intent)
    assert is_handed_back() is handed_back


def test_what_the_pod_may_say_is_what_is_understood() -> None:
    """Completeness."""
    assert set(HANDED_BACK) == set(Intent.__args__)  # type: ignore[attr-defined]
