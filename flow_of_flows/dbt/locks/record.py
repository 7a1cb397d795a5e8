"""The record of who builds into which schemas of one warehouse, as lock stores keep it. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, Protocol
from uuid import UUID

from pydantic import BaseModel, ConfigDict, ValidationError

from flow_of_flows.dbt.state import Stored
from flow_of_flows.errors import PlatformError


class LockStore(Protocol):
    """A store of records with compare-and-swap; every state store is one."""

    def look(self, key: str) -> Stored | None:
        """Return the bytes under a key with their version, None if there are none."""
        ...

    def replace(self, key: str, data: bytes, version: str | None) -> bool:
        """Put bytes under a key if what is there still has this version; return whether it had."""
        ...

    def describe(self) -> str:
        """Return where this is, for people."""
        ...


class LockHolder(BaseModel):
    """One build that holds schemas.

    Attributes:
        token: tells processes apart; the same run has another one in its next pod.
        title: the run, its flow and who started it, for a sentence.
        schemas: digests of what it writes.
        process: tells others of its machine whether it lives.
        beat: counts the heartbeats.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    token: str
    run: UUID
    title: str
    schemas: tuple[str, ...]
    process: str = ""
    beat: int = 0

    def conflicts(self, other: LockHolder) -> bool:
        """Return whether both write to the same schema."""
        return not set(self.schemas).isdisjoint(other.schemas)


class LockRecord(BaseModel):
    """The builds that write to one warehouse now.

    Attributes:
        fence: the fencing token: a number that grows with each build that takes a place.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    version: Literal[1] = 1
    fence: int = 0
    holders: tuple[LockHolder, ...] = ()

    @classmethod
    def parse(cls, found: Stored | None, where: str) -> LockRecord:
        """Read a stored record; an absent one has no holders.

        Raises:
            PlatformError: it is damaged.
        """
        if found is None:
            return cls()
        try:
            return cls.model_validate_json(found.data)
        except ValidationError as error:
            raise PlatformError(
                "The record of dbt's schema locks cannot be read",
                location=where,
                hint="see that no dbt build runs, then delete it; the next build writes a new one",
            ) from error

    def holder(self, token: str) -> LockHolder | None:
        """Return the holder with this token."""
        return next((holder for holder in self.holders if holder.token == token), None)

    def adding(self, kept: Iterable[LockHolder], new: LockHolder) -> LockRecord:
        """Return the record with one more holder, and of the others only those to keep."""
        return LockRecord(fence=self.fence + 1, holders=(*kept, new))

    def beaten(self, token: str) -> LockRecord:
        """Return the record with one more heartbeat of a holder."""
        holders = (
            holder.model_copy(update={"beat": holder.beat + 1}) if holder.token == token else holder
            for holder in self.holders
        )
        return LockRecord(fence=self.fence, holders=tuple(holders))

    def without(self, token: str) -> LockRecord:
        """Return the record without a holder."""
        return LockRecord(fence=self.fence, holders=tuple(h for h in self.holders if h.token != token))
