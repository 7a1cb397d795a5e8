"""One dbt build per schema: acquires a build's locks in every lock store, or waits, visibly, for the holder.

The fence keeps a build inside its locks. dbt's threads ask it for a permit before each statement, so that a process
that was frozen sends nothing more when it wakes up before its locks are confirmed. A build whose lock is lost is
interrupted, so that dbt cancels its queries.
"""

from __future__ import annotations

import contextlib
import contextvars
import getpass
import logging
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID

import httpx
from prefect.exceptions import PrefectHTTPStatusError

from flow_of_flows.aws import DeniedError
from flow_of_flows.child_report import WAITING_FOR_SCHEMA, ChildReport
from flow_of_flows.dbt import runner
from flow_of_flows.dbt.locks import schema_lock
from flow_of_flows.dbt.locks.record import LockHolder, LockStore, PrefectVariables
from flow_of_flows.dbt.locks.schema_lock import BEAT_SECONDS, SchemaLock, now
from flow_of_flows.dbt.locks.schemas import WrittenSchemas
from flow_of_flows.dbt.state import Store
from flow_of_flows.errors import Cause, ConfigurationError, FlowsError, PlatformError
from flow_of_flows.prefect_api import artifacts
from flow_of_flows.retrying import RetryPolicy, jitter

TICK_SECONDS = 0.25
RETRY_SECONDS = 1.0
# A thread that looks at the clock four times a second and misses that long was frozen.
FROZEN_SECONDS = 5.0
# How long a build waits, sending nothing, for a store that does not confirm its lock.
CONFIRM_SECONDS = 120.0
# How long the end of a build waits for a store to take its release; a lease that is not released ends by itself.
RELEASE_SECONDS = 5.0

logger = logging.getLogger(__name__)

WhenBusy = Literal["wait", "fail", "skip"]
POLL_SECONDS = 1.5
# How long a store may be away when a lock is acquired; while a build waits in its queue, longer.
ACQUIRE_SECONDS, WAIT_SECONDS = 50.0, 600.0


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
            self._changed.wait_for(lambda: self._is_fresh() or self.lost is not None or runner.is_heard())
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
            if lost is None and stale is not None and last - stale > CONFIRM_SECONDS:
                lost = f"its store did not confirm it for {CONFIRM_SECONDS:g} s"
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


class BusyError(PlatformError):
    """Another build writes to a schema of this one, and this one does not wait."""

    default_cause = Cause.BUSY


@dataclass(frozen=True)
class BuildLock:
    """The locks of one build, in every lock store that it shares with others.

    Attributes:
        run: id of the run; its next process takes over what this one holds.
        title: the run for a sentence that others read.
    """

    stores: Sequence[LockStore]
    run: UUID
    title: str
    when_busy: WhenBusy = "wait"
    token: str = field(default_factory=lambda: secrets.token_hex(8))

    @classmethod
    def of(cls, store: Store, run: UUID, when_busy: WhenBusy) -> BuildLock:
        """Return the locks of the current run: in the state store, and at the Prefect API if the run is there.

        Args:
            store: the state store.
            run: id of the current run.
            when_busy: what to do while another build has a schema.
        """
        stores: list[LockStore] = [store, *([PrefectVariables()] if artifacts.in_run() else [])]
        return cls(stores, run, _title(), when_busy)

    @contextmanager
    def held(self, written: WrittenSchemas) -> Iterator[Fence]:
        """Hold what a build writes to; wait for it before the block.

        Raises:
            BusyError: another build holds it, and this one does not wait.
            ConfigurationError: a store refuses.
            PlatformError: a store is away.
        """
        with Fence(str(written)).up() as fence:
            # Always in the same order, and each warehouse at once: no two builds wait for each other.
            stores = self.stores if written.schemas else ()
            locks = [SchemaLock(store, written.key, self._holder(written)) for store in stores]
            waited = [self._acquire(lock, locks[number:], fence) for number, lock in enumerate(locks, 1)]
            if any(waited):
                _show("Running", f"Building into {fence.what}")
            yield fence

    def _holder(self, written: WrittenSchemas) -> LockHolder:
        return LockHolder(
            token=self.token,
            run=self.run,
            title=self.title,
            schemas=written.digests,
            process=schema_lock.identity(),
        )

    def _acquire(self, lock: SchemaLock, later: Sequence[SchemaLock], fence: Fence) -> bool:
        """Acquire one lock; return whether the build had to wait for it."""
        fence.awaited = lock
        try:
            waited = self._wait(lock, later, fence)
        except ConfigurationError as error:
            if not self._does_without(lock.store, error):
                raise
            fence.awaited = None
            logger.warning("Builds into %s are not kept apart by %s: %s", fence.what, lock.store.describe(), error)
            return False
        fence.add(lock)
        return waited

    def _does_without(self, store: LockStore, error: ConfigurationError) -> bool:
        """Whether a build may go on without a store that refuses: it may only read it, or may not use variables."""
        return isinstance(store, PrefectVariables) or isinstance(error, DeniedError)

    def _wait(self, lock: SchemaLock, later: Sequence[SchemaLock], fence: Fence) -> bool:
        """Return when the lock is acquired; watch the later ones meanwhile, so that their leases end with its own."""
        ahead: tuple[str, bool] | None = None
        beats: dict[str, int] = {}
        queue = self.when_busy == "wait"
        while busy := _answered(lock, WAIT_SECONDS if ahead else ACQUIRE_SECONDS, queue=queue):
            text = f"{busy.title}, which {'waits for' if busy.waits else 'builds into'} {fence.what}"
            # A holder that nobody has watched may be dead: it is busy once its heartbeat moves, over after its lease.
            if not queue and beats.setdefault(busy.token, busy.beat) != busy.beat:
                raise BusyError(f"The schema is busy with {text}", hint="run again when it is over")
            if (busy.token, busy.waits) != ahead:
                ahead = (busy.token, busy.waits)
                _show(WAITING_FOR_SCHEMA, f"Waiting for {text}")
            fence.check()
            for each in later:
                with contextlib.suppress(FlowsError):  # what is wrong there is said when its turn comes
                    each.watch()
            time.sleep(jitter(POLL_SECONDS))
        return ahead is not None


def skipped(error: BusyError) -> ChildReport:
    """Return the report of a build that left the schema to another one."""
    return ChildReport(summary=f"Skipped, nothing was built: {error.message}", facts={"skipped": "busy"})


def _answered(lock: SchemaLock, seconds: float, *, queue: bool) -> LockHolder | None:
    """Try to acquire a lock, again while its store is away.

    Raises:
        PlatformError: it was away for so long.
    """
    return RetryPolicy(longest=10.0, seconds=seconds).call(
        lambda: lock.try_acquire(queue=queue), again=lambda error: isinstance(error, PlatformError), log=_log
    )


def _log(error: BaseException, pause: float) -> None:
    logger.warning("A schema lock cannot be acquired for now; next try in %.1f s: %s", pause, error)


def _show(name: str, message: str) -> None:
    """Say in the log and in the run's state what the build does; an API that is away does not stop it."""
    logger.info("%s", message)
    try:
        artifacts.running(name, message)
    except (PrefectHTTPStatusError, httpx.HTTPError) as error:
        logger.warning("The state of this run does not show that: %s", error)


def _title() -> str:
    """Return the current run with its flow and who started it; outside of a run the process."""
    run = artifacts.current_run()
    if run is None:
        return f"process {os.getpid()} of {_user()}"
    who = run.created_by.display_value if run.created_by and run.created_by.display_value else _user()
    return f"run {run.name} ({artifacts.flow_name()}, started by {who})"


def _user() -> str:
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = str(os.getuid())
    return f"{name}@{socket.gethostname()}"
