"""What dbt refuses in a project: its exception in, one sentence with the file it means out.

dbt itself names no file for some of them: text that is not UTF-8, a missing variable, models in a cycle.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from flow_of_flows.dbt.project import DbtProject, files
from flow_of_flows.dbt.results import one_line, title
from flow_of_flows.errors import ConfigurationError
from flow_of_flows.redaction import redact

NAMED = 3
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
    more = f" and {len(users) - NAMED} more" if len(users) > NAMED else ""
    used = f"{', '.join(users[:NAMED])}{more} in {project.where}" if users else project.where
    return ConfigurationError(
        f"The environment variable {variable} is not set, and the dbt project has no default for it",
        location=used,
        hint=f"set {variable}, or give env_var a default as its second argument",
    )


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
