"""One run of the child `dbt-command`: a session and a command line in, a `ChildReport` or a `FlowsError` out."""

from __future__ import annotations

import contextlib
import json
import logging
import signal
import time
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from flow_of_flows.child_report import ChildReport
from flow_of_flows.dbt import comparison, failures, parse_cache, reports, runner
from flow_of_flows.dbt.arguments import Options
from flow_of_flows.dbt.build_lock import BuildLock
from flow_of_flows.dbt.command_line import AdHoc, CommandLine, compares
from flow_of_flows.dbt.command_output import CommandOutput, with_error
from flow_of_flows.dbt.duckdb_files import reachable
from flow_of_flows.dbt.events import live
from flow_of_flows.dbt.locks.schemas import BUILT, WrittenSchemas, credentials, is_written, written
from flow_of_flows.dbt.parsed_project import Parsed
from flow_of_flows.dbt.repository import checkout
from flow_of_flows.dbt.results import blame, counts, freshness, is_operation, nodes, one_line
from flow_of_flows.dbt.runner import InvocationResult, Stopped
from flow_of_flows.dbt.session import DbtSession
from flow_of_flows.dbt.state import Store
from flow_of_flows.dbt.state.publishing import Missing
from flow_of_flows.errors import ConfigurationError, PlatformError
from flow_of_flows.prefect_api import artifacts
from flow_of_flows.redaction import redact
from flow_of_flows.summary.result_table import Row, bounded

# Rows that `show` asks the warehouse for, at most.
SHOWN_ROWS = 1_000
# Kinds of nodes that a command writes, of those it selects; `show` loads a seed to show it.
WRITES = {
    AdHoc.RUN: frozenset({"model"}),
    AdHoc.TEST: frozenset({"test"}),
    AdHoc.SEED: frozenset({"seed"}),
    AdHoc.SNAPSHOT: frozenset({"snapshot"}),
    AdHoc.CLONE: BUILT,
    AdHoc.SHOW: frozenset({"seed"}),
}
NOTHING = WrittenSchemas("", frozenset())

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CommandRun:
    """One run of the child, with the warnings so far.

    Attributes:
        warehouse: name of the warehouse, where the installation gives it one.
        options: with variables of dbt.
    """

    session: DbtSession
    store: Store
    run: UUID
    warehouse: str | None
    lock: BuildLock
    line: CommandLine
    options: Options
    clock: float = field(default_factory=time.monotonic)
    warnings: list[str] = field(default_factory=list)

    def execute(self) -> ChildReport:
        """Run the command while no build writes to the schemas that it may write to.

        Raises:
            FlowsError: the command failed; the error has the warnings so far.
        """
        with self.session.explaining(self.warnings):
            if self.line.command is AdHoc.DEPS:
                return self._deps()
            checkout.install_packages(self.session, self.options, self.store, self.warn)
            session, parsed = parse_cache.parse(self.session, self.options, self.store, self.warn)
            return replace(self, session=session).guarded(parsed)

    def warn(self, text: str) -> None:
        """Log a warning, and keep it for the report."""
        logger.warning("%s", text)
        self.warnings.append(text)

    def _deps(self) -> ChildReport:
        output = CommandOutput(self.session.progress)
        ended = self.session.command(self.line.words, self.options, None, output)
        rows = output.rows(self.line.command, ended.result)
        self._publish(rows)
        return self._report("the packages are installed", {})

    def guarded(self, parsed: Parsed) -> ChildReport:
        """Run the command on the parsed project.

        Raises:
            FlowsError: the command failed.
        """
        # Before anything is compared: what the build before leaves in production is what the command compares with.
        with self.lock.held(self._written(parsed)) as fence, self._reachable():
            self.session.progress.permit = fence.permit
            options = self._with_production(parsed)
            output = CommandOutput(self.session.progress, is_list=self.line.command is AdHoc.LIST)
            words = [*self.line.words, *self._added(options)]
            try:
                with live(self.session.progress), fence.interrupting():
                    ended = self.session.command(words, options, parsed, output)
            except Stopped as stopped:
                if stopped.signal is signal.SIGINT:
                    fence.check()
                raise
            fence.check()
            return self._conclude(parsed, ended, output)

    def _reachable(self) -> AbstractContextManager[None]:
        """The warehouse, found to answer; `ls` asks it for nothing."""
        return contextlib.nullcontext() if self.line.command is AdHoc.LIST else reachable(self.session.target)

    def _added(self, options: Options) -> Iterable[str]:
        """Yield the options that the platform adds to those of the text."""
        if options.state is not None:
            yield f"--state={options.state}"
        if self.line.command is AdHoc.SHOW:
            yield "--output=json"
            if not 0 <= self.line.values["limit"] <= SHOWN_ROWS:
                yield f"--limit={SHOWN_ROWS}"
                self.warn(f"show asks the warehouse for {SHOWN_ROWS:,} rows at most, whatever --limit says")

    def _methods(self, parsed: Parsed) -> frozenset[str]:
        return self.line.methods(parsed.selectors, parsed.default_selector)

    def _written(self, parsed: Parsed) -> WrittenSchemas:
        """Return what the command may write to."""
        names: Mapping[str, Any] = {**parsed.manifest.nodes, **parsed.manifest.functions}
        if self.line.command is AdHoc.RUN_OPERATION:
            # A macro may write anywhere; what it has to be kept apart from are the builds of its project.
            return self._schemas(names.values())
        kinds = WRITES.get(self.line.command)
        if kinds is None or (self.line.command is AdHoc.SHOW and self.line.select is None):
            return NOTHING
        # What a comparison selects is not known yet.
        if not compares(self._methods(parsed)):
            chosen = set(self._selected(parsed))
            names = {name: node for name, node in names.items() if name in chosen}
        return self._schemas(node for node in names.values() if node.resource_type in kinds and self._stores(node))

    def _selected(self, parsed: Parsed) -> list[str]:
        """Return the ids of what the command selects."""
        output = CommandOutput(self.session.progress, is_list=True)
        ended = self.session.command(self.line.selection(), self.options, parsed, output)
        return [json.loads(line)["unique_id"] for line in ended.result or ()]

    def _stores(self, node: Any) -> bool:
        """Whether a node leaves something in the warehouse; a test does where it stores its failures."""
        return node.resource_type != "test" or is_written(node, stores_failures=self.line.stores_failures)

    def _schemas(self, chosen: Iterable[Any]) -> WrittenSchemas:
        if not (some := list(chosen)):
            return NOTHING
        # A DuckDB file may be relative to the project's folder, as dbt itself has it.
        with contextlib.chdir(self.session.project.folder):
            return written(credentials(), some, self.warehouse, stores_failures=self.line.stores_failures)

    def _with_production(self, parsed: Parsed) -> Options:
        """Return the options with the folder of production, where dbt reads it.

        Raises:
            ConfigurationError: there is no production.
        """
        methods = self._methods(parsed)
        if not (compares(methods) or self.line.reads_production):
            return self.options
        current = comparison.production(self.session, self.store, self.warn)
        if isinstance(current, Missing):
            raise ConfigurationError(
                f"There is no production for {self.line.command} to compare with, defer to or clone: {current.reason}",
                location=self.store.describe(),
                hint="run dbt-build on the whole project first, or leave out --defer and what compares",
            )
        if "source_status" in methods and parsed.checked_sources:
            # dbt compares the sources.json that this leaves.
            self.session.freshness(self.options, parsed)
        return replace(self.options, state=self.session.paths.state)

    def _conclude(self, parsed: Parsed, ended: InvocationResult, output: CommandOutput) -> ChildReport:
        said = [text for text in self.session.progress.warnings if not comparison.tells_nothing(text)]
        self.warnings.extend(text for text in said if text not in self.warnings)
        command = self.line.command
        if command is AdHoc.FRESHNESS:
            return self._sources(parsed, ended)
        rows = output.rows(command, ended.result)
        self._publish(rows)
        if command is AdHoc.LIST:
            self._refuse_nothing(parsed, len(rows))
            return self._report(f"{len(rows)} nodes", {"nodes": len(rows)})
        if command is AdHoc.DOCS:
            return self._catalog(ended, rows)
        return self._nodes(parsed, ended, output)

    def _nodes(self, parsed: Parsed, ended: InvocationResult, output: CommandOutput) -> ChildReport:
        results = nodes(self.session.results(ended)) if ended.result is not None else ()
        done = [with_error(node, output.error) for node in results]
        self.warnings.extend(reports.warnings(done))
        bad = [node.id for node in done if node.failed]
        because = blame([node.id for node in done if node.status == "skipped"], bad, parsed.parents)
        reports.publish_nodes(done, because, self.session.project.origin)
        reports.log_long(done)
        if bad:
            transient = bad if output.is_transient else self.session.progress.transient
            owners = parsed.owners(bad)
            raise failures.failed(
                done, because, self.run, kept=False, child="dbt-command", owners=owners, transient=transient
            )
        self._refuse_nothing(parsed, len(done) + len(output.shown))
        counted = ", ".join(f"{number} {status}" for status, number in counts(done).items())
        nothing = "nothing to do" if not output.shown else "done"
        return self._report(f"{len(done)} dbt nodes: {counted}" if done else nothing, {"nodes": len(done)})

    def _refuse_nothing(self, parsed: Parsed, done: int) -> None:
        """Refuse a selection that matches nothing, as a build does; one that compares may."""
        chosen = Options(select=self.line.select, exclude=self.line.exclude)
        if not done and chosen != Options() and not compares(self._methods(parsed)):
            raise failures.nothing_selected(chosen, None, self.session.project)

    def _sources(self, parsed: Parsed, ended: InvocationResult) -> ChildReport:
        results = ended.result.results if ended.result is not None else ()
        checked = [each.node.unique_id for each in results if not is_operation(each.node.unique_id)]
        content, errors = self.session.sources(ended)
        found = freshness(content, checked, errors)
        self._publish([{"source": each.id, "status": each.verdict, "message": each.message} for each in found])
        self._refuse_nothing(parsed, len(found))
        if stale := [each for each in found if each.stale]:
            raise failures.stale(
                stale,
                otherwise="change their freshness in the project",
                owners=parsed.owners(each.id for each in stale),
                transient=self.session.progress.transient,
            )
        self.warnings.extend(f"{each.id} is not fresh ({each.message})" for each in found if each.verdict != "pass")
        return self._report(f"{len(found)} sources", {"sources": len(found)})

    def _catalog(self, ended: InvocationResult, rows: list[Row]) -> ChildReport:
        if broken := ended.result.errors:
            what = redact(one_line(broken[0]))
            where = self.session.target.describe()
            raise PlatformError(f"The warehouse did not describe its tables: {what}", location=where)
        return self._report(f"{len(rows)} tables and views", {"tables": len(rows)})

    def _publish(self, rows: list[Row]) -> None:
        """Publish the rows on the run's page, as many as it can show."""
        kept, left = bounded(rows)
        what = f"dbt {self.line.command}: {len(rows)} row{'s' * (len(rows) != 1)}"
        if left:
            self.warn(f"The run's page shows {len(kept):,} of {len(rows):,} rows")
            what += f", of which these are the first {len(kept):,}"
        if kept and artifacts.in_run():
            artifacts.result(kept, description=what)

    def _report(self, what: str, facts: Mapping[str, int]) -> ChildReport:
        origin = self.session.project.origin
        seconds = round(time.monotonic() - self.clock, 1)
        whole: dict[str, str | int | float] = {**facts, "seconds": seconds, "dbt": runner.version()}
        if origin is not None:
            whole |= {"repository": origin.address, "commit": origin.commit}
        summary = f"dbt {self.line.command}: {what}" + (f" (commit {origin.commit[:12]})" if origin else "")
        return ChildReport(summary=summary, warnings=tuple(self.warnings), facts=whole)
