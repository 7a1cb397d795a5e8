"""What a build has done, kept while it runs: nodes that finish in, writes to the state store out. Used by `build`.

From a thread of its own: the first node that finishes is written at once, and so is one that was long; of many short
ones a write takes all that finished meanwhile. A store that fails is told once and tried again; the build never waits.
"""

from __future__ import annotations

import contextvars
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from flows.errors import FlowsError
from flows.transform.events import Progress
from flows.transform.results import Node

logger = logging.getLogger(__name__)

# What finishes within it, before a kill, may be built again.
INTERVAL_SECONDS = 0.2
# Of one CPU: what a large project's results cost to write is spread over a longer interval.
SHARE = 0.03
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
# How long the end of the build waits for the last write.
FAREWELL_SECONDS = 8.0


@dataclass
class Saver:
    """Keeps what a run did under its id.

    Attributes:
        begin: writes what a retry needs beside the results, before any node finished.
        write: writes the results of the nodes that finished so far.
        trouble: why the last write failed; None if the store has everything.
    """

    progress: Progress
    begin: Callable[[], None]
    write: Callable[[Sequence[Node]], None]
    trouble: str | None = "nothing was written in time"
    _begun: bool = False
    _written: int = 0
    _failures: int = 0
    _over: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def saving(self) -> Iterator[None]:
        """Save for as long as the block runs; at its end what is left, within `FAREWELL_SECONDS`."""
        # Prefect finds the run of a log record by the context.
        context = contextvars.copy_context()
        thread = threading.Thread(target=context.run, args=(self._keep_up,), name="dbt-saver", daemon=True)
        self.progress.changed.set()
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            self.progress.changed.set()
            thread.join(FAREWELL_SECONDS)

    def say_stopped(self) -> None:
        """Say in the log how far dbt came before it was stopped, and whether a retry knows."""
        done, _, _ = self.progress.snapshot()
        succeeded = sum(not node.failed for node in done)
        logger.warning("dbt was stopped with %d nodes done; its queries are cancelled", succeeded)
        if self.trouble is not None:
            logger.warning("This run cannot be continued where it stopped: %s", self.trouble)

    def _keep_up(self) -> None:
        last = False
        while not last:
            self.progress.changed.wait()
            self.progress.changed.clear()
            last = self._over.is_set()
            self._over.wait(self._save())

    def _save(self) -> float:
        """Write what is new; for how many seconds there is nothing to do then."""
        try:
            cost = self._store()
        except Exception as error:  # noqa: BLE001 - it must not end the build, whatever it is; `_failed` logs it
            return self._failed(error)
        if self._failures:
            logger.info("The state store takes what this run does again")
        self._failures, self.trouble = 0, None
        return max(INTERVAL_SECONDS, cost / SHARE)

    def _store(self) -> float:
        """Write what the store does not have yet; seconds of CPU that the results cost, the manifest aside."""
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
        self.trouble = str(error)
        if not self._failures:
            logger.warning(
                "What this run does is not kept for now, a run that is killed starts anew: %s",
                error,
                exc_info=not isinstance(error, FlowsError),
            )
        pause = min(FIRST_PAUSE * 2**self._failures, LONGEST_PAUSE)
        self._failures += 1
        self.progress.changed.set()
        return float(pause * random.uniform(0.8, 1.2))  # noqa: S311 - jitter, no secret
