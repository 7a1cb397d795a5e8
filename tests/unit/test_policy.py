"""What follows from each cause."""

from __future__ import annotations

from itertools import pairwise

import pytest

from flow_of_flows.errors import Cause
from flow_of_flows.runs.causes import POLICY, AttemptChange, Rule, rule


def test_every_cause_has_a_rule_and_no_rule_is_of_anything_else() -> None:
    """Completeness, in the order of the enum."""
    assert list(POLICY) == list(Cause)


@pytest.mark.parametrize("cause", list(Cause))
def test_a_rule_says_what_to_do_and_its_pauses_do_not_shrink(cause: Cause) -> None:
    """A sentence; a cause that is not retried changes nothing."""
    found = rule(cause)
    assert found.advice.endswith(".")
    assert all(before <= after for before, after in pairwise(found.pauses))
    assert found.retries > 0 or found == Rule(found.advice)


def test_what_is_retried_and_how() -> None:
    """The whole table of retries: what a person or the child's own code has to mend is not in it."""
    assert {cause: (found.retries, found.change) for cause, found in POLICY.items() if found.retries} == {
        Cause.PLATFORM: (2, AttemptChange.NOTHING),
        Cause.OUT_OF_MEMORY: (2, AttemptChange.MEMORY),
        Cause.EVICTED: (2, AttemptChange.NODES),
        Cause.PREEMPTED: (3, AttemptChange.NODES),
        Cause.NODE_LOST: (3, AttemptChange.NODES),
        Cause.POD_DELETED: (2, AttemptChange.NOTHING),
        Cause.CRASHED: (1, AttemptChange.NOTHING),
        Cause.NEVER_STARTED: (1, AttemptChange.NOTHING),
    }


def test_pauses_grow_and_the_last_one_holds_for_the_rest() -> None:
    """Counted from the first retry."""
    found = Rule("Wait.", retries=3, pauses=(30.0, 120.0))
    assert [found.pause(retry) for retry in (1, 2, 3)] == [30.0, 120.0, 120.0]
