"""What a build would run, without building: settings and parameters in, nodes with their reasons out.

Called by `flows plan`. It parses the project, reads the state store and, to see which sources are fresher, asks the
warehouse when they were loaded; it writes nothing but dbt's parse.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace

from flows.settings import Settings
from flows.transform import changes, project, selection
from flows.transform.arguments import Options
from flows.transform.changes import CHANGED, FRESHER
from flows.transform.comparison import Comparison
from flows.transform.events import Progress
from flows.transform.reachable import reachable
from flows.transform.session import Parsed, Session
from flows.transform.store import opened
from flows.transform.workspace import workspace
from flows.warehouse.targets import from_settings


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
    target = from_settings(settings)
    found = project.find(settings.dbt_project)
    names = f"{target.name} {target.describe()} {target.schema}"
    warnings: list[str] = []
    with ExitStack() as stack:
        paths = stack.enter_context(workspace(settings.home, found, names))
        session = Session(found, target, paths, Progress(), settings.airbyte.dbt_environment())
        comparison = Comparison.of(session, opened(settings), warnings.append)
        session.install_packages(asked)
        parsed = session.parse(asked)
        session = session.keep_parse()
        options = comparison.prepare(asked, parsed)
        sources = None
        if "source_status" in selection.methods(options.select) and parsed.checked_sources:
            stack.enter_context(reachable(target))
            sources = session.freshness(options, parsed)[0]
        options = comparison.narrow(options, parsed, sources)
        nodes = _why(session, options, parsed)
    since = comparison.production.title if options.state is not None and comparison.production else None
    return Plan(nodes, len(parsed.built) - len(nodes), since, tuple(warnings))


def _why(session: Session, options: Options, parsed: Parsed) -> dict[str, str]:
    built = set(parsed.built)
    selected = [name for name in session.selected(options, parsed) if name in built]
    modified: list[str] = []
    fresher: list[str] = []
    if options.state is not None:
        modified = session.selected(replace(options, select="state:modified", exclude=None), parsed)
        if options.select == CHANGED:
            fresher = session.selected(replace(options, select=FRESHER, exclude=None), parsed)
    return changes.why(selected, modified, fresher, parsed.parents)
