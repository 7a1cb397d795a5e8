"""Who owns an object on the Prefect API, and so whether a registration may change it. Pure.

The mark of its owner is written into the object: deployments carry a label; work pools, work queues and automations
carry the last line of their description. Blocks have no field for it: a Prefect variable of the same owner stands for
their mark. An object without a mark was registered by an earlier version, or by somebody else. It counts as this
owner's where that is certain: in the work pool whose automation, which always had a mark, names this owner.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from prefect.client.schemas.actions import VariableCreate

from flow_of_flows.errors import ConfigurationError
from flow_of_flows.registration.plan import Item, ResourceKind

PRODUCT = "flow-of-flows"
LABEL = f"{PRODUCT}.owner"
SCHEDULES = f"{PRODUCT}.schedules"
# Labels of Prefect's own, which it adds again by itself.
SYSTEM = "prefect."
LINE = re.compile(rf"(?:^|\n\s*)\(registered by {PRODUCT}, owner (?P<owner>[^\n]+)\)\s*$")
NOT_IN_A_NAME = re.compile(r"[^a-z0-9]+")

UNKNOWN = "an unknown owner"
SHOWN_NAMES = 3
SUFFIX = "give its deployments a suffix (deployments.suffix of the chart, FLOWS_DEPLOYMENTS_SUFFIX), for example -dev"
# Kinds in the order in which a refusal names them, each with the alternative to taking over.
WAYS_OUT = {
    ResourceKind.POOL: "give this release a work pool of its own (workPool.name of the chart, FLOWS_WORK_POOL)",
    ResourceKind.QUEUE: "give this release a work pool of its own (workPool.name of the chart, FLOWS_WORK_POOL)",
    ResourceKind.DEPLOYMENT: SUFFIX,
    ResourceKind.BLOCK: SUFFIX,
}
TAKE_OVER = "or take over what is there with `flows register --take-over` (registration.takeOver of the chart)"


def signed(text: str | None, owner: str | None) -> str:
    """Return a description that ends with the mark of its owner, if it has one.

    Args:
        text: the description without a mark.
        owner: the owner; None for no mark.
    """
    line = f"(registered by {PRODUCT}, owner {owner})" if owner else ""
    return "\n\n".join(part for part in ((text or "").strip(), line) if part)


def unsigned(description: str | None) -> tuple[str, str | None]:
    """Return a description without the mark, and the owner that the mark names."""
    match = LINE.search(description or "")
    return (
        ((description or "")[: match.start()].strip(), match["owner"]) if match else ((description or "").strip(), None)
    )


def to_labels(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the labels of a deployment: those of others, its owner, and how its schedules are registered."""
    own = {LABEL: fields.get("owner"), SCHEDULES: json.dumps(fields.get("registered_schedules") or None)}
    return {**fields.get("labels", {}), **{key: value for key, value in own.items() if value not in (None, "null")}}


def from_labels(labels: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that a deployment's labels hold; without an owner, nothing is known of its schedules."""
    owner = labels.get(LABEL)
    others = {
        key: value for key, value in labels.items() if key not in (LABEL, SCHEDULES) and not key.startswith(SYSTEM)
    }
    registered = json.loads(labels.get(SCHEDULES, "{}")) if owner else None
    return {"owner": owner, "labels": others, "registered_schedules": registered}


def variable_name(kind: ResourceKind, name: str) -> str:
    """Return the name of the variable that marks a block; two objects never share one.

    Args:
        kind: kind of the marked object.
        name: name of the marked object.
    """
    readable = NOT_IN_A_NAME.sub("-", f"{kind} {name}".lower()).strip("-")
    digest = hashlib.sha256(f"{kind} {name}".encode()).hexdigest()[:8]
    return f"{PRODUCT}-owner-of-{readable[:180].strip('-')}-{digest}"


def variable(kind: ResourceKind, name: str, owner: str, of: UUID) -> VariableCreate:
    """Return the variable that marks a block.

    Args:
        kind: what is marked.
        name: its name.
        owner: whose it is.
        of: its id: an object that takes its name later is another's.
    """
    value = {"owner": owner, "kind": str(kind), "name": name, "id": str(of)}
    return VariableCreate(name=variable_name(kind, name), value=value, tags=[PRODUCT])


def owner_in(value: Any, of: UUID) -> str | None:
    """Return the owner that a variable's value names, if it is about this object.

    Args:
        value: value of the variable.
        of: id of the object.
    """
    if not isinstance(value, Mapping) or value.get("id") != str(of):
        return None
    owner = value.get("owner")
    return owner if isinstance(owner, str) else None


@dataclass(frozen=True)
class OwnershipClaim:
    """Who registers where, and who has registered there before.

    Attributes:
        owner: who registers.
        earlier: names that the same owner had in earlier versions.
        pool: the work pool of the registration.
        pools: owners of work pools by name: from the pool's mark, else from the marks of its automations.
        is_marked: whether the registration's pool has a mark.
    """

    owner: str
    earlier: frozenset[str]
    pool: str
    pools: Mapping[str, frozenset[str]]
    is_marked: bool

    @property
    def is_upgrade(self) -> bool:
        """Return whether this owner registered in the pool with a version that left no marks."""
        return not self.is_marked and self._is_own(self.pools.get(self.pool, frozenset()))

    def other_owner(self, current: Item, desired: Item | None) -> str | None:
        """Return the owner of an object if it is not the one who registers.

        Args:
            current: the object, as the API has it.
            desired: the desired item of that name; None if there is none.
        """
        mark = current.fields.get("owner")
        if mark is not None:
            return None if self._is_own({mark}) else str(mark)
        match current.kind:
            case ResourceKind.POOL | ResourceKind.QUEUE:
                return self._owner_of_pool(current.name.partition("/")[0])
            case ResourceKind.DEPLOYMENT if current.fields["work_pool_name"] == self.pool:
                return self._owner_of_pool(self.pool)
            case ResourceKind.DEPLOYMENT:
                owners = self.pools.get(str(current.fields["work_pool_name"]), frozenset())
                return None if self._is_own(owners) else min(owners, default=UNKNOWN)
            case _:
                return None if self.is_upgrade or (desired and _is_same(current, desired)) else UNKNOWN

    def _owner_of_pool(self, name: str) -> str | None:
        owners = self.pools.get(name, frozenset())
        return None if not owners or self._is_own(owners) else min(owners)

    def _is_own(self, owners: frozenset[str] | set[str]) -> bool:
        return bool(owners & {self.owner, *self.earlier})


def _is_same(current: Item, desired: Item) -> bool:
    return all(current.fields.get(name) == value for name, value in desired.fields.items() if name != "owner")


def settled(
    desired: Sequence[Item], current: Sequence[Item], claim: OwnershipClaim, *, take_over: bool, where: str
) -> Iterator[Item]:
    """Yield the current items that a plan may change: those of this owner, and those it may take over.

    Args:
        desired: what is registered.
        current: what the API has of it, and everything else with a mark of this owner.
        claim: who registers, and who owns the work pools.
        take_over: whether another owner's objects of the same names become this owner's.
        where: address of the API, for the message.

    Raises:
        ConfigurationError: another owner has some of them.
    """
    names = {item.key: item for item in desired}
    foreign: list[tuple[Item, str]] = []
    owned: set[tuple[ResourceKind, str]] = set()
    for item in current:
        desired_item = names.get(item.key)
        owner = claim.other_owner(item, desired_item)
        if owner is not None:
            foreign += [(item, owner)] if desired_item else []
            continue
        owned.add(item.key)
        if desired_item or claim.owner == item.fields.get("owner") or claim.is_upgrade:
            yield replace(item, deletable=not desired_item)
    # Several owners may each have an automation of one name.
    taken = [(item, owner) for item, owner in foreign if item.key not in owned]
    refused = [(item, owner) for item, owner in taken if item.kind is not ResourceKind.AUTOMATION]
    if refused and not take_over:
        raise _refusal(refused, claim.owner, where)
    losers = {owner for _, owner in refused}
    yield from (item for item, owner in taken if owner in losers or item.kind is not ResourceKind.AUTOMATION)


def _refusal(refused: Sequence[tuple[Item, str]], owner: str, where: str) -> ConfigurationError:
    """Return the sentence that names the owners, what they have, and the ways out."""
    if any(item.kind is ResourceKind.POOL for item, _ in refused):
        refused = [(item, other) for item, other in refused if item.kind is not ResourceKind.QUEUE]
    kinds = [kind for kind in WAYS_OUT if any(item.kind is kind for item, _ in refused)]
    owners = sorted({other for _, other in refused})
    has = (_has([item for item, one in refused if one == other], other) for other in owners)
    ways = dict.fromkeys(WAYS_OUT[kind] for kind in kinds)
    return ConfigurationError(
        f"{'; '.join(has)}, not to {owner}: nothing is changed",
        location=where,
        hint=f"{' and '.join(ways)}, {TAKE_OVER}",
    )


def _has(items: Sequence[Item], owner: str) -> str:
    """Return the clause about one owner: by kind, with the first names."""
    parts = []
    for kind in WAYS_OUT:
        names = [item.name for item in items if item.kind is kind]
        if names:
            more = f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
            parts.append(f"{kind}{'s' if len(names) > 1 else ''} {', '.join(names[:SHOWN_NAMES])}{more}")
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]} {'belong' if len(items) > 1 else 'belongs'} to {owner}"
