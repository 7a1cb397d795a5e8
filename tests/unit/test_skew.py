"""How far a machine's clock is ahead of the server's, from what the server says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from flow_of_flows.prefect_api.client import ahead

ASKED = datetime(2026, 3, 1, 6, 0, 0, tzinfo=UTC)
ANSWERED = ASKED + timedelta(seconds=2)


@pytest.mark.parametrize(
    ("date", "difference"),
    [
        ("Sun, 01 Mar 2026 05:00:02 GMT", timedelta(hours=1)),
        ("Sun, 01 Mar 2026 07:00:02 GMT", timedelta(hours=-1)),
        ("Sun, 01 Mar 2026 06:00:01 GMT", timedelta()),
        ("Sun, 01 Mar 2026 05:59:50 GMT", timedelta()),
        (None, timedelta()),
        ("yesterday", timedelta()),
    ],
)
def test_a_difference_counts_when_it_is_more_than_an_answer_takes(date: str | None, difference: timedelta) -> None:
    """Ahead, behind, in step, almost in step, and a server that tells nothing."""
    assert ahead(date, ASKED, ANSWERED) == difference
