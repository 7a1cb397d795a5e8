"""Compares desired with current items and returns the changes. Pure; also the text of `flows register --plan`."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID


class ResourceKind(StrEnum):
    """The kinds of resources, in the order of writing: a deployment needs its queue, an automation its blocks."""

    # No longer registered; the marks that earlier versions gave to limits still name their owners.
    LIMIT = "concurrency limit"
    BLOCK = "block"
    POOL = "work pool"
    QUEUE = "work queue"
    DEPLOYMENT = "deployment"
    AUTOMATION = "automation"


class Action(StrEnum):
    """What happens to one resource."""

    CREATE = "create"
    UPDATE = "update"
    UNCHANGED = "unchanged"
    DELETE = "delete"


@dataclass(frozen=True)
class Item:
    """One resource, desired or current.

    Attributes:
        fields: by the API's names. A desired item may have fewer: the others stay as they are.
        id: id of a current item.
        deletable: whether this registration deletes a current item that is no longer desired.
        notes: what a person set and stays, for the plan.
    """

    kind: ResourceKind
    name: str
    fields: Mapping[str, Any]
    id: UUID | None = None
    deletable: bool = False
    notes: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[ResourceKind, str]:
        """Return kind and name, which identify the item."""
        return self.kind, self.name


@dataclass(frozen=True)
class ResourceChange:
    """What happens to one resource.

    Attributes:
        before: the current item; None when it is created.
        after: the whole item afterwards; None when it is deleted.
        notes: what a person set and stays.
    """

    action: Action
    kind: ResourceKind
    name: str
    before: Item | None
    after: Item | None
    notes: tuple[str, ...] = ()

    @property
    def differences(self) -> tuple[Difference, ...]:
        """Return every value that is updated."""
        if self.action is not Action.UPDATE or not self.before or not self.after:
            return ()
        return tuple(differences(dict(self.before.fields), dict(self.after.fields)))


Plan = tuple[ResourceChange, ...]


def plan(desired: Sequence[Item], current: Sequence[Item]) -> Plan:
    """Return the change of every desired or deletable item, in the order of work: deletions come last.

    Args:
        desired: what is registered.
        current: what the API has.
    """
    current_by_key = {item.key: item for item in current}
    desired_keys = {item.key for item in desired}
    order = list(ResourceKind)
    changes = [_change(item, current_by_key.get(item.key)) for item in desired]
    changes.sort(key=lambda change: order.index(change.kind))
    deleted = [item for key, item in current_by_key.items() if item.deletable and key not in desired_keys]
    return (*changes, *(ResourceChange(Action.DELETE, item.kind, item.name, item, None) for item in deleted))


def _change(desired: Item, current: Item | None) -> ResourceChange:
    if current is None:
        return ResourceChange(Action.CREATE, desired.kind, desired.name, None, desired)
    after = Item(desired.kind, desired.name, {**current.fields, **desired.fields}, current.id, current.deletable)
    action = Action.UNCHANGED if same(after.fields, current.fields) else Action.UPDATE
    return ResourceChange(action, desired.kind, desired.name, current, after, (*current.notes, *desired.notes))


def lines(changes: Plan) -> Iterator[str]:
    """Yield the plan for people: one line per resource, one per value that changes, and the totals."""
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


MASK = "***"
NOTHING = "(none)"
ABSENT = "(absent)"
# Names whose values are not printed, wherever they appear: variables of a template, parameters, job variables.
SECRET_NAME = re.compile(
    r"passw(or)?d|passphrase|secret|token|credential|webhook|auth_?string|custom_?headers|(api|private|access|routing)_?key"
    r"|connection_?(url|string)",
    re.IGNORECASE,
)
# Names that say where a secret is, not what it is.
REFERENCE = re.compile(r"^(FLOWS_SECRETS_.*|secretName|existingSecret|.*Ref)$")
PASSWORD_OF_URL = re.compile(r"(?<=://)([^/\s:@]*):[^\s@\"]+(?=@)")


@dataclass(frozen=True)
class Difference:
    """One value that differs.

    Attributes:
        path: keys joined by dots; an item of a list by its index or its name, in brackets.
        before: the value before; None where there was none.
        after: the value after; None where there is none.
    """

    path: str
    before: Any
    after: Any


def same(before: Any, after: Any) -> bool:
    """Return whether two JSON values are equal; unlike in Python, true does not equal 1.

    Args:
        before: a JSON value.
        after: another one.
    """
    if isinstance(before, bool) != isinstance(after, bool):
        return False
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        return before.keys() == after.keys() and all(same(before[key], after[key]) for key in before)
    if isinstance(before, (list, tuple)) and isinstance(after, (list, tuple)):
        return len(before) == len(after) and all(map(same, before, after))
    return bool(before == after)


def differences(before: Any, after: Any, path: str = "") -> Iterator[Difference]:
    """Yield every value that differs, down to the smallest part that both sides have in the same form.

    Args:
        before: a JSON value.
        after: the JSON value that takes its place.
        path: path of both.
    """
    if same(before, after):
        return
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in sorted({*before, *after}):
            inner = f"{path}.{key}".strip(".")
            if before.get(key) is None and after.get(key) is None and (key in before) != (key in after):
                yield Difference(inner, before.get(key, ABSENT), after.get(key, ABSENT))
            else:
                yield from differences(before.get(key), after.get(key), inner)
    elif isinstance(before, list) and isinstance(after, list):
        yield from _of_lists(before, after, path)
    else:
        yield Difference(path, before, after)


def _of_lists(before: list[Any], after: list[Any], path: str) -> Iterator[Difference]:
    """Match the items by name where all have one (variables of a container, say), else by their order."""
    named = _by_name(before), _by_name(after)
    if not all(named):
        yield from _in_order(before, after, path)
        return
    old, new = named
    for name in [*old, *(name for name in new if name not in old)]:
        yield from differences(old.get(name), new.get(name), f"{path}[{name}]")
    kept = [name for name in old if name in new]
    moved = [name for name in new if name in old]
    if kept != moved:
        yield Difference(f"{path} (order)", ", ".join(kept), ", ".join(moved))


def _by_name(items: Sequence[Any]) -> dict[str, Any]:
    """Index the items by their names; empty if one has none or two share one."""
    names = {str(item["name"]): item for item in items if isinstance(item, Mapping) and item.get("name")}
    return names if len(names) == len(items) else {}


def _in_order(before: list[Any], after: list[Any], path: str) -> Iterator[Difference]:
    """Pair the items between those that are equal; an index is that of the new list, for a deleted item of the old."""
    texts = [json.dumps(item, sort_keys=True, default=str) for item in before]
    others = [json.dumps(item, sort_keys=True, default=str) for item in after]
    for what, old, old_end, new, new_end in difflib.SequenceMatcher(None, texts, others, autojunk=False).get_opcodes():
        if what == "equal":
            continue
        paired = min(old_end - old, new_end - new)
        for step in range(paired):
            yield from differences(before[old + step], after[new + step], f"{path}[{new + step}]")
        for index in range(old + paired, old_end):
            yield Difference(f"{path}[{index}]", before[index], None)
        for index in range(new + paired, new_end):
            yield Difference(f"{path}[{index}]", None, after[index])


def shown(difference: Difference, *, secret: bool = False) -> str:
    """Return one line: path, old value and new value, with secrets redacted.

    Args:
        difference: what to show.
        secret: whether both values are secrets, whatever their path says.
    """
    hidden = is_secret(_name(difference.path))
    values = difference.before, difference.after
    old, new = (
        MASK if value is not None and (secret or (hidden and _holds(value))) else _text(value) for value in values
    )
    return f"{difference.path}: {old} → {new}"


def _name(path: str) -> str:
    """Return the name of the value at a path: its last key, or the name of the list item whose `value` it is."""
    parts = [part for part in re.split(r"[.\[\]]+", path) if part and not part.isdigit()]
    is_value = path.endswith("].value") and len(parts) > 1
    return parts[-2 if is_value else -1] if parts else ""


def _holds(value: Any) -> bool:
    """Return whether a value can be a secret; a structure is masked part by part."""
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def is_secret(name: str) -> bool:
    """Return whether a value of this name is taken for a secret."""
    return bool(SECRET_NAME.search(name)) and not REFERENCE.match(name)


def _text(value: Any) -> str:
    """Return a value on one line: text as it is, anything else as JSON."""
    if value is None:
        return NOTHING
    if isinstance(value, str):
        one_line = (
            value if value.isprintable() and value.strip() == value != "" else json.dumps(value, ensure_ascii=False)
        )
        return PASSWORD_OF_URL.sub(rf"\1:{MASK}", one_line)
    text = json.dumps(_redacted(value), ensure_ascii=False, sort_keys=True, default=str)
    return PASSWORD_OF_URL.sub(rf"\1:{MASK}", text)


def _redacted(value: Any) -> Any:
    """Return a JSON value without its secrets."""
    if isinstance(value, list):
        return [_redacted(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    hidden = {key for key, item in value.items() if is_secret(str(key)) and _holds(item)}
    if is_secret(str(value.get("name", ""))) and "value" in value:
        hidden.add("value")
    return {key: MASK if key in hidden else _redacted(item) for key, item in value.items()}
