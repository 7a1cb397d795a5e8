"""What is wanted and what is there in, what to change out. Pure; the words of `flows register --plan`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from flow_of_flows.registration.difference import Difference, differences, shown


class ResourceKind(StrEnum):
    """What can be registered, in the order of writing: a deployment needs its queue, an automation its blocks."""

    LIMIT = "concurrency limit"
    BLOCK = "block"
    POOL = "work pool"
    QUEUE = "work queue"
    DEPLOYMENT = "deployment"
    AUTOMATION = "automation"


class Action(StrEnum):
    """What happens to one thing."""

    CREATE = "create"
    UPDATE = "update"
    UNCHANGED = "unchanged"
    DELETE = "delete"


@dataclass(frozen=True)
class Item:
    """One thing, as wanted or as found.

    Attributes:
        fields: by the API's names. What is wanted may have fewer: the others stay as they are.
        id: of what was found.
        ours: found, and this registration's to delete when nothing wants it any more.
        notes: what a person set and stays so, for the plan.
    """

    kind: ResourceKind
    name: str
    fields: Mapping[str, Any]
    id: UUID | None = None
    ours: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ResourceChange:
    """What happens to one thing.

    Attributes:
        before: what is there; None when it is created.
        after: what will be there, whole; None when it is deleted.
        notes: what a person set and stays so.
    """

    action: Action
    kind: ResourceKind
    name: str
    before: Item | None
    after: Item | None
    notes: tuple[str, ...] = ()

    @property
    def differences(self) -> tuple[Difference, ...]:
        """Every value that is updated."""
        if self.action is not Action.UPDATE or not self.before or not self.after:
            return ()
        return tuple(differences(dict(self.before.fields), dict(self.after.fields)))


Plan = tuple[ResourceChange, ...]


def plan(wanted: Sequence[Item], found: Sequence[Item]) -> Plan:
    """Every thing that is wanted or ours, in the order of work: what is deleted comes last."""
    there = {(item.kind, item.name): item for item in found}
    asked = {(item.kind, item.name) for item in wanted}
    order = list(ResourceKind)
    changes = [_change(item, there.get((item.kind, item.name))) for item in wanted]
    changes.sort(key=lambda change: order.index(change.kind))
    gone = [item for key, item in there.items() if item.ours and key not in asked]
    return (*changes, *(ResourceChange(Action.DELETE, item.kind, item.name, item, None) for item in gone))


def _change(wanted: Item, found: Item | None) -> ResourceChange:
    if found is None:
        return ResourceChange(Action.CREATE, wanted.kind, wanted.name, None, wanted)
    after = Item(wanted.kind, wanted.name, {**found.fields, **wanted.fields}, found.id, found.ours)
    action = Action.UNCHANGED if after.fields == found.fields else Action.UPDATE
    return ResourceChange(action, wanted.kind, wanted.name, found, after, (*found.notes, *wanted.notes))


def lines(changes: Plan) -> Iterator[str]:
    """Yield the plan for people: one line per thing, one per value that changes, and the sum."""
    for change in changes:
        yield f"{change.action:<10}{change.kind} {change.name}"
        for difference in change.differences:
            # The values of a block may be secrets, whatever their names are.
            secret = change.kind is ResourceKind.BLOCK and difference.path != "owner"
            yield f"{'':<12}{shown(difference, secret=secret)}"
        for note in change.notes:
            yield f"{'':<12}{note}"
    counted = (f"{sum(change.action is action for change in changes)} {action}" for action in Action)
    yield f"Plan: {', '.join(counted)}."
