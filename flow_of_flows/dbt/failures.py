"""What dbt says went wrong, as the errors of this package: dbt's exception or failed nodes in, a `FlowsError` out.

Imports dbt's exception classes, and nothing that runs.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from uuid import UUID

from flow_of_flows import errors
from flow_of_flows.child_report import Problem
from flow_of_flows.dbt import refusals
from flow_of_flows.dbt.arguments import Options
from flow_of_flows.dbt.project import DbtProject
from flow_of_flows.dbt.results import Freshness, Node, one_line
from flow_of_flows.errors import Cause, ConfigurationError, DataError, FlowsError, PlatformError
from flow_of_flows.messages import shortened
from flow_of_flows.project import children_in, current_project
from flow_of_flows.redaction import redact
from flow_of_flows.warehouse.targets import DbtTarget
from flow_of_flows.warehouse.transient import is_transient

NAMED = 5
# Characters of a node's message in the sentence of an error.
MOST = 400
# What the client of dbt's hub and git say when a host does not do its part.
_UNREACHED = (
    "Max retries exceeded",
    "Could not resolve",
    "Failed to connect",
    "Could not connect",
    "Connection refused",
    "timed out",
    "External connection exception",
)
_MISSING = ("does not exist", "not found")


def translate(error: BaseException, project: DbtProject, target: DbtTarget) -> FlowsError | None:
    """Return the error for an exception of dbt; None if it is not one of dbt's.

    Args:
        error: the exception.
        project: the project, for the location.
        target: the warehouse, for the location.
    """
    from dbt.adapters.exceptions.connection import FailedToConnectError
    from dbt_common.exceptions import DbtDatabaseError

    what = redact(one_line(str(error)))
    if isinstance(error, (FailedToConnectError, DbtDatabaseError)) or _is_driver_error(error) or is_transient(error):
        todo = "check that the warehouse is up, and the settings of the connection"
        return PlatformError(f"The warehouse refused: {what}", location=target.describe(), hint=todo)
    if isinstance(error, OSError):
        todo = "make the folder writable, or free space on its disk"
        return PlatformError(
            f"dbt cannot read or write: {what}", location=str(error.filename or project.where), hint=todo
        )
    return refusals.refused(error, project)


def no_packages(what: str, project: DbtProject) -> FlowsError:
    """Return the error of `dbt deps`, which downloads from other hosts.

    Args:
        what: dbt's message.
        project: the project.
    """
    if any(word in what for word in _UNREACHED):
        todo = "check that the package hub or the packages' git host can be reached from here, then run it again"
        return PlatformError(f"The project's packages cannot be fetched: {what}", location=project.where, hint=todo)
    todo = "correct packages.yml; `dbt deps` in the project's folder shows the same"
    return ConfigurationError(f"The project's packages cannot be installed: {what}", location=project.where, hint=todo)


def failed(
    done: Sequence[Node],
    because: Mapping[str, tuple[str, ...]],
    run: UUID,
    *,
    kept: bool,
    child: str = "dbt-build",
    owners: Mapping[str, str] | None = None,
    transient: Collection[str] = (),
) -> FlowsError:
    """Return the error of a build in which nodes failed.

    The operator has to act where a disk was full, or where every node failed by a transient fault of the warehouse.

    Args:
        done: all nodes of the build.
        because: for each skipped node, the failed nodes it was skipped because of.
        run: id of the run.
        kept: whether the run can be continued.
        child: the deployment to run again.
        owners: owner of a node, by its id.
        transient: ids of what failed by a fault of the warehouse that passes by itself.
    """
    bad = [node for node in done if node.failed]
    lost = [node for node in bad if node.id in transient]
    wrong = [node for node in bad if node.id not in transient]
    retry = f"retry this run, or run {child} with retry_of={run}" if kept else f"run {child} again"
    full = any(errors.SAID in node.message for node in bad)
    skips = f". {len(because)} skipped because of them" if because else ""
    counted = f"{len(wrong or lost)} of {len(done)} dbt nodes failed"
    if not wrong:
        counted += " by a fault of the warehouse"
    also = f"; a fault of the warehouse failed {len(lost)} more: {_named(lost)}" if wrong and lost else ""
    only_tests = all(node.is_test for node in wrong)
    cause = Cause.DATA_TESTS_FAILED if only_tests else Cause.DBT_NODES_FAILED
    family: type[FlowsError] = DataError if wrong and not full else PlatformError
    return family(
        f"{counted}: {_named(wrong or lost)}{also}{skips}",
        hint=("free space in the warehouse, then " if full else _hint(wrong)) + retry,
        cause=cause if family is DataError else None,
        problems=(*(_problem(node, owners or {}) for node in wrong), *map(_fault, lost)),
        skipped=tuple(sorted(because)),
    )


def _named(bad: Sequence[Node]) -> str:
    """Return the first of these nodes, each with its message."""
    named = "; ".join(f"{node.title}: {_short(node)}" for node in bad[:NAMED])
    return named + (f"; and {len(bad) - NAMED} more" if len(bad) > NAMED else "")


def _hint(wrong: Sequence[Node]) -> str:
    """Return what to do before a retry; `wrong` are the nodes that failed by data or code."""
    if not wrong:
        return "see whether the warehouse is up and has room for these sessions, then "
    loaders = sorted({child for node in wrong for child in _loaders(node.message)})
    return f"run {', '.join(loaders)} to load what is missing, then " if loaders else "correct them, then "


def _problem(node: Node, owners: Mapping[str, str]) -> Problem:
    return Problem(name=node.id, status=node.status, message=node.message or node.status, owner=owners.get(node.id))


def _fault(node: Node) -> Problem:
    """Return a node that the warehouse failed: nothing that its owner could correct."""
    return Problem(name=node.id, status=Cause.PLATFORM, message=node.message or node.status)


def stale(
    sources: Sequence[Freshness],
    *,
    otherwise: str = "run dbt-build with freshness=warn",
    owners: Mapping[str, str] | None = None,
    transient: Collection[str] = (),
) -> FlowsError:
    """Return the error of sources that are not fresh, where that fails the run.

    Args:
        sources: those that are not fresh.
        otherwise: what to do rather than load them.
        owners: owner of a source, by its id.
        transient: ids of those that could not be checked for a fault of the warehouse that passes by itself.
    """
    named = "; ".join(f"{source.id} ({source.verdict}: {source.message})" for source in sources)
    if all(source.id in transient for source in sources):
        todo = "see whether the warehouse is up and has room for these sessions, then run it again"
        return PlatformError(f"A fault of the warehouse kept {len(sources)} sources from a check: {named}", hint=todo)
    return DataError(
        f"{len(sources)} sources are not fresh: {named}",
        hint=f"load them, or {otherwise}",
        problems=tuple(
            Problem(name=s.id, status=s.verdict, message=s.message, owner=(owners or {}).get(s.id)) for s in sources
        ),
    )


def nothing_selected(options: Options, selector: str | None, project: DbtProject) -> ConfigurationError:
    """Return the error of a build without nodes.

    Args:
        options: what was to be built.
        selector: name of the project's default selector, which dbt uses where nothing is selected.
        project: the project.
    """
    select, exclude = options.select, options.exclude
    if select is None and exclude is None:
        if selector is not None:
            todo = "correct selectors.yml, or give a selection"
            return ConfigurationError(
                f"The default selector {selector!r} matches nothing", location=project.where, hint=todo
            )
        return ConfigurationError("The project has no node to build", location=project.where, hint="add a model")
    asked = " ".join([f"select={select!r}"] * (select is not None) + [f"exclude={exclude!r}"] * (exclude is not None))
    return ConfigurationError(
        f"Nothing matches the selection {asked}",
        location=project.where,
        hint="correct the selection; `dbt ls --select …` shows what one matches",
    )


def _short(node: Node) -> str:
    """Return the part of a node's message that fits into a sentence with those of others."""
    return shortened(node.message or node.status, MOST, rest="in the run's table of nodes and its log")


def _loaders(message: str) -> list[str]:
    """Children that load a raw table which the message says is missing."""
    if not any(word in message for word in _MISSING):
        return []
    # DuckDB proposes other tables after the one it misses; Snowflake writes in capitals.
    said = message.partition("Did you mean")[0].lower()
    return [name for name in children_in(current_project().deployments) if name.replace("-", "_") in said]


def _is_driver_error(error: BaseException) -> bool:
    """Return whether a warehouse's own driver raised it; dbt lets some through as they are."""
    return type(error).__module__.partition(".")[0] in ("duckdb", "_duckdb", "psycopg2", "snowflake")
