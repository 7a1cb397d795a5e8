"""One run of the dbt child: session and parameters in, a `ChildReport` or a `FlowsError` out."""

from __future__ import annotations

import contextlib
import logging
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from uuid import UUID

from flow_of_flows.child_report import ChildReport
from flow_of_flows.dbt import build_flags, comparison, failures, parse_cache, remainder, reports, resumption, runner
from flow_of_flows.dbt.arguments import Options, retry_arguments
from flow_of_flows.dbt.batches import without_batches
from flow_of_flows.dbt.build_lock import BuildLock, Fence
from flow_of_flows.dbt.comparison import CHANGED, CODE, Comparison
from flow_of_flows.dbt.duckdb_files import reachable
from flow_of_flows.dbt.events import live
from flow_of_flows.dbt.locks.schemas import WrittenSchemas, credentials, written
from flow_of_flows.dbt.parsed_project import Parsed
from flow_of_flows.dbt.repository import checkout
from flow_of_flows.dbt.results import Freshness, Node, blame, freshness, merged, nodes, title
from flow_of_flows.dbt.resumption import Continuation, Refused, Remainder
from flow_of_flows.dbt.run_artifacts import RunArtifacts
from flow_of_flows.dbt.runner import Stopped
from flow_of_flows.dbt.session import DbtSession
from flow_of_flows.dbt.state import Store, saved_runs
from flow_of_flows.dbt.state.publishing import Production
from flow_of_flows.dbt.state.saved_runs import SavedRun
from flow_of_flows.errors import FlowsError
from flow_of_flows.settings import StateSettings

# How long a warehouse that lost a session has to come back.
FAULT_PAUSE_SECONDS = 15.0
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Build:
    """One run of the child, with the warnings so far."""

    session: DbtSession
    store: Store
    run: UUID
    settings: StateSettings
    lock: BuildLock
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    clock: float = field(default_factory=time.monotonic)
    warnings: list[str] = field(default_factory=list)

    def execute(self, request: Options, mode: str, retry_of: UUID | None) -> ChildReport:
        """Check the freshness of sources, then build or retry, and save what the next run needs.

        Args:
            request: what to build, as the run's parameters have it.
            mode: what a stale source means: `warn`, `error` or `off`.
            retry_of: the run to continue.

        Raises:
            FlowsError: the build failed; the error has the warnings so far.
        """
        with self.session.explaining(self.warnings):
            return self._execute(request, mode, retry_of)

    def _execute(self, request: Options, mode: str, retry_of: UUID | None) -> ChildReport:
        previous = self._previous(retry_of, remainder.saved_run(self.session, request, request))
        options = resumption.options(previous.saved, request) if previous else request
        self.session.check(options)
        checkout.install_packages(self.session, options, self.store, self.warn)
        session, parsed = parse_cache.parse(self.session, options, self.store, self.warn)
        return replace(self, session=session).build(request, options, parsed, mode, previous)

    def build(
        self, request: Options, options: Options, parsed: Parsed, mode: str, previous: Continuation | None
    ) -> ChildReport:
        """Build the parsed project while no other build writes to its schemas.

        Args:
            request: what to build, as the run's parameters have it.
            options: what to build, as the run that it continues had it.
            parsed: the project.
            mode: what a stale source means: `warn`, `error` or `off`.
            previous: the run to continue.

        Raises:
            FlowsError: the build failed.
        """
        chosen = self._chosen(options, parsed)
        if options.flags.event_time_start is not None and not parsed.microbatch(chosen):
            raise build_flags.without_microbatch(options.flags)
        if chosen is not None and not chosen:
            raise failures.nothing_selected(options, parsed.default_selector, self.session.project)
        # Before anything is compared: what the build before leaves in production is what this one compares with.
        with self.lock.held(self._written(options, chosen, parsed)) as fence, reachable(self.session.target):
            self.session.progress.permit = fence.permit
            comparison = Comparison.of(self.session, self.store, options, parsed, self.warn)
            prepared = self._prepare(request, comparison, parsed, mode, previous)
            return self._conclude(prepared, self._run(prepared, fence))

    def _chosen(self, options: Options, parsed: Parsed) -> frozenset[str] | None:
        """Return the ids of what is selected; None for everything, and where a comparison has to be made first."""
        is_whole = options.is_whole and not parsed.default_selector
        if is_whole or comparison.compares(options, parsed.selector_methods(options)):
            return None
        return frozenset(self.session.selected(options, parsed))

    def _written(self, options: Options, chosen: frozenset[str] | None, parsed: Parsed) -> WrittenSchemas:
        """Return what the build may write to; what a comparison leaves out is not known yet."""
        names = parsed.manifest.nodes | parsed.manifest.functions
        if chosen is not None:
            names = {name: node for name, node in names.items() if name in chosen}
        # A DuckDB file may be relative to the project's folder, as dbt itself has it.
        with contextlib.chdir(self.session.project.folder):
            stores = options.flags.store_failures
            return written(credentials(), names.values(), self.settings.warehouse, stores_failures=stores)

    def _prepare(
        self, request: Options, comparison: Comparison, parsed: Parsed, mode: str, previous: Continuation | None
    ) -> _Prepared:
        """Decide what dbt builds, and assemble what the run leaves in the state store."""
        current = remainder.production(self.session, self.store)
        now = remainder.saved_run(self.session, request, comparison.options, parsed)
        previous, left = self._left(comparison.options, parsed, previous, now)
        start = self._start(comparison.options, parsed, previous)
        sources, verdicts = self._freshness(mode, comparison.options, parsed)
        if previous is None:
            comparison = comparison.narrowed(parsed, sources, self.warn)
        artifacts = RunArtifacts(
            session=self.session,
            store=self.store,
            run=self.run,
            started=self.started,
            settings=self.settings,
            warn=self.warn,
            saved=now.model_copy(
                update={
                    "onto": previous.saved.onto if previous else comparison.base,
                    "production": current.id if current else None,
                    # The comparison of sources may have narrowed the selection.
                    "select": comparison.options.select,
                    "exclude": comparison.options.exclude,
                }
            ),
            continues=previous is not None and previous.run == self.run,
            options=comparison.options,
            parsed=parsed,
            manifest=self.session.artifact(parsed.manifest, saved_runs.MANIFEST) or b"",
            # A retry stands for the rows that the first try began with: what came later is not in what that built.
            sources=saved_runs.read_sources(self.store, previous.run) if previous else sources,
            earlier=previous.results if previous else None,
        )
        return _Prepared(artifacts, verdicts, previous, left, start, comparison.production)

    def warn(self, text: str) -> None:
        """Log a warning, and keep it for the report."""
        logger.warning("%s", text)
        self.warnings.append(text)

    def _previous(self, retry_of: UUID | None, now: SavedRun) -> Continuation | None:
        """Return the run to continue: this one, if it was tried before, else `retry_of`."""
        found = resumption.decide(self.run, saved_runs.read_run(self.store, self.run), now, own=True)
        if isinstance(found, Refused) and retry_of is not None:
            found = resumption.decide(retry_of, saved_runs.read_run(self.store, retry_of), now)
        if isinstance(found, Refused):
            if retry_of is not None:
                self.warn(f"Full run instead of a retry: {found.reason}")
            return None
        logger.info("Going on from run %s", found.run)
        return found

    def _freshness(self, mode: str, options: Options, parsed: Parsed) -> tuple[bytes | None, tuple[Freshness, ...]]:
        expected = parsed.checked_sources
        if mode == "off" or not expected:
            logger.info("Freshness is not checked: %s", "it is off" if expected else "no source declares it")
            return None, ()
        content, errors = self.session.freshness(options, parsed)
        found = freshness(content, expected, errors)
        stale = [source for source in found if source.stale]
        if stale and mode == "error":
            owners = parsed.owners(source.id for source in stale)
            raise failures.stale(stale, owners=owners, transient=self.session.progress.transient)
        for source in found:
            if source.verdict != "pass":
                self.warn(f"{source.id} is not fresh ({source.verdict}: {source.message})")
        return content, found

    def _left(
        self, options: Options, parsed: Parsed, previous: Continuation | None, now: SavedRun
    ) -> tuple[Continuation | None, Remainder | None]:
        """Return the run to continue, with what counts as done, and what is left; neither where everything is built.

        dbt runs hooks with nodes only: with no node left, a hook that did not succeed can run in no retry.
        """
        if previous is None:
            return None, None
        left = remainder.of(
            previous, now, session=self.session, store=self.store, options=options, parsed=parsed, warn=self.warn
        )
        if isinstance(left, Refused):
            self.warn(f"Full run instead of a retry: {left.reason}")
            return None, None
        results = resumption.adapted(previous.results, left, full_refresh=options.full_refresh)
        hooks = [] if previous.saved.done or left.reasons else resumption.hooks_left(results, parsed.hooks)
        if hooks:
            named = ", ".join(title(name) for name in hooks)
            self.warn(
                f"Full run instead of a retry: of run {previous.run} only {named} is left, and hooks run with nodes"
            )
            return None, None
        logger.info("Of run %s, %s", previous.run, left.sentence)
        return replace(previous, results=results), left

    def _start(self, options: Options, parsed: Parsed, previous: Continuation | None) -> bytes | None:
        """Return the run_results.json for `dbt retry`; None where everything is built."""
        if previous is None:
            return None
        start = resumption.previous_results(previous.results, retry_arguments(self.session.paths, options))
        return without_batches(start, parsed.refreshed(full=options.full_refresh))

    def _run(self, prepared: _Prepared, fence: Fence) -> bytes:
        """Build or retry, with checkpoints for a process that is stopped or killed."""
        fence.check()
        options, parsed, start = prepared.options, prepared.parsed, prepared.start
        checkpointer = prepared.artifacts.checkpointer(start)
        try:
            with live(self.session.progress), checkpointer.running(), fence.interrupting():
                run = self.session
                results = run.build(options, parsed) if start is None else run.retry(options, start)
                fence.check()
                done = self._without_faults(results, options, parsed)
        except Stopped as stopped:
            checkpointer.log_stopped()
            if stopped.signal is signal.SIGINT:
                fence.check()
            raise
        fence.check()
        return done

    def _without_faults(self, results: bytes, options: Options, parsed: Parsed) -> bytes:
        """Run again what a fault of the warehouse failed if data failed, too: then no other attempt runs it."""
        arguments = retry_arguments(self.session.paths, options)
        start = resumption.faults_alone(results, self.session.progress.transient, parsed.parents, arguments)
        if start is None:
            return results
        start = without_batches(start, parsed.refreshed(full=options.full_refresh))
        self.warn("A fault of the warehouse failed some nodes; they are tried once more")
        time.sleep(FAULT_PAUSE_SECONDS)
        return merged([results, self.session.retry(options, start)], parsed.nodes)

    def _conclude(self, prepared: _Prepared, results: bytes) -> ChildReport:
        done = nodes(results)
        said = [text for text in self.session.progress.warnings if not comparison.tells_nothing(text)]
        self.warnings.extend([*said, *reports.warnings(done)])
        because = blame(
            [node.id for node in done if node.status == "skipped"],
            [node.id for node in done if node.failed],
            prepared.parsed.parents,
        )
        reports.publish_nodes(done, because, self.session.project.origin, prepared.left)
        reports.log_long(done)
        if any(node.failed for node in done):
            kept = prepared.artifacts.keep(results)
            owners = prepared.parsed.owners(node.id for node in done if node.failed)
            transient = self.session.progress.transient
            raise failures.failed(done, because, self.run, kept=kept, owners=owners, transient=transient)
        modified_only = prepared.production is not None
        if not done and prepared.previous is None and not modified_only:
            selector = prepared.parsed.default_selector
            raise failures.nothing_selected(prepared.options, selector, self.session.project)
        return self._succeed(prepared, results, done)

    def _succeed(self, prepared: _Prepared, results: bytes, done: Sequence[Node]) -> ChildReport:
        catalog = self._catalog(prepared.options, prepared.parsed)
        previous, left = prepared.previous, prepared.left
        # A run that was over comes back if it was killed before anybody heard of it; newer ones may have published.
        over = previous is not None and previous.saved.done
        published = None if over else prepared.artifacts.publish(results, catalog)
        return reports.succeeded(
            done,
            prepared.freshness,
            tuple(self.warnings),
            seconds=time.monotonic() - self.clock,
            dbt=runner.version(),
            resumed=(previous.run, len(left.done)) if previous and left else None,
            more=prepared.not_built(done)
            | (left.facts if left else {})
            | ({"published": published.id} if published else {}),
            origin=self.session.project.origin,
        )

    def _catalog(self, options: Options, parsed: Parsed) -> bytes | None:
        """Return the catalog, if the options have it; its failure is a warning."""
        if not options.docs:
            return None
        try:
            return self.session.catalog(options, parsed)
        except FlowsError as error:
            self.warn(f"There is no new catalog: {error}")
            return None


@dataclass(frozen=True)
class _Prepared:
    """What a run has decided before dbt builds anything.

    Attributes:
        freshness: the verdicts on the sources.
        previous: the run that it continues.
        left: what is left of that one.
        start: the run_results.json for `dbt retry`; None where dbt builds.
        production: what it compares with.
    """

    artifacts: RunArtifacts
    freshness: tuple[Freshness, ...]
    previous: Continuation | None
    left: Remainder | None
    start: bytes | None
    production: Production | None

    @property
    def options(self) -> Options:
        """What dbt builds."""
        return self.artifacts.options

    @property
    def parsed(self) -> Parsed:
        """The project."""
        return self.artifacts.parsed

    def not_built(self, done: Sequence[Node]) -> dict[str, str | int]:
        """Return what a run that builds what changed did not build, and why."""
        if self.options.select not in (CODE, CHANGED) or self.production is None or self.previous is not None:
            return {}
        return comparison.not_built(self.parsed.built, [node.id for node in done], self.production.title)
