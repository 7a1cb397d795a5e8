"""The record of who builds into which schemas of one warehouse, and who waits, as lock stores keep it. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
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
    """One build that holds schemas, or waits for them.

    Attributes:
        token: tells processes apart; the same run has another one in its next pod.
        title: the run, its flow and who started it, for a sentence.
        schemas: digests of what it writes.
        process: tells others of its machine whether it lives.
        beat: counts the heartbeats.
        waits: it is in the queue.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    token: str
    run: UUID
    title: str
    schemas: tuple[str, ...]
    process: str = ""
    beat: int = 0
    waits: bool = False

    def conflicts(self, other: LockHolder) -> bool:
        """Return whether both write to the same schema."""
        return not set(self.schemas).isdisjoint(other.schemas)


class LockRecord(BaseModel):
    """The builds that write to one warehouse now.

    Attributes:
        fence: the fencing token: a number that grows with each build that takes a place.
        queue: the builds that wait, first come first.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    version: Literal[1] = 1
    fence: int = 0
    holders: tuple[LockHolder, ...] = ()
    queue: tuple[LockHolder, ...] = ()

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

    def waiting(self, token: str) -> LockHolder | None:
        """Return the build in the queue with this token."""
        return next((waiting for waiting in self.queue if waiting.token == token), None)

    def ahead_of(self, me: LockHolder) -> LockHolder | None:
        """Return whom a build waits for: a holder, else a build before it in the queue; None if its turn is now."""
        before = itertools.takewhile(lambda waiting: waiting.run != me.run, self.queue)
        return next((each for each in (*self.holders, *before) if each.conflicts(me) and each.run != me.run), None)

    def living(self, is_over: Callable[[LockHolder], bool]) -> LockRecord:
        """Return the record without the builds that are over."""
        holders = tuple(holder for holder in self.holders if not is_over(holder))
        return self.model_copy(
            update={"holders": holders, "queue": tuple(each for each in self.queue if not is_over(each))}
        )

    def acquired(self, me: LockHolder) -> LockRecord:
        """Return the record with one more holder, who takes over what earlier processes of its run have."""
        return LockRecord(
            fence=self.fence + 1,
            holders=(*(holder for holder in self.holders if holder.run != me.run), me),
            queue=tuple(waiting for waiting in self.queue if waiting.run != me.run),
        )

    def queued(self, me: LockHolder) -> LockRecord:
        """Return the record with a build in the queue: at its end, or at the place of an earlier process of its run."""
        mine = me.model_copy(update={"waits": True})
        places = [mine if waiting.run == me.run else waiting for waiting in self.queue]
        return self.model_copy(update={"queue": tuple(places if mine in places else [*places, mine])})

    def beaten(self, token: str) -> LockRecord:
        """Return the record with one more heartbeat of a build."""
        return self.model_copy(update={"holders": _beaten(self.holders, token), "queue": _beaten(self.queue, token)})

    def without(self, token: str) -> LockRecord:
        """Return the record without a build."""
        return self.living(lambda holder: holder.token == token)


def _beaten(holders: Iterable[LockHolder], token: str) -> tuple[LockHolder, ...]:
    return tuple(
        holder.model_copy(update={"beat": holder.beat + 1}) if holder.token == token else holder for holder in holders
    )
