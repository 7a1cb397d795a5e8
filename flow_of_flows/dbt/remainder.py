"""What is left of a run that another one continues: its saved results and the project now in, what to build out."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable
from pathlib import Path

from flow_of_flows.dbt import changes, comparison, resumption, runner
from flow_of_flows.dbt.arguments import Options
from flow_of_flows.dbt.parsed_project import Parsed
from flow_of_flows.dbt.results import is_operation, nodes, title
from flow_of_flows.dbt.resumption import Continuation, Refused, Remainder
from flow_of_flows.dbt.session import DbtSession
from flow_of_flows.dbt.state import Store, projects, publishing, saved_runs
from flow_of_flows.dbt.state.publications import Publication
from flow_of_flows.dbt.state.saved_runs import Inputs, SavedRun
from flow_of_flows.errors import FlowsError
from flow_of_flows.warehouse.targets import full_name

Warn = Callable[[str], None]
logger = logging.getLogger(__name__)


def saved_run(session: DbtSession, request: Options, options: Options, parsed: Parsed | None = None) -> SavedRun:
    """Return what must be the same for a run to be continued.

    Args:
        session: dbt on the project and target of the run.
        request: what to build, as the run's parameters have it.
        options: what dbt builds.
        parsed: the project, once it is parsed.
    """
    return SavedRun(
        project=session.project.fingerprint(),
        inputs=changes.inputs(parsed) if parsed is not None else None,
        target=full_name(session.target),
        dbt=runner.version(),
        asked=request.select,
        select=options.select,
        exclude=options.exclude,
        vars=options.vars,
        full_refresh=options.full_refresh,
        flags=options.flags.saved(),
    )


def production(session: DbtSession, store: Store) -> Publication | None:
    """Return what is production of the session's project now; None if that cannot be read, which publishing says.

    Args:
        session: dbt on the project.
        store: the whole state store.
    """
    try:
        return publishing.read_log(projects.find(store, session.owner))[0].current
    except FlowsError as error:
        logger.debug("What is production is not known", exc_info=error)
        return None


def of(
    previous: Continuation,
    now: SavedRun,
    *,
    session: DbtSession,
    store: Store,
    options: Options,
    parsed: Parsed,
    warn: Warn,
) -> Remainder | Refused:
    """Return what is left of a run, or why nothing of it counts as done.

    Args:
        previous: the run to continue.
        now: the same description of this process's project, target, dbt and parameters.
        session: dbt on the project.
        store: has what the run left.
        options: what to build.
        parsed: the project.
        warn: takes what dbt cannot tell.
    """
    changed = _changed(previous, now, session, store, parsed)
    if isinstance(changed, Refused):
        return changed
    overwritten = _overwritten(previous, now, session, store, parsed)
    if isinstance(overwritten, Refused):
        return overwritten
    if overwritten:
        changed = {**overwritten, **(changed or {})}
    for name in sorted(name for name, reason in (changed or {}).items() if changes.LARGE_SEED in reason):
        warn(f"{title(name)} is built: it is over 1 MB, and {changes.LARGE_SEED}")
    is_same = changed is None
    selected = _selected(previous, session, store, options, parsed, is_same=is_same)
    return resumption.remainder(previous.results, selected, changed, parsed.parents)


def _changed(
    previous: Continuation, now: SavedRun, session: DbtSession, store: Store, parsed: Parsed
) -> dict[str, str] | Refused | None:
    """Return which nodes differ from what the run built, and why; None where nothing changed since."""
    saved = previous.saved
    same_files = saved.project == now.project
    if same_files and saved.inputs in (None, now.inputs):
        return None
    manifest = saved_runs.read_manifest(store, previous.run)
    since = f"since run {previous.run}"
    if saved.inputs is None or now.inputs is None or manifest is None:
        return Refused(f"{since}, the project changed, and what it was then is not kept")
    if saved.inputs.place != now.inputs.place:
        return Refused(f"{since}, the target changed")
    try:
        return _touched(manifest, session, parsed, (saved.inputs, now.inputs), same_files=same_files)
    except ValueError as error:
        return Refused(f"{since}, {error}")


def _overwritten(
    previous: Continuation, now: SavedRun, session: DbtSession, store: Store, parsed: Parsed
) -> dict[str, str] | Refused:
    """Return what another run has built differently in the same place, and published, after the run to continue."""
    current, seen = production(session, store), previous.saved.production
    if current is None or now.inputs is None or current.target != now.target:
        return {}
    if current.id == seen or current.run == previous.run:
        return {}
    try:
        manifest = publishing.whole(projects.find(store, session.owner), current, saved_runs.MANIFEST)
    except FlowsError as error:
        return Refused(f"since run {previous.run}, run {current.run} published, and {error.message}")
    try:
        found = _touched(manifest, session, parsed, (now.inputs, now.inputs), same_files=False)
    except ValueError:
        return {}  # of another project, which builds other tables
    meanwhile = f"published meanwhile as {current.id}"
    return {name: f"{reason}, {meanwhile}" for name, reason in found.items() if reason != resumption.NEW}


def _touched(
    manifest: bytes, session: DbtSession, parsed: Parsed, inputs: tuple[Inputs, Inputs], *, same_files: bool
) -> dict[str, str]:
    with tempfile.TemporaryDirectory(dir=session.paths.work) as folder:
        Path(folder, saved_runs.MANIFEST).write_bytes(manifest)
        return changes.touched(Path(folder), parsed, *inputs, same_files=same_files)


def _selected(
    previous: Continuation, session: DbtSession, store: Store, options: Options, parsed: Parsed, *, is_same: bool
) -> frozenset[str]:
    """Return the ids of what the run has to build, of the project as it is now.

    Args:
        previous: the run to continue.
        session: dbt on the project.
        store: has what the run left.
        options: what to build.
        parsed: the project.
        is_same: nothing changed since.
    """
    ended = {node.id for node in nodes(previous.results) if not is_operation(node.id)} & parsed.nodes
    if is_same and previous.saved.complete:
        return frozenset(ended)
    if (sources := saved_runs.read_sources(store, previous.run)) is not None:
        # A selection of fresher sources means those that the run began with.
        (session.paths.work / saved_runs.SOURCES).write_bytes(sources)
    selected = set(session.selected(options, parsed)) & (parsed.whole | ended)
    # What differs from production may be the same again, and is in the warehouse as the run has built it.
    is_relative = is_same or comparison.compares(options, parsed.selector_methods(options))
    return frozenset(selected | ended if is_relative else selected)
