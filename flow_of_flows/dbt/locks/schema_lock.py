"""One build's lock in one lock store: acquire, heartbeat, release.

A holder that does not beat is judged by the clock of whoever waits: it saw no change for a whole lease, while the store
answered. Clocks of machines are never compared.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from flow_of_flows.dbt.locks import process
from flow_of_flows.dbt.locks.record import LockHolder, LockRecord, LockStore
from flow_of_flows.dbt.state import Stored
from flow_of_flows.errors import FlowsError, PlatformError

BEAT_SECONDS = 6.0
# How long a holder sends statements to the warehouse without a confirmed heartbeat.
HOLD_SECONDS = 22.0
LEASE_SECONDS = 34.0
# Whoever looks less often than this has not watched the holders in between.
WATCHED_SECONDS = 15.0
ATTEMPTS = 20


def now() -> float:
    """Return seconds of a clock that goes on while the machine sleeps."""
    # macOS has no CLOCK_BOOTTIME; its monotonic clock goes on.
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@dataclass
class SchemaLock:
    """A build's lock in one store.

    Attributes:
        me: the holder to write into the record.
        confirmed: when the last heartbeat that the store took was sent.
        lost: why this build holds the lock no longer; None while it does.
    """

    store: LockStore
    key: str
    me: LockHolder
    confirmed: float = float("-inf")
    lost: str | None = None
    _seen: dict[str, tuple[int, float]] = field(default_factory=dict)
    _looked: float = float("-inf")

    @property
    def is_fresh(self) -> bool:
        """Whether nobody else can have taken the lock yet."""
        return self.lost is None and now() - self.confirmed < HOLD_SECONDS

    def try_acquire(self) -> LockHolder | None:
        """Acquire the lock; return the holder that is in the way, None if it is acquired.

        Raises:
            FlowsError: the store does not answer, or refuses.
        """
        for _ in range(ATTEMPTS):
            sent = now()
            found, record = self._read()
            self._observe(record, sent)
            kept = [holder for holder in record.holders if not self._is_over(holder, sent)]
            if busy := next((holder for holder in kept if holder.conflicts(self.me)), None):
                return busy
            if self._write(record.adding(kept, self.me), found):
                self.confirmed = sent
                return None
        raise self._crowded()

    def watch(self) -> None:
        """Look at the holders without acquiring: a lease runs for those whom this build waits for in another store.

        Raises:
            FlowsError: the store does not answer.
        """
        sent = now()
        self._observe(self._read()[1], sent)

    def beat(self) -> None:
        """Confirm the lock, or find it lost.

        Raises:
            FlowsError: the store does not answer.
        """
        for _ in range(ATTEMPTS):
            sent = now()
            found, record = self._read()
            if record.holder(self.me.token) is None:
                others = [holder.title for holder in record.holders if holder.conflicts(self.me)]
                self.lost = f"{others[0]} took it over" if others else "it was broken, or given to a build that is over"
                return
            if self._write(record.beaten(self.me.token), found):
                self.confirmed = sent
                return
        raise self._crowded()

    def release(self) -> None:
        """Leave the record.

        Raises:
            FlowsError: the store does not answer.
        """
        for _ in range(ATTEMPTS):
            found, record = self._read()
            if record.holder(self.me.token) is None or self._write(record.without(self.me.token), found):
                return
        raise self._crowded()

    def _is_over(self, holder: LockHolder, sent: float) -> bool:
        """Whether a holder's place is free: an earlier process of this run, a process that is gone, or no heartbeat."""
        if holder.run == self.me.run or process.is_gone(holder.process):
            return True
        _, since = self._seen[holder.token]
        return sent - since >= LEASE_SECONDS

    def _observe(self, record: LockRecord, sent: float) -> None:
        """Remember since when each holder's heartbeat is as it is."""
        before = self._seen if sent - self._looked < WATCHED_SECONDS else {}
        self._looked = sent
        self._seen = {
            holder.token: before[holder.token]
            if holder.token in before and before[holder.token][0] == holder.beat
            else (holder.beat, sent)
            for holder in record.holders
        }

    def _read(self) -> tuple[Stored | None, LockRecord]:
        try:
            found = self.store.look(self.key)
        except FlowsError:
            # Nobody can beat in a store that is away: the lease begins anew when it is back.
            self._seen = {}
            raise
        return found, LockRecord.parse(found, f"{self.store.describe()}, {self.key}")

    def _write(self, record: LockRecord, found: Stored | None) -> bool:
        return self.store.replace(self.key, record.model_dump_json().encode(), found.version if found else None)

    def _crowded(self) -> PlatformError:
        return PlatformError(
            f"The record of dbt's schema locks was changed by others {ATTEMPTS} times in a row",
            location=self.store.describe(),
            hint="run again",
        )
