"""Whether a manifest may be compared with: its bytes and what this run is in, the reason why not out. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum
from typing import Any

SCHEMA = "https://schemas.getdbt.com/dbt/manifest/"


class Fault(Enum):
    """Who a manifest that may not be used belongs to."""

    BROKEN = "ours, but of no use; the next publication replaces it"
    FOREIGN = "of something else; this store is not ours to write to"


@dataclass(frozen=True)
class ManifestRefusal:
    """Why a manifest is not used, as the rest of a sentence."""

    fault: Fault
    reason: str


@dataclass(frozen=True)
class Identity:
    """What a manifest was made of, and by."""

    project: str
    adapter: str
    dbt: str


def refusal(manifest: bytes, mine: Identity) -> ManifestRefusal | None:
    """Why a run may not compare with a manifest; None if it may."""
    try:
        document = json.loads(manifest)
    except ValueError:
        return ManifestRefusal(Fault.BROKEN, "it is not JSON, or only a part of it")
    metadata = document.get("metadata") if isinstance(document, dict) else None
    if not isinstance(metadata, dict) or not isinstance(document.get("nodes"), dict):
        return ManifestRefusal(Fault.BROKEN, "it is no manifest of dbt: it has no metadata or no nodes")
    if not str(metadata.get("dbt_schema_version")).startswith(SCHEMA):
        return ManifestRefusal(
            Fault.BROKEN, f"it is no manifest of dbt: its schema is {metadata.get('dbt_schema_version')}"
        )
    return foreign(_identity(metadata), mine) or _other_version(str(metadata.get("dbt_version")), mine.dbt)


def foreign(theirs: Identity, mine: Identity) -> ManifestRefusal | None:
    """Why artifacts are not those of this run's project and warehouse."""
    for what, other, own in (("project", theirs.project, mine.project), ("adapter", theirs.adapter, mine.adapter)):
        if other != own:
            return ManifestRefusal(Fault.FOREIGN, f"it is of another {what}: {other}, and this run's is {own}")
    return None


def identity(manifest: bytes) -> Identity | None:
    """What a manifest says it was made of; None if it says nothing."""
    try:
        metadata = json.loads(manifest)["metadata"]
        return Identity(metadata["project_name"], metadata["adapter_type"], metadata["dbt_version"])
    except (ValueError, KeyError, TypeError):
        return None


def _identity(metadata: dict[str, Any]) -> Identity:
    return Identity(*(str(metadata.get(key)) for key in ("project_name", "adapter_type", "dbt_version")))


def _other_version(theirs: str, mine: str) -> ManifestRefusal | None:
    """Patches of a minor version write the same manifests; another has other macros, so that all seems modified."""
    if theirs.split(".")[:2] == mine.split(".")[:2]:
        return None
    return ManifestRefusal(Fault.BROKEN, f"it is of another version of dbt: {theirs}, and this run's is {mine}")
