"""What a build would run, without building: settings and parameters in, nodes with their reasons out.

It parses the project, reads the state store and, to see which sources are fresher, asks the warehouse when they were
loaded; it writes nothing but dbt's parse.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from flow_of_flows.dbt import changes, project, selection
from flow_of_flows.dbt.arguments import Options
from flow_of_flows.dbt.changes import CHANGED, FRESHER
from flow_of_flows.dbt.comparison import Comparison
from flow_of_flows.dbt.events import DbtProgress
from flow_of_flows.dbt.reachable import reachable
from flow_of_flows.dbt.session import DbtSession, Parsed
from flow_of_flows.dbt.state import opened
from flow_of_flows.dbt.workspace import workspace
from flow_of_flows.settings import Settings, dbt_environment
from flow_of_flows.warehouse.profiles import Output
from flow_of_flows.warehouse.targets import for_dbt


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
