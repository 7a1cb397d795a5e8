"""The schedules of a deployment: read from prefect.yaml, and merged with what a person did in the Prefect UI. Pure.

Registration remembers for each schedule whether it registered it as active, by a slug that an edit in the UI keeps. So
a schedule that is inactive although it was registered as active was switched off by a person.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Annotated, Any

from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule
from pydantic import BaseModel, BeforeValidator

from flow_of_flows.registration.plan import Item, ResourceKind

KINDS: dict[str, type[BaseModel]] = {"cron": CronSchedule, "interval": IntervalSchedule, "rrule": RRuleSchedule}
# What Prefect keeps beside a schedule rather than in it.
BESIDE = ("active", "parameters", "slug")
ANCHOR = "2020-01-01T00:00:00Z"


def _schedule(entry: object) -> object:
    """An entry with its own keys and the schedule's in one mapping, taken apart.

    Raises:
        ValueError: it is not exactly one kind of schedule.
    """
    if not isinstance(entry, Mapping):
        return entry
    kinds = [kind for kind in KINDS if kind in entry]
    if len(kinds) != 1:
        raise ValueError("a schedule has exactly one of cron, interval and rrule")
    beside = {key: entry[key] for key in BESIDE if key in entry}
    timing: dict[str, Any] = {key: value for key, value in entry.items() if key not in BESIDE}
    if kinds == ["interval"]:
        # Prefect's default is the present moment: each registration would change the schedule.
        timing.setdefault("anchor_date", ANCHOR)
    return {"schedule": KINDS[kinds[0]].model_validate(timing), **beside}


Schedule = Annotated[DeploymentScheduleCreate, BeforeValidator(_schedule)]
# The end of a slug is the place of the schedule in prefect.yaml.
SLUG = "flow-of-flows-"
AS_SET = "as a person set it in the UI"
Entry = dict[str, Any]


class Registered(StrEnum):
    """How a schedule was registered the last time."""

    ON = "on"
    OFF = "off"
    # Registered as inactive while a person had it switched off: it stays off when it would be active again.
    HELD = "held"


@dataclass(frozen=True)
class Merged:
    """The schedules of one deployment.

    Attributes:
        before: those of the API, in the order of `after`.
        after: those that are to be there.
        registered: how each is registered, by its slug; a person's own are not in it.
        notes: what a person did in the UI and stays, for the plan.
    """

    before: list[Entry]
    after: list[Entry]
    registered: dict[str, str]
    notes: tuple[str, ...]


def named(entries: Sequence[Entry]) -> list[Entry]:
    """Return schedules of prefect.yaml with a slug for each that has none."""
    return [{**entry, "slug": entry["slug"] or f"{SLUG}{place}"} for place, entry in enumerate(entries, start=1)]


def with_switches(desired: Sequence[Item], current: Sequence[Item]) -> tuple[list[Item], list[Item]]:
    """Return both sides of a plan with what a person switched in the UI as it is.

    Args:
        desired: what is registered.
        current: what the API has.
    """
    there = {item.key: item for item in current}
    after, before = list(desired), list(current)
    for place, item in enumerate(desired):
        found = there.get(item.key)
        if (
            item.kind is ResourceKind.AUTOMATION
            and found
            and "enabled" not in item.fields
            and not found.fields["enabled"]
        ):
            after[place] = replace(item, notes=(f"enabled: stays false, {AS_SET}",))
        if item.kind is not ResourceKind.DEPLOYMENT:
            continue
        fields = found.fields if found else {}
        merged = merge(item.fields["schedules"], fields.get("schedules", ()), fields.get("registered_schedules"))
        new = {"schedules": merged.after, "registered_schedules": merged.registered}
        after[place] = replace(item, fields={**item.fields, **new}, notes=merged.notes)
        if found:
            old = {"schedules": merged.before, "registered_schedules": fields.get("registered_schedules") or {}}
            before[before.index(found)] = replace(found, fields={**found.fields, **old})
    return after, before


def merge(desired: Sequence[Entry], current: Sequence[Entry], registered: Mapping[str, str] | None) -> Merged:
    """Return the schedules that are to be there.

    Args:
        desired: those of prefect.yaml, each with a slug.
        current: those of the API.
        registered: how each was registered, by slug; None where a version without this memory did it.
    """
    own = [entry for entry in current if registered is None or entry["slug"] in registered]
    added = [] if registered is None else [entry for entry in current if entry["slug"] not in registered]
    pairs = _pairs(desired, own)
    after, memory, notes = [], {}, []
    for place, entry in enumerate(desired):
        found = pairs.get(place)
        wanted = bool(entry["active"])
        active, memory[entry["slug"]] = _switched(found, _memory(found, registered, wanted=wanted), wanted=wanted)
        after.append({**entry, "active": active})
        if active is not wanted:
            notes.append(f"schedules[{place}].active: stays {str(active).lower()}, {AS_SET}")
    notes += [
        f"schedules[{place}]: stays, as a person added it in the UI"
        for place in range(len(after), len(after) + len(added))
    ]
    kept = [pairs[place] for place in range(len(desired)) if place in pairs]
    gone = [entry for entry in own if entry not in kept]
    return Merged(
        [*kept, *added, *gone], [*after, *added], {slug: str(one) for slug, one in memory.items()}, tuple(notes)
    )


def _memory(found: Entry | None, registered: Mapping[str, str] | None, *, wanted: bool) -> Registered | None:
    """Return how a schedule was registered; of a version without a memory, it is taken to be as now."""
    if found is None:
        return None
    if registered is None:
        return Registered.ON if wanted or found["active"] else Registered.OFF
    return Registered(registered[found["slug"]])


def _switched(found: Entry | None, before: Registered | None, *, wanted: bool) -> tuple[bool, Registered]:
    """Return whether a schedule is to be active, and what to remember of it.

    Args:
        found: the schedule of the API; None where it is not there.
        before: how it was registered.
        wanted: whether the registration wants it to be active.
    """
    as_wanted = wanted, Registered.ON if wanted else Registered.OFF
    if found is None:
        return as_wanted
    if not found["active"] and before in (Registered.ON, Registered.HELD):
        return False, Registered.ON if wanted else Registered.HELD
    if found["active"] and before in (Registered.OFF, Registered.HELD) and not wanted:
        return True, Registered.OFF
    return as_wanted


def _pairs(desired: Sequence[Entry], own: Sequence[Entry]) -> dict[int, Entry]:
    """Match the schedules of prefect.yaml with those of the API: by times, by slug, then the only two left."""
    pairs: dict[int, Entry] = {}
    left = list(own)
    for same in (_have_same_times, _have_same_slug):
        for place, entry in enumerate(desired):
            found = next((one for one in left if same(one, entry)), None) if place not in pairs else None
            if found is not None:
                pairs[place] = found
                left.remove(found)
    missing = [place for place in range(len(desired)) if place not in pairs]
    if len(missing) == len(left) == 1:
        pairs[missing[0]] = left[0]
    return pairs


def _have_same_times(one: Entry, other: Entry) -> bool:
    return bool(one["schedule"] == other["schedule"] and one["parameters"] == other["parameters"])


def _have_same_slug(one: Entry, other: Entry) -> bool:
    return bool(one["slug"] == other["slug"])
