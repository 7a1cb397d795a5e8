"""Schedules of prefect.yaml and those of the API in, what is registered out: a person's switches stay."""

from __future__ import annotations

from typing import Any

import pytest

from flow_of_flows.registration.prefect_yaml import merge, named

SET = "as a person set it in the UI"


def entry(cron: str = "0 6 * * *", *, active: bool = True, slug: str | None = "flow-of-flows-1") -> dict[str, Any]:
    """Return a schedule, as both sides have it."""
    return {"schedule": {"cron": cron, "timezone": "UTC"}, "active": active, "parameters": {}, "slug": slug}


def test_a_schedule_without_a_slug_gets_one_by_its_place() -> None:
    """A slug of the file's own stays."""
    entries = [entry(slug=None), entry("0 7 * * *", slug="mine"), entry("0 8 * * *", slug=None)]
    assert [one["slug"] for one in named(entries)] == ["flow-of-flows-1", "mine", "flow-of-flows-3"]


@pytest.mark.parametrize(
    ("registered", "is_active", "wanted", "then", "remembered"),
    [
        ("on", True, True, True, "on"),
        ("on", True, False, False, "off"),
        ("on", False, True, False, "on"),
        ("on", False, False, False, "held"),
        ("off", False, True, True, "on"),
        ("off", False, False, False, "off"),
        ("off", True, True, True, "on"),
        ("off", True, False, True, "off"),
        ("held", False, True, False, "on"),
        ("held", False, False, False, "held"),
        ("held", True, True, True, "on"),
        ("held", True, False, True, "off"),
        (None, True, True, True, "on"),
        (None, True, False, False, "off"),
        (None, False, True, False, "on"),
        (None, False, False, False, "off"),
    ],
)
def test_who_switched_a_schedule_last_decides(
    *, registered: str | None, is_active: bool, wanted: bool, then: bool, remembered: str
) -> None:
    """Every state in which a schedule can be; None: registered by a version that remembered nothing."""
    memory = None if registered is None else {"flow-of-flows-1": registered}
    merged = merge([entry(active=wanted)], [entry(active=is_active)], memory)
    assert merged.after == [entry(active=then)]
    assert merged.registered == {"flow-of-flows-1": remembered}
    assert merged.notes == ((f"schedules[0].active: stays {str(then).lower()}, {SET}",) if then is not wanted else ())


def test_a_schedule_that_was_switched_off_stays_off_at_another_time() -> None:
    """The next release moves it from six to seven; and the one edited in the UI is again what the file says."""
    merged = merge([entry("0 7 * * *")], [entry(active=False)], {"flow-of-flows-1": "on"})
    assert merged.after == [entry("0 7 * * *", active=False)]
    edited = merge([entry()], [entry("30 5 * * *")], {"flow-of-flows-1": "on"})
    assert (edited.before, edited.after) == ([entry("30 5 * * *")], [entry()])


def test_a_schedule_that_a_person_added_stays_beside_those_of_the_file() -> None:
    """On or off; the file's own that are gone are removed, and a first registration removes the rest, too."""
    added = entry("0 9 * * 1", active=False, slug=None)
    merged = merge([entry()], [added, entry(), entry("0 8 * * *", slug="old")], {"flow-of-flows-1": "on", "old": "on"})
    assert merged.after == [entry(), added]
    assert merged.before == [entry(), added, entry("0 8 * * *", slug="old")]
    assert merged.notes == ("schedules[1]: stays, as a person added it in the UI",)
    assert merge([entry()], [added, entry(slug=None)], None).after == [entry()]


def test_schedules_are_matched_by_their_times_in_whatever_order_the_api_has_them() -> None:
    """One more in front of the others takes nobody's switch."""
    desired = named([entry("0 5 * * *", slug=None), entry(slug=None), entry("0 7 * * *", slug=None)])
    current = [entry("0 7 * * *", slug="flow-of-flows-2"), entry(active=False)]
    merged = merge(desired, current, {"flow-of-flows-1": "on", "flow-of-flows-2": "on"})
    assert [one["active"] for one in merged.after] == [True, False, True]
    assert merged.before == [current[1], current[0]]
