"""Keeps a build inside its locks: heartbeats while it works, and no statement to the warehouse without a fresh one.

dbt's threads ask for a permit before each statement, so that a process that was frozen sends nothing more when it wakes
up before its locks are confirmed. A build whose lock is lost is interrupted, so that dbt cancels its queries.
"""

from __future__ import annotations

import contextvars
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from flow_of_flows.dbt import interrupt
from flow_of_flows.dbt.locks.schema_lock import BEAT_SECONDS, SchemaLock, now
from flow_of_flows.errors import FlowsError, PlatformError

logger = logging.getLogger(__name__)

TICK_SECONDS = 0.25
RETRY_SECONDS = 1.0
# A thread that looks at the clock four times a second and misses that long was frozen.
FROZEN_SECONDS = 5.0
# How long a build waits, sending nothing, for a store that does not confirm its lock.
PATIENCE_SECONDS = 120.0
# How long the end of a build waits for a store to take its release; a lease that is not released ends by itself.
RELEASE_SECONDS = 5.0


@dataclass
class Fence:
    """The locks of one build.

    Attributes:
        what: the schemas, for messages.
        locks: those that are acquired.
        awaited: the lock that the build waits for in its queue.
        lost: why this build may write no more.
    """

    what: str
    locks: list[SchemaLock] = field(default_factory=list)
    awaited: SchemaLock | None = None
    lost: str | None = None
    _working: bool = False
    _over: threading.Event = field(default_factory=threading.Event)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    @contextmanager
    def up(self) -> Iterator[Fence]:
        """Watch the locks that are added inside the block; release them after it."""
        self._start(self._watch, "dbt-lock-watch")
        try:
            yield self
        finally:
            # A heartbeat on its way finds that the lock was released, and changes nothing.
            self._over.set()
            releasing = threading.Thread(target=self._release, name="dbt-lock-release", daemon=True)
            releasing.start()
            releasing.join(RELEASE_SECONDS)

    def add(self, lock: SchemaLock) -> None:
        """Keep an acquired lock."""
        self.awaited = None
        self.locks.append(lock)
        self._start(lambda: self._beat(lock), "dbt-lock-beat")

    def permit(self) -> None:
        """Return when the next statement may be sent.

        Raises:
            PlatformError: a lock is lost.
        """
        if self._is_fresh():
            return
        with self._changed:
            self._changed.wait_for(lambda: self._is_fresh() or self.lost is not None or interrupt.is_heard())
        self.check()
        if not self._is_fresh():
            raise PlatformError(f"The build is stopped before the lock on {self.what} is confirmed")

    def check(self) -> None:
        """Raise if a lock is lost.

        Raises:
            PlatformError: it is.
        """
        if self.lost is not None:
            raise PlatformError(
                f"The lock on {self.what} was lost: {self.lost}",
                hint="run again; it goes on with what was not built",
            )

    @contextmanager
    def interrupting(self) -> Iterator[None]:
        """Interrupt the block, in which dbt works, when a lock is lost."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        try:
            with self._changed:
                self._working = True
            try:
                yield
            finally:
                with self._changed:
                    self._working = False
        except KeyboardInterrupt:
            # It came before dbt listened, or after.
            self.check()
            raise

    def _is_fresh(self) -> bool:
        return self.lost is None and all(lock.is_fresh for lock in self.locks)

    def _start(self, work: Callable[[], None], name: str) -> None:
        context = contextvars.copy_context()
        threading.Thread(target=context.run, args=(work,), name=name, daemon=True).start()

    def _beat(self, lock: SchemaLock) -> None:
        """Send heartbeats until the end."""
        failing = False
        while not self._over.wait(RETRY_SECONDS if failing or not lock.is_fresh else BEAT_SECONDS):
            try:
                lock.beat()
            except FlowsError as error:
                if not failing:
                    logger.warning("The lock on %s is not confirmed for now: %s", self.what, error)
                failing = True
                continue
            if failing:
                logger.info("The lock on %s is confirmed again", self.what)
            failing = False
            if lock.lost is not None:
                return

    def _watch(self) -> None:
        """Notice what is lost, and let statements through that waited."""
        last, stale = now(), None
        while not self._over.wait(TICK_SECONDS):
            before, last = last, now()
            if last - before > FROZEN_SECONDS:
                # The process was frozen: the store says whether the lock is still its own.
                stale = None
            if self._is_fresh():
                stale = None
            elif stale is None:
                stale = last
                if all(lock.lost is None for lock in self.locks):
                    logger.warning("No statement is sent until the lock on %s is confirmed", self.what)
            lost = next((lock.lost for lock in self.locks if lock.lost), None)
            if lost is None and stale is not None and last - stale > PATIENCE_SECONDS:
                lost = f"its store did not confirm it for {PATIENCE_SECONDS:g} s"
            if lost is not None:
                self._lose(lost)
                return
            with self._changed:
                self._changed.notify_all()

    def _lose(self, why: str) -> None:
        logger.error("The lock on %s is lost: %s; dbt is stopped", self.what, why)
        with self._changed:
            self.lost = why
            if self._working:
                os.kill(os.getpid(), signal.SIGINT)
            self._changed.notify_all()

    def _release(self) -> None:
        for lock in (*([self.awaited] if self.awaited else []), *reversed(self.locks)):
            try:
                lock.release()
            except FlowsError as error:
                logger.warning("The lock on %s stays until its lease is over: %s", self.what, error)
