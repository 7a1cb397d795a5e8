"""Checkpoints of a build: writes the nodes that have finished to the state store while dbt runs.

It has a thread of its own. dbt starts the next node only after every finished model is checkpointed, so no model is
built on one that a crash would leave unrecorded. Tests and skips do not wait for a write. A write takes all nodes that
have finished. If the store fails, the log says so once and the write is tried again; a store that hangs delays the
build once, by seconds.
"""

from __future__ import annotations

import contextvars
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from flow_of_flows.dbt.events import DbtProgress
from flow_of_flows.dbt.results import Node
from flow_of_flows.errors import FlowsError
from flow_of_flows.retrying import jitter

logger = logging.getLogger(__name__)

# Between two writes that dbt does not wait for.
INTERVAL_SECONDS = 0.2
# Of one CPU: the interval grows with the time that the results of a large project take to write.
SHARE = 0.03
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
# How long dbt waits for the store; after that it does not wait again until the store has taken a write.
PATIENCE_SECONDS = 3.0
# How long the end of the build waits for the last write.
FAREWELL_SECONDS = 8.0


@dataclass
class Checkpointer:
    """Writes checkpoints of one run under its id.

    Attributes:
        begin: writes what a retry needs besides the results, before any node has finished.
        write: writes the results of the nodes that finished so far.
        problem: why the last write failed; None if the store has everything.
    """

    progress: DbtProgress
    begin: Callable[[], None]
    write: Callable[[Sequence[Node]], None]
    problem: str | None = "nothing was written in time"
    _begun: bool = False
    _written: int = 0
    _failures: int = 0
    _late: bool = False
    _over: threading.Event = field(default_factory=threading.Event)
    # Set when dbt waits for a write.
    _urgent: threading.Event = field(default_factory=threading.Event)
    _ended: threading.Condition = field(default_factory=threading.Condition)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Write checkpoints while the block runs, and the last one at its end, within `FAREWELL_SECONDS`."""
        # Prefect finds the run of a log record by the context.
        context = contextvars.copy_context()
        thread = threading.Thread(target=context.run, args=(self._keep_up,), name="dbt-checkpointer", daemon=True)
        self.progress.changed.set()
        self.progress.hold = self._hold
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            self._urgent.set()
            self.progress.changed.set()
            thread.join(FAREWELL_SECONDS)

    def log_stopped(self) -> None:
        """Log how far dbt came before it was stopped, and whether a retry can continue there."""
        done, _, _ = self.progress.snapshot()
        succeeded = sum(not node.failed for node in done)
        logger.warning("dbt was stopped with %d nodes done; its queries are cancelled", succeeded)
        if self.problem is not None:
            logger.warning("This run cannot be continued where it stopped: %s", self.problem)

    def _hold(self, built: int) -> None:
        """Return when the store has the first so many nodes; at once while the store fails."""
        with self._ended:
            if self._must_wait(built):
                self._urgent.set()
            if not self._ended.wait_for(lambda: not self._must_wait(built), PATIENCE_SECONDS):
                self._late = True
                self._ended.notify_all()

    def _must_wait(self, built: int) -> bool:
        return self._written < built and not (self._failures or self._late or self._over.is_set())

    def _keep_up(self) -> None:
        while True:
            self.progress.changed.wait()
            self.progress.changed.clear()
            self._urgent.clear()
            last = self._over.is_set()
            pause = self._save()
            with self._ended:
                self._ended.notify_all()
            if last:
                return
            (self._over if self._failures else self._urgent).wait(pause)

    def _save(self) -> float:
        """Write what is new; return the seconds until the next write."""
        try:
            cost = self._store()
        except Exception as error:  # noqa: BLE001 - it must not end the build, whatever it is; `_failed` logs it
            return self._failed(error)
        if self._failures:
            logger.info("The state store takes what this run does again")
        self._failures, self._late, self.problem = 0, False, None
        return max(INTERVAL_SECONDS, cost / SHARE)

    def _store(self) -> float:
        """Write what the store does not have yet; return the seconds of CPU for the results, without the manifest."""
        if not self._begun:
            self.begin()
            self._begun = True
        started = time.thread_time()
        done, _, _ = self.progress.snapshot()
        if len(done) > self._written:
            self.write(done)
            self._written = len(done)
        return time.thread_time() - started

    def _failed(self, error: Exception) -> float:
        self.problem = str(error)
        if not self._failures:
            logger.warning(
                "What this run does is not kept for now, a run that is killed starts anew: %s",
                error,
                exc_info=not isinstance(error, FlowsError),
            )
        pause = min(FIRST_PAUSE * 2**self._failures, LONGEST_PAUSE)
        self._failures += 1
        self.progress.changed.set()
        return jitter(pause)
