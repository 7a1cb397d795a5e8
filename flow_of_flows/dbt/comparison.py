"""A run that compares with production: a store and what to build in, what is left to build out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from flow_of_flows.dbt import changes, project, selection
from flow_of_flows.dbt.arguments import Options
from flow_of_flows.dbt.changes import CHANGED, FRESHER
from flow_of_flows.dbt.duckdb_files import reachable
from flow_of_flows.dbt.session import DbtSession, Parsed
from flow_of_flows.dbt.state import Store, opened, production
from flow_of_flows.dbt.state.production import Missing, Production
from flow_of_flows.settings import Settings
from flow_of_flows.warehouse.profiles import Output

Warn = Callable[[str], None]


@dataclass(frozen=True)
class Comparison:
    """What a run builds, and the production that it compares with; None where it compares with nothing."""

    options: Options
    production: Production | None = None

    @classmethod
    def of(cls, session: DbtSession, store: Store, options: Options, parsed: Parsed, warn: Warn) -> Comparison:
        """Give a selection that compares the production to compare with; without it, everything is built.

        Args:
            session: the project, and its folders of this run.
            store: where production is.
            options: what to build.
            parsed: the project's manifest.
            warn: takes what the report has to say.

        Raises:
            ConfigurationError: the production in the store is of another project or adapter.
        """
        if not changes.compares(options, parsed.default_methods):
            return cls(options)
        current = production.read(store, session.identity)
        if isinstance(current, Missing):
            warn(f"{current.reason}, so everything is built")
            return cls(changes.in_full(options, parsed.default_selector))
        for warning in current.warnings:
            warn(warning)
        folder = session.paths.work / "state"
        current.write(folder)
        return cls(replace(options, state=folder), current)

    @property
    def base(self) -> str | None:
        """Id of the publication that the rest of production has to be for these options to make it whole.

        Empty where another tool's manifest is compared with; None where everything is built.
        """
        if self.production is None:
            return None
        return self.production.publication.id if self.production.publication else ""

    def narrowed(self, parsed: Parsed, sources: bytes | None, warn: Warn) -> Comparison:
        """Return what the comparison of sources leaves to build; everything where they cannot be compared.

        Args:
            parsed: the project.
            sources: sources.json of now.
            warn: takes what the report has to say.
        """
        if self.production is None:
            return self
        options = self.options
        if lack := changes.lacks(options, self.production, parsed.checked_sources, sources):
            warn(f"Everything is built: which sources are fresher is not known, for {lack}")
            return Comparison(changes.in_full(options, parsed.default_selector))
        if options.select == CHANGED and (blind := changes.unwatched(parsed.sources, parsed.checked_sources)):
            warn(blind)
        return replace(self, options=changes.narrowed(options, parsed.checked_sources))


@dataclass(frozen=True)
class Plan:
    """What would run.

    Attributes:
        nodes: why each node would run, by its id.
        left: how many would not be built.
        since: what was compared with; None where nothing was.
    """

    nodes: Mapping[str, str]
    left: int
    since: str | None
    warnings: tuple[str, ...]


def plan(settings: Settings, request: Options) -> Plan:
    """Return what `dbt-build` would build with these options now.

    Args:
        settings: with the project and the target.
        request: what to build.

    Raises:
        FlowsError: what the build itself would end with before it builds.
    """
    warnings: list[str] = []
    with ExitStack() as stack:
        session = stack.enter_context(_session(settings, settings.home))
        session.install_packages(request)
        parsed = session.parse(request)
        session = session.keep_parse()
        comparison = Comparison.of(session, opened(settings), request, parsed, warnings.append)
        sources = None
        if "source_status" in selection.methods(comparison.options.select) and parsed.checked_sources:
            stack.enter_context(reachable(session.target))
            sources = session.freshness(comparison.options, parsed)[0]
        comparison = comparison.narrowed(parsed, sources, warnings.append)
        nodes = _why(session, comparison.options, parsed)
    since = comparison.production.title if comparison.production else None
    return Plan(nodes, len(parsed.built) - len(nodes), since, tuple(warnings))


def check(settings: Settings) -> str:
    """Return which project, profile and output `dbt-build` takes, having dbt read the whole project.

    It leaves no file. A project that an image build has parsed is not parsed again, nor is one without its packages.

    Raises:
        FlowsError: what the build itself would end with before it builds.
    """
    with TemporaryDirectory() as home, _session(settings, Path(home)) as session:
        found, target = session.project, session.target
        if not found.baked_parse.is_file() and not found.lacks_packages:
            parsed = session.parse(Options())
            # Cycles show when dbt links the nodes.
            session.keep_parse().selected(Options(select=selection.everything()), parsed)
    used = f", {target.describe()}" if isinstance(target, Output) else ""
    return f"{found.name} in {found.folder}{used}"


def _session(settings: Settings, home: Path) -> AbstractContextManager[DbtSession]:
    """Return a session on the project of the settings."""
    return DbtSession.opened(project.find(settings.dbt_project), settings, home)


def _why(session: DbtSession, options: Options, parsed: Parsed) -> dict[str, str]:
    built = set(parsed.built)
    selected = [name for name in session.selected(options, parsed) if name in built]
    modified: list[str] = []
    fresher: list[str] = []
    if options.state is not None:
        modified = session.selected(replace(options, select="state:modified", exclude=None), parsed)
        if options.select == CHANGED:
            fresher = session.selected(replace(options, select=FRESHER, exclude=None), parsed)
    return changes.why(selected, modified, fresher, parsed.parents)
