"""The fields of an automation, desired or current, as JSON values in a fixed order that can be compared. Pure."""

from __future__ import annotations

from typing import Any

from prefect.events.schemas.automations import AutomationCore

from flow_of_flows.registration import marks

# Sets in Prefect's model, which are written in an order that depends on the process: here and on the server.
SETS = ("after", "expect", "for_each")


def fields(automation: AutomationCore) -> dict[str, Any]:
    """Return the fields of an automation by the API's names, without those that the server sets."""
    values = automation.model_dump(mode="json", exclude={"id", "owner_resource"})
    return {**values, "trigger": _ordered(values["trigger"])}


def current(automation: AutomationCore) -> dict[str, Any]:
    """Return the fields of an automation of the API, with the owner that its description names."""
    text, owner = marks.unsigned(automation.description)
    return fields(automation) | {"description": text, "owner": owner}


def desired(automation: AutomationCore, owner: str) -> dict[str, Any]:
    """Return the fields of a desired automation; whether it is enabled stays as a person set it.

    Args:
        automation: the desired automation.
        owner: who registers it.
    """
    values = fields(automation) | {"description": automation.description.strip(), "owner": owner}
    if "enabled" not in automation.model_fields_set:
        del values["enabled"]
    return values


def _ordered(trigger: dict[str, Any]) -> dict[str, Any]:
    """Return the trigger, and the triggers in it, with their sets in alphabetical order."""
    ordered = {name: sorted(value) if name in SETS and value else value for name, value in trigger.items()}
    if "triggers" in ordered:
        ordered["triggers"] = [_ordered(inner) for inner in ordered["triggers"]]
    return ordered
