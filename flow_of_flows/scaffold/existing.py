"""An existing dbt project that a new project takes as it is: a folder or a git URL in, what dbt reads in it out."""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from flow_of_flows.errors import ConfigurationError
from flow_of_flows.messages import one_line
from flow_of_flows.scaffold.placement import PREFIX
from flow_of_flows.settings import Settings, TargetName
from flow_of_flows.warehouse import profiles

if TYPE_CHECKING:
    from flow_of_flows.dbt.project import ProjectRevision

PROJECT_FILE = "dbt_project.yml"
# What dbt, git and Python leave in a project; none of it is copied.
LEFT = ("target", "logs", "dbt_packages", ".git", ".venv", "__pycache__", f"{PREFIX}*")
_SCP = re.compile(r"[\w.-]+@[\w.-]+:")
DEEP = 3
# A variable that the platform sets for each of its warehouses.
VARIABLES = {
    TargetName.DUCKDB: "DBT_DUCKDB_FOLDER",
    TargetName.POSTGRES: "PGHOST",
    TargetName.SNOWFLAKE: "DBT_SNOWFLAKE_ACCOUNT",
}


@dataclass(frozen=True)
class ExistingDbt:
    """A dbt project that somebody else wrote.

    Attributes:
        folder: where its files are now.
        profile: name of its profile.
        own_profile: the profiles.yml that dbt finds for it; None if it has none.
        output: the output that dbt uses, as that file says.
        adapter: dbt's name of the kind of warehouse; None without a profile.
        unchecked: why it was not parsed; None if it was.
        connected: outputs of its profile whose connection is that of the platform's settings.
    """

    folder: Path
    profile: str
    own_profile: Path | None
    output: str | None
    adapter: str | None
    unchecked: str | None = None
    connected: frozenset[str] = frozenset()


def is_url(text: str) -> bool:
    """Return whether a text is the address of a repository and not a path."""
    return "://" in text or _SCP.match(text) is not None


@contextmanager
def fetched(url: str, settings: Settings) -> Iterator[tuple[Path, ProjectRevision]]:
    """Yield the folder with the files of a repository's default branch, and which commit they are.

    Args:
        url: https address without credentials.
        settings: the time limits of git, and where the token is kept.

    Raises:
        FlowsError: the repository cannot be fetched.
    """
    from flow_of_flows.dbt.repository.checkout import checked_out
    from flow_of_flows.dbt.repository.source import of_url
    from flow_of_flows.dbt.runner import Stopped

    try:
        with checked_out(of_url(url, "--dbt"), settings) as checkout:
            yield checkout.project, checkout.origin
    except Stopped as stopped:
        stopped.pass_on()


def read(folder: Path, settings: Settings, stand_in: str, origin: ProjectRevision | None = None) -> ExistingDbt:
    """Return what dbt reads in a project; its folder is not changed.

    Args:
        folder: of the project.
        settings: say where dbt's own files go.
        stand_in: a profiles.yml with the placeholder PROFILE, for a project that has none.
        origin: the commit that the files are of.

    Raises:
        ConfigurationError: there is no dbt project, or dbt refuses it.
    """
    _must_have_dbt()
    content = _content(folder, origin)
    settings = settings.model_copy(update={"dbt_project": folder})
    chosen = _chosen(folder, settings)
    if chosen is None:
        name = _profile_name(content, folder)
        own = settings.home / profiles.PROFILES_FILE
        own.write_text(stand_in.replace("PROFILE", name))
        settings = settings.model_copy(update={"dbt_profiles_dir": settings.home})
        return ExistingDbt(folder, name, None, None, None, _parse(folder, settings, origin, "duckdb"))
    unchecked = _parse(folder, settings, origin, chosen.adapter)
    outputs = profiles.outputs(folder, settings.dbt_profiles_dir)
    connected = frozenset(str(name) for name, variable in VARIABLES.items() if variable in str(outputs.get(name)))
    profile = chosen.profile
    return ExistingDbt(folder, profile.name, profile.file, chosen.output, chosen.adapter, unchecked, connected)


def copy(folder: Path, destination: Path) -> None:
    """Copy the files of a project, without what tools have left there.

    Args:
        folder: of the project.
        destination: a folder that does not exist yet.
    """
    shutil.copytree(folder, destination, ignore=shutil.ignore_patterns(*LEFT), ignore_dangling_symlinks=True)


def _must_have_dbt() -> None:
    if find_spec("dbt") is None or find_spec("dbt.version") is None:
        raise ConfigurationError(
            "dbt is not installed here, so an existing dbt project cannot be read",
            location="flow-of-flows",
            hint="install flow-of-flows with the extra of your warehouse, such as flow-of-flows[duckdb]",
        )


def _content(folder: Path, origin: ProjectRevision | None) -> dict[str, Any]:
    """Return the content of dbt_project.yml."""
    where = str(origin or folder)
    try:
        content = yaml.safe_load((folder / PROJECT_FILE).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        deeper = _deeper(folder)
        todo = "clone the repository and name that folder" if origin else "name that folder"
        hint = f"there is one in {deeper}: {todo}" if deeper else "name the folder that has it"
        raise ConfigurationError(f"There is no {PROJECT_FILE}", location=where, hint=hint) from error
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigurationError(
            f"{PROJECT_FILE} cannot be read: {one_line(error)}", location=where, hint="correct it"
        ) from error
    if not isinstance(content, dict):
        raise ConfigurationError(
            f"{PROJECT_FILE} is not a mapping of keys to values", location=where, hint="correct it"
        )
    return content


def _deeper(folder: Path) -> str | None:
    """Return the path of a dbt project below a folder."""
    for parent, folders, files in os.walk(folder):
        below = Path(parent).relative_to(folder)
        folders[:] = sorted(name for name in folders if name not in LEFT) if len(below.parts) < DEEP else []
        if PROJECT_FILE in files:
            return str(below)
    return None


def _chosen(folder: Path, settings: Settings) -> profiles.Chosen | None:
    """Return the output that dbt would use; None where no profiles.yml has the project's profile.

    Raises:
        ConfigurationError: the project's own profiles.yml is not valid.
    """
    try:
        chosen = profiles.choose(settings.model_copy(update={"target": None}), folder, {})
    except ConfigurationError:
        if (folder / profiles.PROFILES_FILE).exists():
            raise
        return None
    return chosen if chosen.profile.file else None


def _profile_name(content: dict[str, Any], folder: Path) -> str:
    name = content.get("profile")
    if not isinstance(name, str) or not name:
        raise ConfigurationError(
            "The dbt project names no profile", location=str(folder / PROJECT_FILE), hint="add `profile:` to it"
        )
    return profiles.rendered(name)


def _parse(folder: Path, settings: Settings, origin: ProjectRevision | None, adapter: str) -> str | None:
    """Parse the project; return why that is not possible here, None if it parsed.

    Raises:
        ConfigurationError: dbt refuses the project.
    """
    from flow_of_flows.dbt import failures, project
    from flow_of_flows.dbt.arguments import Options
    from flow_of_flows.dbt.runner import Stopped
    from flow_of_flows.dbt.session import DbtSession

    found = project.find(folder, origin)
    if find_spec("dbt.adapters") is None or find_spec(f"dbt.adapters.{adapter}") is None:
        return f"dbt-{adapter} is not installed here"
    if found.lacks_packages:
        return "its packages are not installed yet"
    logging.getLogger("flow_of_flows.dbt.events").setLevel(logging.CRITICAL)
    try:
        with DbtSession.opened(found, settings, settings.home) as session:
            session.parse(Options())
    except ConfigurationError as error:
        if failures.variables_without_value(error):
            return error.message
        raise
    except Stopped as stopped:
        stopped.pass_on()
    return None
