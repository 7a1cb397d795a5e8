"""How the owner of an object is written into the object, and read back.

Deployments carry a label. Work pools, work queues and automations carry the last line of their description. Blocks
have no field for it: a Prefect variable of the same owner stands for their mark.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from prefect.client.schemas.actions import VariableCreate

from flow_of_flows.registration.plan import ResourceKind

PRODUCT = "flow-of-flows"
LABEL = f"{PRODUCT}.owner"
SCHEDULES = f"{PRODUCT}.schedules"
# Labels of Prefect's own, which it adds again by itself.
SYSTEM = "prefect."
LINE = re.compile(rf"(?:^|\n\s*)\(registered by {PRODUCT}, owner (?P<owner>[^\n]+)\)\s*$")
NOT_IN_A_NAME = re.compile(r"[^a-z0-9]+")


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
