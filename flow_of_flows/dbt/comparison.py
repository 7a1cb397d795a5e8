"""A run that compares with production: a store and what to build in, what is left to build out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from flow_of_flows.dbt import changes, project, selection
from flow_of_flows.dbt.arguments import Options
from flow_of_flows.dbt.changes import CHANGED, FRESHER
from flow_of_flows.dbt.duckdb_files import reachable
from flow_of_flows.dbt.events import DbtProgress
from flow_of_flows.dbt.session import DbtSession, Parsed
from flow_of_flows.dbt.state import Store, opened, production
from flow_of_flows.dbt.state.production import Missing, Production
from flow_of_flows.dbt.state.publications import Identity
from flow_of_flows.dbt.workspace import workspace
from flow_of_flows.settings import Settings, dbt_environment
from flow_of_flows.warehouse.profiles import Output
from flow_of_flows.warehouse.targets import for_dbt


@dataclass
class Comparison:
    """What is compared with; `production` is None where there is nothing, or nothing is asked for."""

    store: Store
    work: Path
    mine: Identity
    warn: Callable[[str], None]
    production: Production | None = None

    @classmethod
    def of(cls, session: DbtSession, store: Store, warn: Callable[[str], None]) -> Comparison:
        """For one run."""
        return cls(store, session.paths.work, session.identity, warn)

    def prepare(self, options: Options, parsed: Parsed) -> Options:
        """Give a selection that compares what to compare with; without it, everything is to be built.

        Args:
            options: what to build.
            parsed: the project.

        Raises:
            ConfigurationError: what is there is of another project or adapter.
        """
        if not changes.compares(options, parsed.default_methods):
            return options
        found = production.read(self.store, self.mine)
        if isinstance(found, Missing):
            self.warn(f"{found.reason}, so everything is built")
            return changes.in_full(options, parsed.default_selector)
        self.production = found
        for warning in found.warnings:
            self.warn(warning)
        folder = self.work / "state"
        found.write(folder)
        return replace(options, state=folder)

    def onto(self, options: Options) -> str | None:
        """What the rest of production has to be for these options to make it whole: the id of a publication.

        Empty where another tool's manifest was compared with; None where everything is built.
        """
        if options.state is None or self.production is None:
            return None
        return self.production.publication.id if self.production.publication else ""

    def narrow(self, options: Options, parsed: Parsed, sources: bytes | None) -> Options:
        """What the comparison of sources leaves to build; everything where they cannot be compared.

        Args:
            options: what to build, prepared.
            parsed: the project.
            sources: sources.json of now.
        """
        if self.production is None:
            return options
        if lack := changes.lacks(options, self.production, parsed.checked_sources, sources):
            self.warn(f"Everything is built: which sources are fresher is not known, for {lack}")
            return changes.in_full(options, parsed.default_selector)
        if options.select == CHANGED and (blind := changes.unwatched(parsed.sources, parsed.checked_sources)):
            self.warn(blind)
        return changes.narrowed(options, parsed.checked_sources)


@dataclass(frozen=True)
class Plan:
    """What would run.

    Attributes:
        nodes: why each node would run, by its id.
        left: how many would be left alone.
        since: what was compared with; None where nothing was.
    """

    nodes: Mapping[str, str]
    left: int
    since: str | None
    warnings: tuple[str, ...]


def plan(settings: Settings, asked: Options) -> Plan:
    """What `dbt-build` would build with these options now.

    Raises:
        FlowsError: what the build itself would end with before it builds.
    """
    warnings: list[str] = []
    with ExitStack() as stack:
        session = stack.enter_context(_session(settings, settings.home))
        comparison = Comparison.of(session, opened(settings), warnings.append)
        session.install_packages(asked)
        parsed = session.parse(asked)
        session = session.keep_parse()
        options = comparison.prepare(asked, parsed)
        sources = None
        if "source_status" in selection.methods(options.select) and parsed.checked_sources:
            stack.enter_context(reachable(session.target))
            sources = session.freshness(options, parsed)[0]
        options = comparison.narrow(options, parsed, sources)
        nodes = _why(session, options, parsed)
    since = comparison.production.title if options.state is not None and comparison.production else None
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


@contextmanager
def _session(settings: Settings, home: Path) -> Iterator[DbtSession]:
    """A session on the project of the settings, with dbt's files in a folder; the warehouse is not opened."""
    found = project.find(settings.dbt_project)
    target = for_dbt(settings, found.folder)
    names = f"{target.name} {target.describe()} {target.schema}"
    with workspace(home, found, names) as paths:
        yield DbtSession(found, target, paths, DbtProgress(), dbt_environment(settings))


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
