"""An automation as fields that can be compared: Prefect's model in, JSON values in a fixed order out. Pure.

Called for what is wanted and for what is found.
"""

from __future__ import annotations

from typing import Any

from prefect.events.schemas.automations import AutomationCore

from flow_of_flows.registration import marks

# Sets in Prefect's model, which are written in an order that depends on the process: here and on the server.
SETS = ("after", "expect", "for_each")


def fields(automation: AutomationCore) -> dict[str, Any]:
    """Its fields, by the API's names; not the ones that the server gives it."""
    values = automation.model_dump(mode="json", exclude={"id", "owner_resource"})
    return {**values, "trigger": _ordered(values["trigger"])}


def current(automation: AutomationCore) -> dict[str, Any]:
    """Return the fields of an automation of the API, with the owner that its description names."""
    text, owner = marks.unsigned(automation.description)
    return fields(automation) | {"description": text, "owner": owner}


def desired(automation: AutomationCore, owner: str) -> dict[str, Any]:
    """Return the fields of an automation that is wanted; whether it is on stays as a person set it.

    Args:
        automation: what is wanted.
        owner: who registers it.
    """
    wanted = fields(automation) | {"description": automation.description.strip(), "owner": owner}
    if "enabled" not in automation.model_fields_set:
        del wanted["enabled"]
    return wanted


def _ordered(trigger: dict[str, Any]) -> dict[str, Any]:
    """The trigger, and those that it is composed of, with their sets in the order of the alphabet."""
    ordered = {name: sorted(value) if name in SETS and value else value for name, value in trigger.items()}
    if "triggers" in ordered:
        ordered["triggers"] = [_ordered(one) for one in ordered["triggers"]]
    return ordered
