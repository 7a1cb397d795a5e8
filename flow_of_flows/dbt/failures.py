"""What dbt says went wrong, as the errors of this package: dbt's exception or failed nodes in, a `FlowsError` out.

What dbt refuses in a project becomes one sentence with the file it means. dbt itself names no file for some of it: text
that is not UTF-8, a missing variable, models in a cycle. Imports dbt's exception classes, and nothing that runs.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from uuid import UUID

from flow_of_flows import errors
from flow_of_flows.child_report import Problem
from flow_of_flows.dbt.arguments import Options
from flow_of_flows.dbt.project import DbtProject, files
from flow_of_flows.dbt.results import Freshness, Node, one_line, title
from flow_of_flows.errors import Cause, ConfigurationError, DataError, FlowsError, PlatformError
from flow_of_flows.messages import shortened
from flow_of_flows.project import children_in, current_project
from flow_of_flows.redaction import redact
from flow_of_flows.warehouse.profile_variables import MissingVariablesError
from flow_of_flows.warehouse.targets import DbtTarget
from flow_of_flows.warehouse.transient import is_transient

FILES_NAMED = 3
SHOWS = "`dbt parse` in the project's folder shows the same"
_CYCLE = re.compile(r"^Found a cycle: (.+)$")
_VARIABLE = re.compile(r"Env var required but not provided: '([^']+)'")
_ADAPTER = re.compile(r"Could not find adapter type (\S+?)!")
# Files that can hold Jinja.
_TEXTS = frozenset({".sql", ".py", ".yml", ".yaml", ".md"})
# The file that an exception of dbt is about, by the name of its class.
_FILES = {
    "DbtProfileError": "profiles.yml",
    "DbtSelectorsError": "selectors.yml",
}

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


def refused(error: BaseException, project: DbtProject) -> ConfigurationError | None:
    """Return the error of a project that dbt refuses; None if it is not one that dbt raises for a project.

    Args:
        error: dbt's exception.
        project: the project.
    """
    from dbt.cli.exceptions import DbtUsageException
    from dbt_common.exceptions import DbtBaseException

    what = redact(one_line(str(error)))
    if isinstance(error, UnicodeDecodeError):
        return _not_utf8(error, project)
    if cycle := _CYCLE.match(what):
        return _cycle(cycle[1].split(" --> "), project)
    if missing := missing_variable(what, project):
        return missing
    if adapter := _ADAPTER.search(what):
        return ConfigurationError(
            f"The profile's output needs dbt's adapter {adapter[1]}, which is not installed",
            location=_where(error, project),
            hint=f"install dbt-{adapter[1]} in the image, or choose another output with DBT_TARGET",
        )
    if isinstance(error, (DbtBaseException, DbtUsageException)):
        todo = f"correct the project or the parameters; {SHOWS}"
        return ConfigurationError(f"dbt refused the project: {what}", location=_where(error, project), hint=todo)
    return None


def unreadable(error: BaseException, project: DbtProject) -> ConfigurationError:
    """Return the error of a project that dbt cannot read, and says so by an exception of Python's own.

    Args:
        error: Python's exception.
        project: the project.
    """
    what = redact(one_line(str(error)))
    return ConfigurationError(
        f"dbt cannot read the project: {type(error).__name__}: {what}",
        location=project.where,
        hint=f"correct the project's files; {SHOWS}",
    )


def _not_utf8(error: UnicodeDecodeError, project: DbtProject) -> ConfigurationError:
    """Return the error of a text that dbt cannot decode, with the file that has it."""
    found = next((file for file in _all_files(project) if error.object in file.read_bytes()), None)
    line = error.object[: error.start].count(b"\n") + 1
    byte = f"byte 0x{error.object[error.start]:02x} in line {line}"
    if found is None:
        what, where = f"A file of the dbt project is not UTF-8: {byte}", project.where
    else:
        name = _relative(found, project)
        what, where = f"{name} is not UTF-8: {byte}", f"{name} in {project.where}"
    return ConfigurationError(what, location=where, hint="save the file as UTF-8")


def _cycle(downstream: list[str], project: DbtProject) -> ConfigurationError:
    """Return the error of models in a cycle, which dbt names from any of them on, each before what refers to it."""
    first = downstream.index(min(downstream))
    names = [downstream[first], *reversed(downstream[first + 1 :] + downstream[:first])]
    circle = " → ".join(title(name) for name in (*names, names[0]))
    return ConfigurationError(
        f"The models refer to each other in a cycle: {circle}",
        location=project.where,
        hint="remove one of these references",
    )


def missing_variable(what: str, project: DbtProject) -> ConfigurationError | None:
    """Return the error of an `env_var` without a value, with the files that use it; None for another message.

    Args:
        what: dbt's message.
        project: the project.
    """
    if not (found := _VARIABLE.search(what)):
        return None
    variable = found[1]
    wanted = re.compile(rb"env_var\s*\(\s*['\"]" + re.escape(variable.encode()) + rb"['\"]")
    texts = (file for file in _all_files(project) if file.suffix in _TEXTS)
    users = sorted(_relative(file, project) for file in texts if wanted.search(file.read_bytes()))
    more = f" and {len(users) - FILES_NAMED} more" if len(users) > FILES_NAMED else ""
    used = f"{', '.join(users[:FILES_NAMED])}{more} in {project.where}" if users else project.where
    return ConfigurationError(
        f"The environment variable {variable} is not set, and the dbt project has no default for it",
        location=used,
        hint=f"set {variable}, or give env_var a default as its second argument",
    )


def variables_without_value(error: BaseException) -> tuple[str, ...]:
    """Return the variables without a value that `env_var` of a project or profile needs; none for another error."""
    for each in errors.chain(error):
        if isinstance(each, MissingVariablesError):
            return each.names
        if found := _VARIABLE.search(str(each)):
            return (found[1],)
    return ()


def _where(error: BaseException, project: DbtProject) -> str:
    kinds = (kind.__name__ for kind in type(error).__mro__)
    name = next((_FILES[kind] for kind in kinds if kind in _FILES), None)
    return f"{name} of {project.where}" if name else project.where


def _all_files(project: DbtProject) -> Iterator[Path]:
    """Yield the files of the project, then those of its packages."""
    yield from files(project.folder)
    if project.packages.is_dir():
        yield from files(project.packages)


def _relative(file: Path, project: DbtProject) -> str:
    return str(file.relative_to(project.folder)) if file.is_relative_to(project.folder) else str(file)


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
    return refused(error, project)


def no_packages(what: str, project: DbtProject, refused: Sequence[str] = ()) -> FlowsError:
    """Return the error of `dbt deps`, which downloads from other hosts.

    Args:
        what: dbt's message.
        project: the project.
        refused: hosts that asked for a credential and got none.
    """
    if refused:
        return ConfigurationError(
            f"A package is private, and the token is not for its host, {refused[0] or 'one without a name'}",
            location=project.where,
            hint="name its credential in packages.yml with env_var('DBT_ENV_SECRET_…'), or bake the packages into the "
            "image; the token of FLOWS_SECRETS_GITHUB goes to the host of the project's repository alone",
        )
    if any(word in what for word in _UNREACHED):
        todo = "check that the package hub or the packages' git host can be reached from here, then run it again"
        return PlatformError(f"The project's packages cannot be fetched: {what}", location=project.where, hint=todo)
    todo = "correct packages.yml; `dbt deps` in the project's folder shows the same"
    return ConfigurationError(f"The project's packages cannot be installed: {what}", location=project.where, hint=todo)


def lfs_pointers(pointers: Sequence[str], project: DbtProject) -> ConfigurationError:
    """Return the error of seeds whose content is elsewhere.

    Args:
        pointers: paths of the seeds in the project.
        project: the project.
    """
    return ConfigurationError(
        f"{', '.join(pointers)}: a pointer of Git LFS, not the rows; the content is not fetched",
        location=project.where,
        hint="keep the seed in git itself (`git lfs untrack` and commit it again), or load it with an ingest child",
    )


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
    if options.is_whole:
        if selector is not None:
            todo = "correct selectors.yml, or give a selection"
            return ConfigurationError(
                f"The default selector {selector!r} matches nothing", location=project.where, hint=todo
            )
        return ConfigurationError("The project has no node to build", location=project.where, hint="add a model")
    flags = options.flags
    chosen = {
        "select": options.select,
        "exclude": options.exclude,
        "selector": options.selector,
        "resource_types": " ".join(flags.resource_types),
        "exclude_resource_types": " ".join(flags.exclude_resource_types),
    }
    asked = " ".join(f"{name}={value!r}" for name, value in chosen.items() if value)
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
