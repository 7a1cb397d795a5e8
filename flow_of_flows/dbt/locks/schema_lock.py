"""One build's lock in one lock store: acquire or queue, heartbeat, release.

A build that does not beat is judged by the clock of whoever waits: it saw no change for a whole lease, while the store
answered. Clocks of machines are never compared. Those that wait have a place in the record, in the order in which they
came, so that a build that is tried again does not overtake one that has waited for it.

A lock whose process is gone is free at once for others of the same machine. Where there is no /proc (macOS), and
between machines and pods, nothing is known of it: the lease decides.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path

from flow_of_flows.dbt.locks.record import LockHolder, LockRecord, LockStore
from flow_of_flows.dbt.state import Stored
from flow_of_flows.errors import FlowsError, PlatformError

PROC = Path("/proc")

BEAT_SECONDS = 6.0
# How long a holder sends statements to the warehouse without a confirmed heartbeat.
HOLD_SECONDS = 22.0
LEASE_SECONDS = 34.0
# Whoever looks less often than this has not watched the holders in between.
WATCHED_SECONDS = 15.0
ATTEMPTS = 20


def identity() -> str:
    """Return a text that names this process among all of all machines; empty where there is none."""
    pid = os.getpid()
    try:
        return f"{_machine()} {pid} {_started(pid)}"
    except OSError:
        return ""


def is_gone(process: str) -> bool:
    """Return whether a process has surely ended; False for one that cannot be seen from here."""
    try:
        machine, pid, started = process.rsplit(" ", 2)
        return machine == _machine() and _started(int(pid)) != started
    except (OSError, ValueError):
        return False


def _machine() -> str:
    """The boot of the kernel and the namespace of process ids in it."""
    boot = (PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{boot} {(PROC / 'self/ns/pid').readlink()}"


def _started(pid: int) -> str:
    """When the process began, in ticks since the boot; empty where it is gone."""
    try:
        fields = (PROC / str(pid) / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return "" if fields[0] == "Z" else fields[19]


def now() -> float:
    """Return seconds of a clock that goes on while the machine sleeps."""
    # macOS has no CLOCK_BOOTTIME; its monotonic clock goes on.
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@dataclass(frozen=True)
class Silence:
    """How long a build was watched without a heartbeat.

    Attributes:
        beat: the count of its last one.
    """

    beat: int
    seconds: float = 0.0

    def after(self, beat: int, watched: float) -> Silence:
        """Return the silence after one more look.

        Args:
            beat: the count of the last heartbeat now.
            watched: seconds since the look before.
        """
        return Silence(beat, self.seconds + watched) if beat == self.beat else Silence(beat)


UNSEEN = Silence(beat=-1)


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
    _silent: dict[str, Silence] = field(default_factory=dict)
    _looked: float = float("-inf")
    _queued: float = float("-inf")

    @property
    def is_fresh(self) -> bool:
        """Whether nobody else can have taken the lock yet."""
        return self.lost is None and now() - self.confirmed < HOLD_SECONDS

    def try_acquire(self, *, queue: bool = True) -> LockHolder | None:
        """Acquire the lock; return the build that this one waits for, None if it is acquired.

        Args:
            queue: keep a place among those that wait, until `release`; who comes later waits for this build, too.

        Raises:
            FlowsError: the store does not answer, or refuses.
        """
        for _ in range(ATTEMPTS):
            sent = now()
            found, record = self._read()
            self._observe(record, sent)
            living = record.living(self._is_over)
            busy = living.ahead_of(self.me)
            if busy is None:
                if self._write(living.acquired(self.me), found):
                    self.confirmed = sent
                    return None
            elif not queue or self._keep_place(living, found, sent):
                return busy
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
        """Leave the record, and the queue.

        Raises:
            FlowsError: the store does not answer.
        """
        for _ in range(ATTEMPTS):
            found, record = self._read()
            left = record.without(self.me.token)
            if left == record or self._write(left, found):
                return
        raise self._crowded()

    def _keep_place(self, living: LockRecord, found: Stored | None, sent: float) -> bool:
        """Join the queue, or confirm the place in it when it is time; return whether the store took that."""
        if living.waiting(self.me.token) is None:
            kept = living.queued(self.me)
        elif sent - self._queued >= BEAT_SECONDS:
            kept = living.beaten(self.me.token)
        else:
            return True
        if taken := self._write(kept, found):
            self._queued = sent
        return taken

    def _is_over(self, holder: LockHolder) -> bool:
        """Whether a build's place is free: its process is gone, or it sent no heartbeat for a whole lease."""
        if holder.token == self.me.token:
            return False
        return is_gone(holder.process) or self._silent[holder.token].seconds >= LEASE_SECONDS

    def _observe(self, record: LockRecord, sent: float) -> None:
        """Add up for how long each build's heartbeat is as it is."""
        passed = sent - self._looked
        # Nobody can beat in a store that is away, or in a machine that sleeps: what was not watched does not count.
        watched = passed if passed < WATCHED_SECONDS else 0.0
        self._looked = sent
        self._silent = {
            each.token: self._silent.get(each.token, UNSEEN).after(each.beat, watched)
            for each in (*record.holders, *record.queue)
        }

    def _read(self) -> tuple[Stored | None, LockRecord]:
        try:
            found = self.store.look(self.key)
        except FlowsError:
            self._looked = float("-inf")
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
