"""The log of publications, and which of them is production. Pure.

artifacts/publications.json   this log, newest first: the one object that is replaced on a condition
history/<id>/                 the files of each publication in the log; never changed
artifacts/                    copies of the newest one's, manifest last, for people and other tools
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from flow_of_flows.errors import ConfigurationError

LOG = "artifacts/publications.json"


class DamagedError(ConfigurationError):
    """What was published is not whole any more; nothing is compared with it."""


class Publication(BaseModel):
    """What one run made production, or a rollback made it again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    time: datetime = Field(description="Its place in the order: when the run started, or when it was rolled back to.")
    run: UUID
    project: str
    adapter: str
    dbt: str
    target: str
    files: dict[str, str] = Field(default_factory=dict, description="SHA-256 of each file by its name.")
    origin: str | None = Field(default=None, description="Of a rollback: the publication that it brought back.")

    @property
    def id(self) -> str:
        """Names it, and sorts by time."""
        return f"{self.time.astimezone(UTC):%Y%m%dT%H%M%S.%fZ}-{self.run}"

    @property
    def folder(self) -> str:
        """Where its files are."""
        return f"history/{self.id}"

    @property
    def identity(self) -> Identity:
        """What its manifest is of."""
        return Identity(self.project, self.adapter, self.dbt)


class Log(BaseModel):
    """The publications that are kept, newest first."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    publications: tuple[Publication, ...] = ()

    @property
    def current(self) -> Publication | None:
        """The one that is production."""
        return self.publications[0] if self.publications else None

    def conflict(self, new: Publication, base: str | None = None) -> str | None:
        """Return why a publication may not follow those in the log; None if it may.

        A run that started before the newest run, or before a rollback, built something older than production. A run
        that built only what changed makes production whole only if the rest is still its base publication.

        Args:
            new: the publication.
            base: id of its base publication, of a run that built only what changed; empty for another tool's manifest.
        """
        if base is not None and base != (self.current.id if self.current else ""):
            return "production is not what this run compared with any more, and it built only what differed"
        if self.current is None:
            return None
        if refused := incompatibility(self.current.identity, new.identity):
            return f"what is there is not this run's to replace: {refused.reason}"
        if new.time >= self.current.time:
            return None
        if self.current.origin is None:
            return f"run {self.current.run} started later and has published"
        return f"production was rolled back to {self.current.origin} after this run had started"

    def before(self) -> Publication | None:
        """Return where a rollback without a name goes: the run before the one that is production.

        Those that were rolled back from are passed over, so that two rollbacks go two runs back, and one after a new
        run does not bring back what was rolled back before it.
        """
        if self.current is None:
            return None
        limit = self.current.origin or self.current.id
        runs = [entry for entry in self.publications if entry.origin is None and entry.id < limit]
        return next((entry for entry in runs if not self.is_rolled_back(entry)), None)

    def is_rolled_back(self, entry: Publication) -> bool:
        """Return whether a rollback went from it, or from a later one, to one before it."""
        return any(back.origin is not None and back.origin < entry.id < back.id for back in self.publications)

    def find(self, name: str) -> Publication | None:
        """Return the newest publication of an id or of a run's id."""
        return next((entry for entry in self.publications if name in (entry.id, str(entry.run))), None)

    def after(self, new: Publication, keep: int) -> Log:
        """Return the log with one more.

        Args:
            new: the publication to add.
            keep: how many publications stay.
        """
        return Log(publications=(new, *self.publications)[:keep])


def parse(data: bytes | None, where: str) -> Log:
    """Return the log of a store; an empty one where none was written yet.

    Args:
        data: the bytes of the log; None if there are none.
        where: the store, for messages.

    Raises:
        DamagedError: it is not a log, or one of a later version of this package.
    """
    if data is None:
        return Log()
    try:
        return Log.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise DamagedError(
            f"The log of publications cannot be read: {place + ': ' if place else ''}{first['msg']}",
            location=f"{where}/{LOG}",
            hint="restore it, or remove it to begin a new one with the next run",
        ) from error


SCHEMA = "https://schemas.getdbt.com/dbt/manifest/"


class Fault(Enum):
    """Why a manifest may not be used."""

    BROKEN = "damaged, or of another version of dbt; the next publication replaces it"
    INCOMPATIBLE = "of another project or adapter; this run must not replace it"


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
    """Return why a run may not compare with a manifest; None if it may.

    Args:
        manifest: a manifest.json.
        mine: what the manifests of this run are of.
    """
    try:
        document = json.loads(manifest)
    except ValueError:
        return ManifestRefusal(Fault.BROKEN, "it is not JSON, or only a part of it")
    metadata = document.get("metadata") if isinstance(document, dict) else None
    if not isinstance(metadata, dict) or not isinstance(document.get("nodes"), dict):
        return ManifestRefusal(Fault.BROKEN, "it is not a manifest of dbt: it has no metadata or no nodes")
    if not str(metadata.get("dbt_schema_version")).startswith(SCHEMA):
        return ManifestRefusal(
            Fault.BROKEN, f"it is not a manifest of dbt: its schema is {metadata.get('dbt_schema_version')}"
        )
    return incompatibility(_identity(metadata), mine) or _other_version(str(metadata.get("dbt_version")), mine.dbt)


def incompatibility(theirs: Identity, mine: Identity) -> ManifestRefusal | None:
    """Return why artifacts are not of this run's project and adapter; None if they are.

    Args:
        theirs: what the artifacts are of.
        mine: what the manifests of this run are of.
    """
    for what, other, own in (("project", theirs.project, mine.project), ("adapter", theirs.adapter, mine.adapter)):
        if other != own:
            return ManifestRefusal(Fault.INCOMPATIBLE, f"it is of another {what}: {other}, and this run's is {own}")
    return None


def identity(manifest: bytes) -> Identity | None:
    """Return what a manifest says it was made of; None if it says nothing."""
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
