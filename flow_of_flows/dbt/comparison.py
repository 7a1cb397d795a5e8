"""What changed since production, and so what a run builds, and why: a store and a selection in, nodes out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from flow_of_flows.dbt import arguments, build_flags, estimate, project
from flow_of_flows.dbt.arguments import Options
from flow_of_flows.dbt.duckdb_files import reachable
from flow_of_flows.dbt.estimate import Estimate
from flow_of_flows.dbt.parsed_project import Parsed
from flow_of_flows.dbt.projects import owned
from flow_of_flows.dbt.results import ancestors, is_test, title
from flow_of_flows.dbt.session import DbtSession
from flow_of_flows.dbt.state import Store, opened, projects, publishing
from flow_of_flows.dbt.state.publishing import Missing, Production
from flow_of_flows.errors import ConfigurationError
from flow_of_flows.messages import listed
from flow_of_flows.settings import Settings
from flow_of_flows.warehouse.targets import full_name

CODE = "state:modified+"
FRESHER = "source_status:fresher"
CHANGED = f"{CODE} {FRESHER}+"
NAMED = 10

Warn = Callable[[str], None]


def changed_only(options: Options, freshness: str) -> Options:
    """Return the options of a run that builds what changed.

    Args:
        options: what to build.
        freshness: what a stale source means: `warn`, `error` or `off`.

    Raises:
        ConfigurationError: the options select something else, too, or freshness is off.
    """
    chosen = {"select": options.select, "selector": options.flags.selector, "full_refresh": options.full_refresh}
    for parameter, given in chosen.items():
        if given:
            raise ConfigurationError(
                f"changed_only and {parameter} contradict each other", location="parameters", hint="give one of them"
            )
    if freshness == "off":
        raise ConfigurationError(
            "changed_only has to know which sources are fresher, and freshness is off",
            location="parameters",
            hint="set freshness to warn or error",
        )
    return replace(options, select=CHANGED)


def compares(options: Options, default: frozenset[str] = frozenset()) -> bool:
    """Return whether what dbt will select depends on production's artifacts.

    Args:
        options: what to build.
        default: selection methods of the selector that these options use, see `Parsed.selector_methods`.
    """
    if options.select is None and options.exclude is None:
        return not arguments.COMPARING.isdisjoint(default)
    return arguments.selection_compares(options.select) or arguments.selection_compares(options.exclude)


def tells_nothing(warning: str) -> bool:
    """Return whether a warning of dbt only says that nothing changed: that a comparison matches no node."""
    return arguments.selection_compares(arguments.unmatched_selection(warning))


def in_full(options: Options, default: str | None = None) -> Options:
    """Return the options without what cannot be compared.

    Args:
        options: what to build.
        default: name of the project's default selector; then everything has to be selected by name.
    """
    select, exclude = (
        None if arguments.selection_compares(text) else text for text in (options.select, options.exclude)
    )
    # A selection takes the place of a selector, which is here one that compares.
    selector = default or options.selector
    if selector is not None and select is None and exclude is None:
        select = arguments.everything_selected()
    return replace(options, state=None, select=select, exclude=exclude)


def lacks(options: Options, found: Production, expected: Collection[str], sources: bytes | None) -> str | None:
    """Return why fresher sources are not known, as a sentence; None if they are, or do not matter.

    Args:
        options: what to build.
        found: production.
        expected: the sources that declare freshness.
        sources: sources.json of now.
    """
    if options.select != CHANGED or not expected:
        return None
    if found.sources is None:
        return f"there is no sources.json of {found.title}"
    return "dbt gave no sources.json" if sources is None else None


def narrowed(options: Options, expected: Collection[str]) -> Options:
    """Return the options without the comparison of sources, where no source declares freshness.

    dbt would miss the file that it compares.

    Args:
        options: what to build.
        expected: the sources that declare freshness.
    """
    return replace(options, select=CODE) if options.select == CHANGED and not expected else options


def unwatched(sources: Iterable[str], expected: Collection[str]) -> str | None:
    """Return a warning about sources that declare no freshness, as new rows in them are not seen.

    Args:
        sources: all sources.
        expected: those that declare freshness.
    """
    blind = sorted(set(sources) - set(expected))
    if not blind:
        return None
    return f"New rows are not seen in sources that declare no freshness: {listed(blind, NAMED)}"


def not_built(buildable: Iterable[str], done: Collection[str], since: str) -> dict[str, str | int]:
    """Return what was not built, for the report: how many, which, and why.

    Args:
        buildable: every node of the project that a full build has a result for.
        done: those that this build has a result for.
        since: what was compared with.
    """
    rest = sorted(set(buildable) - set(done))
    if not rest:
        return {"not built": 0}
    models = [title(name) for name in rest if not is_test(name)]
    facts: dict[str, str | int] = {"not built": len(rest), "not built because": f"unchanged since {since}"}
    return facts | ({"not built, without tests": listed(models, NAMED)} if models else {})


def why(
    selected: Iterable[str], modified: Collection[str], fresher: Collection[str], parents: Mapping[str, Sequence[str]]
) -> dict[str, str]:
    """Return why each selected node would run.

    Args:
        selected: ids of the nodes.
        modified: those whose own code differs.
        fresher: sources that were loaded since.
        parents: what each node depends on.
    """
    return {name: _reason(name, modified, fresher, ancestors(name, parents)) for name in selected}


def _reason(name: str, modified: Collection[str], fresher: Collection[str], above: set[str]) -> str:
    if name in modified:
        return "modified"
    changed = sorted(above & set(modified))
    loaded = sorted(above & set(fresher))
    reasons = [f"downstream of {listed([title(node) for node in changed], 3)}"] if changed else []
    reasons += [f"fresher {listed([title(node) for node in loaded], 3)}"] if loaded else []
    return "; ".join(reasons) or "selected"


def production(session: DbtSession, store: Store, warn: Warn) -> Production | Missing:
    """Return what a run of the session's project compares with, and write it where dbt reads it (`Paths.state`).

    Args:
        session: the project, and its folders of this run.
        store: where production is.
        warn: takes what is wrong with some of its files.

    Raises:
        FlowsError: the store cannot be read.
    """
    found = publishing.read_production(projects.base(store, session.owner), session.identity)
    if isinstance(found, Production):
        for warning in found.warnings:
            warn(warning)
        found.write(session.paths.state)
    return found


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
            ConfigurationError: there is no production to defer to.
            PlatformError: the store cannot be read.
        """
        is_compared = compares(options, parsed.selector_methods(options))
        if not (is_compared or options.flags.defer):
            return cls(options)
        current = production(session, store, warn)
        if isinstance(current, Missing) and not is_compared:
            raise build_flags.no_production(current.reason)
        if isinstance(current, Missing):
            warn(f"{current.reason}, so everything is built")
            return cls(in_full(options, parsed.default_selector))
        # What only defers to production does not build what differs from it.
        return cls(replace(options, state=session.paths.state), current if is_compared else None)

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
        if lack := lacks(options, self.production, parsed.checked_sources, sources):
            warn(f"Everything is built: which sources are fresher is not known, for {lack}")
            return Comparison(in_full(options, parsed.default_selector))
        if options.select == CHANGED and (blind := unwatched(parsed.sources, parsed.checked_sources)):
            warn(blind)
        return replace(self, options=narrowed(options, parsed.checked_sources))


@dataclass(frozen=True)
class Plan:
    """What would run.

    Attributes:
        nodes: why each node would run, by its id.
        left: how many would not be built.
        since: what was compared with; None where nothing was.
        estimate: how long they are expected to take.
    """

    nodes: Mapping[str, str]
    left: int
    since: str | None
    warnings: tuple[str, ...]
    estimate: Estimate


def plan(settings: Settings, request: Options, installed: Settings | None = None) -> Plan:
    """Return what `dbt-build` would build with these options now.

    Args:
        settings: with the project and the target.
        request: what to build.
        installed: the settings of the installation; None: the same.

    Raises:
        FlowsError: what the build itself would end with before it builds.
    """
    warnings: list[str] = []
    with ExitStack() as stack:
        session = stack.enter_context(_session(settings, settings.home))
        session = owned(session, None, settings, installed or settings)
        session.install_packages(request)
        parsed = session.parse(request)
        session = session.keep_parse()
        store = opened(settings)
        comparison = Comparison.of(session, store, request, parsed, warnings.append)
        sources = None
        if "source_status" in arguments.selection_methods(comparison.options.select) and parsed.checked_sources:
            stack.enter_context(reachable(session.target))
            sources = session.freshness(comparison.options, parsed)[0]
        comparison = comparison.narrowed(parsed, sources, warnings.append)
        nodes = _why(session, comparison.options, parsed)
        expected = _expected(session, store, nodes, parsed)
    since = comparison.production.title if comparison.production else None
    return Plan(nodes, len(parsed.built) - len(nodes), since, tuple(warnings), expected)


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
            session.keep_parse().selected(Options(select=arguments.everything_selected()), parsed)
    used = "" if target.known else f", {target.title}"
    return f"{found.name} in {found.folder}{used}"


def _session(settings: Settings, home: Path) -> AbstractContextManager[DbtSession]:
    """Return a session on the project of the settings."""
    return DbtSession.opened(project.find(settings.dbt_project), settings, home)


def _expected(session: DbtSession, store: Store, names: Collection[str], parsed: Parsed) -> Estimate:
    """Return how long a build of these nodes is expected to take, from what the state store has of earlier runs."""
    results = projects.recent_results(store, session.owner, full_name(session.target))
    after = estimate.graph(parsed.manifest, names)
    return estimate.estimate(names, results, after, estimate.threads())


def _why(session: DbtSession, options: Options, parsed: Parsed) -> dict[str, str]:
    built = set(parsed.built)
    selected = [name for name in session.selected(options, parsed) if name in built]
    modified: list[str] = []
    fresher: list[str] = []
    if options.state is not None:
        modified = session.selected(replace(options, select="state:modified", exclude=None), parsed)
        if options.select == CHANGED:
            fresher = session.selected(replace(options, select=FRESHER, exclude=None), parsed)
    return why(selected, modified, fresher, parsed.parents)
