"""Automations are compared by what they say, not by the order in which a process writes its sets."""

from __future__ import annotations

import itertools
from typing import Any

from prefect.events.schemas.automations import AutomationCore

from flow_of_flows.registration.alerting import fields

STATES = [f"prefect.flow-run.{name}" for name in ("Cancelled", "Completed", "Failed", "Pending", "Running")]


def automation(states: list[str], *, composed: bool) -> AutomationCore:
    """One that expects these states, by itself or within another trigger."""
    trigger: dict[str, Any] = {"type": "event", "posture": "Reactive", "expect": states, "after": states}
    if composed:
        trigger = {"type": "compound", "require": "any", "triggers": [trigger], "within": 10}
    return AutomationCore.model_validate({"name": "tell", "trigger": trigger, "actions": [{"type": "do-nothing"}]})


def test_the_order_of_sets_does_not_count() -> None:
    """The server has another hash seed than whoever registers: what comes back is in another order."""
    for composed in (False, True):
        orders = [list(order) for order in itertools.permutations(STATES)]
        dumped = [fields(automation(order, composed=composed))["trigger"] for order in orders]
        assert all(trigger == dumped[0] for trigger in dumped)
        inner = dumped[0]["triggers"][0] if composed else dumped[0]
        assert (inner["expect"], inner["after"], inner["for_each"]) == (sorted(STATES), sorted(STATES), [])
