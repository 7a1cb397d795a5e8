"""Who looks after a node of dbt's manifest: the manifest and ids in, owners by id out. Pure; called by `build`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from flow_of_flows.dbt.results import is_test


def owners(manifest: Any, ids: Iterable[str]) -> dict[str, str]:
    """The owner of each node that has one: its `meta.owner`, that of its group, or that of the model it tests."""
    found = ((name, _owner(manifest, name)) for name in ids)
    return {name: owner for name, owner in found if owner}


def _owner(manifest: Any, name: str) -> str | None:
    node = _find(manifest, name)
    if node is None:
        return None
    own = _named(_meta(node).get("owner")) or _of_group(manifest, getattr(node, "group", None))
    if own:
        return own
    tested = getattr(node, "attached_node", None) or getattr(node, "tested_node_unique_id", None)
    if tested is None and is_test(name):
        # A singular test says only what it reads.
        above = list(node.depends_on_nodes)
        tested = above[0] if len(above) == 1 else None
    return _owner(manifest, tested) if tested and tested != name else None


def _find(manifest: Any, name: str) -> Any:
    places = (manifest.nodes, manifest.sources, manifest.unit_tests, manifest.exposures)
    return next((place[name] for place in places if name in place), None)


def _meta(node: Any) -> Mapping[str, Any]:
    meta = getattr(node, "meta", None) or getattr(getattr(node, "config", None), "meta", None)
    return meta if isinstance(meta, Mapping) else {}


def _of_group(manifest: Any, group: str | None) -> str | None:
    groups = (each for each in manifest.groups.values() if each.name == group) if group else ()
    return next((_named(each.owner.to_dict()) for each in groups), None)


def _named(owner: object) -> str | None:
    """An owner as people write it: a name, or a mapping with a name or an address."""
    if isinstance(owner, Mapping):
        owner = owner.get("name") or owner.get("email")
    return str(owner).strip() or None if isinstance(owner, str) else None
