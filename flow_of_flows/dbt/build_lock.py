"""One dbt build per schema: acquires a build's locks in every lock store, or waits, visibly, for the holder."""

from __future__ import annotations

import contextlib
import getpass
import logging
import os
import secrets
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID

import httpx
from prefect.exceptions import PrefectHTTPStatusError

from flow_of_flows.aws import DeniedError
from flow_of_flows.child_report import WAITING_FOR_SCHEMA, ChildReport
from flow_of_flows.dbt.locks import process
from flow_of_flows.dbt.locks.fence import Fence
from flow_of_flows.dbt.locks.record import LockHolder, LockStore
from flow_of_flows.dbt.locks.schema_lock import SchemaLock
from flow_of_flows.dbt.locks.schemas import WrittenSchemas
from flow_of_flows.dbt.locks.variables import PrefectVariables
from flow_of_flows.dbt.state import Store
from flow_of_flows.errors import Cause, ConfigurationError, FlowsError, PlatformError
from flow_of_flows.prefect_api import artifacts as publish
from flow_of_flows.retrying import RetryPolicy, jitter

logger = logging.getLogger(__name__)

WhenBusy = Literal["wait", "fail", "skip"]
POLL_SECONDS = 1.5
# How long a store may be away when a lock is acquired; while a build waits in its queue, longer.
ACQUIRE_SECONDS, WAIT_SECONDS = 50.0, 600.0


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
        """Return the locks of the current run: in the state store, and at the Prefect API if the run is there."""
        stores: list[LockStore] = [store, *([PrefectVariables()] if publish.in_run() else [])]
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
            process=process.identity(),
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
        publish.running(name, message)
    except (PrefectHTTPStatusError, httpx.HTTPError) as error:
        logger.warning("The state of this run does not show that: %s", error)


def _title() -> str:
    """Return the current run with its flow and who started it; outside of a run the process."""
    run = publish.current_run()
    if run is None:
        return f"process {os.getpid()} of {_user()}"
    who = run.created_by.display_value if run.created_by and run.created_by.display_value else _user()
    return f"run {run.name} ({publish.flow_name()}, started by {who})"


def _user() -> str:
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = str(os.getuid())
    return f"{name}@{socket.gethostname()}"
