"""What a run leaves in the state store: results in, a run that can be continued or production artifacts out.

A thread writes the nodes that have finished while dbt runs: checkpoints. dbt starts the next node or batch only after
every finished model and batch is checkpointed, so no model is built on one that a crash would leave unrecorded. Tests
and skips do not wait for a write. A write takes all nodes that have finished. If the store fails, the log says so once
and the write is tried again; a store that hangs delays the build once, by seconds.
"""

from __future__ import annotations

import contextvars
import dataclasses
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from flow_of_flows.dbt import resumption, runner
from flow_of_flows.dbt.arguments import Options
from flow_of_flows.dbt.comparison import CHANGED, CODE
from flow_of_flows.dbt.events import DbtProgress
from flow_of_flows.dbt.parsed_project import Parsed
from flow_of_flows.dbt.results import Node, merged, nodes
from flow_of_flows.dbt.session import DbtSession
from flow_of_flows.dbt.state import Store, projects, saved_runs
from flow_of_flows.dbt.state.publications import DamagedError, Publication
from flow_of_flows.dbt.state.publishing import PublicationConflict, publish, read_log, whole
from flow_of_flows.dbt.state.saved_runs import SavedRun
from flow_of_flows.errors import FlowsError
from flow_of_flows.retrying import jitter
from flow_of_flows.settings import StateSettings

# Between two writes that dbt does not wait for.
INTERVAL_SECONDS = 0.2
# Of one CPU: the interval grows with the time that the results of a large project take to write.
SHARE = 0.03
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
# How long dbt waits for the store; after that it does not wait again until the store has taken a write.
STORE_SECONDS = 3.0
# How long the end of the build waits for the last write.
FAREWELL_SECONDS = 8.0

logger = logging.getLogger(__name__)

# What a build did to less than all rows, by dbt's own name of the option.
SAMPLES = ("empty", "sample", "event_time_start", "event_time_end")
TYPES = ("resource_types", "exclude_resource_types")


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
        """Return when the store has the first so many nodes and batches; at once while the store fails."""
        with self._ended:
            if self._must_wait(built):
                self._urgent.set()
            if not self._ended.wait_for(lambda: not self._must_wait(built), STORE_SECONDS):
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
        ends, done = self.progress.checkpoint()
        if ends > self._written:
            self.write(done)
            self._written = ends
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


@dataclass(frozen=True)
class RunArtifacts:
    """What one run leaves in the state store.

    Attributes:
        warn: takes what could not be kept.
        saved: what must be the same for the run to be continued.
        options: what dbt builds.
        manifest: the manifest.json from before anything was built; dbt writes into its manifest what it compiles.
        sources: the sources.json from before anything was built.
        earlier: what of the run that it continues counts as done, and what does not, as its run_results.json.
        continues: that one is this run, in an earlier try.
    """

    session: DbtSession
    store: Store
    run: UUID
    started: datetime
    settings: StateSettings
    warn: Callable[[str], None]
    saved: SavedRun
    options: Options
    parsed: Parsed
    manifest: bytes
    sources: bytes | None
    earlier: bytes | None
    continues: bool = False

    def checkpointer(self, start: bytes | None) -> Checkpointer:
        """Return what keeps this run under its id while dbt works; `start` is the run_results.json that it retries."""
        files = self._inputs()

        def results(done: Sequence[Node]) -> bytes:
            return resumption.interrupted_results(done, runner.version(), self.started, start)

        def begin() -> None:
            saved = self.saved.model_copy(update={"complete": False})
            kept = {**files, saved_runs.RUN_RESULTS: results(())}
            saved_runs.begin_run(self.store, self.run, saved, kept, continues=self.continues)

        def write(done: Sequence[Node]) -> None:
            saved_runs.save_results(self.store, self.run, results(done))

        return Checkpointer(self.session.progress, begin, write)

    def keep(self, results: bytes) -> bool:
        """Leave what a retry needs under this run's id; a store that fails must not hide why the build did."""
        everything = merged(self._layers(results), self.parsed.nodes) if self.earlier is not None else results
        files = {**self._inputs(), saved_runs.RUN_RESULTS: everything}
        try:
            saved_runs.save_run(self.store, self.run, self.saved, files)
        except FlowsError as error:
            self.warn(f"This run cannot be continued: {error}")
            return False
        return True

    def publish(self, results: bytes, catalog: bytes | None) -> Publication | None:
        """After a success: replace the production artifacts, and then close this run.

        What was built stays built: a store that fails now is a warning, and the next run compares with what is there.
        Killed before it is closed, the run publishes what it built when it comes back.

        Args:
            results: run_results.json of this run.
            catalog: its catalog.json, if it has one.
        """
        try:
            published = self._publish(results, catalog)
        except FlowsError as error:
            self.warn(f"The production artifacts may not be those of this run: {error}")
            return None
        try:
            everything = merged(self._layers(results), self.parsed.nodes)
            saved_runs.finish_run(self.store, self.run, self.saved, everything)
        except FlowsError as error:
            # Nothing is lost but this: a pod that dies before its run has ended builds again.
            logger.warning("That this run succeeded is not kept: %s", error)
        return published

    def _inputs(self) -> dict[str, bytes]:
        """Return what the run was built from."""
        return {
            saved_runs.MANIFEST: self.manifest,
            **({saved_runs.SOURCES: self.sources} if self.sources is not None else {}),
        }

    def _layers(self, results: bytes) -> list[bytes]:
        """Return the results of the run that this one continues, then its own."""
        return [results] if self.earlier is None else [self.earlier, results]

    def _publish(self, results: bytes, catalog: bytes | None) -> Publication | None:
        if not self.settings.publish:
            logger.info("The production artifacts stay as they are: FLOWS_STATE_PUBLISH is off")
            return None
        if partial := part(self.options, self.parsed, self._layers(results)):
            # What a person selected, they know; the rest they would look for in vain.
            say = self.warn if self.options.is_whole else logger.info
            say(f"The production artifacts stay as they are: {partial}")
            return None
        base = read_log(projects.base(self.store, self.session.owner))[0].current
        if _compared(self.options) and base is not None and base.target != self.saved.target:
            self.warn(
                f"The production artifacts stay as they are: they are of {base.target}, and what did not change "
                f"was not built in {self.saved.target}"
            )
            return None
        new = Publication(
            time=self.started, run=self.run, target=self.saved.target, **dataclasses.asdict(self.session.identity)
        )
        production = projects.claim(self.store, self.session.owner)
        files = self._files(results, catalog, read_log(production)[0].current)
        ended = publish(production, new, files, self.settings.history, self.saved.onto)
        if isinstance(ended, PublicationConflict):
            self.warn(f"The production artifacts in {production.describe()} stay as they are: {ended.reason}")
            return None
        logger.info("Published %s in %s", ended.id, production.describe())
        return ended

    def _files(self, results: bytes, catalog: bytes | None, before: Publication | None) -> dict[str, bytes]:
        """Return the files to publish; those that this run has not made stay as they are, so that they fit."""
        layers = self._layers(results)
        sources = self.sources
        if _compared(self.options):
            published = self._published(before, saved_runs.RUN_RESULTS)
            layers = [*([published] if published is not None else []), *layers]
        if self.options.select == CODE and self.parsed.checked_sources:
            # What only has fresher sources was not built, so it has to count as fresher the next time, too.
            sources = None
        files = {
            saved_runs.RUN_RESULTS: merged(layers, self.parsed.nodes),
            saved_runs.SOURCES: sources if sources is not None else self._published(before, saved_runs.SOURCES),
            saved_runs.CATALOG: catalog if catalog is not None else self._published(before, saved_runs.CATALOG),
            saved_runs.MANIFEST: self.session.artifact(self.parsed.manifest, saved_runs.MANIFEST),
        }
        return {name: data for name, data in files.items() if data is not None}

    def _published(self, before: Publication | None, name: str) -> bytes | None:
        """Return a file of the last publication; one that is damaged is as good as none."""
        if before is None or name not in before.files:
            return None
        try:
            return whole(projects.find(self.store, self.session.owner), before, name)
        except DamagedError as error:
            self.warn(str(error))
            return None


def part(options: Options, parsed: Parsed, layers: Sequence[bytes]) -> str | None:
    """Return why a successful run did not bring all of production up to date; None if it did.

    It goes by the nodes that dbt built, whatever made dbt select them: parameters, a default selector, variables of
    the environment. What differs from production is whole with what did not differ.

    Args:
        options: what it was to build.
        parsed: the project.
        layers: its run_results.json, after those of the runs it went on from.
    """
    arguments = json.loads(layers[-1]).get("args", {})
    if sampled := [name for name in SAMPLES if arguments.get(name)]:
        return f"dbt built only some of the rows ({', '.join(sampled)})"
    if _compared(options):
        types = [name for name in TYPES if arguments.get(name)]
        return f"dbt built only some types of nodes ({', '.join(types)})" if types else None
    built = {node.id for node in nodes(merged(layers, parsed.whole))}
    if built == parsed.whole:
        return None
    selector = parsed.default_selector if options.is_whole else None
    because = f", as its default selector {selector!r} says" if selector else ""
    return f"dbt built {len(built)} of the project's {len(parsed.whole)} nodes{because}"


def _compared(options: Options) -> bool:
    """Return whether a run built everything that differs from production."""
    return options.state is not None and options.select in (CODE, CHANGED) and options.exclude is None
