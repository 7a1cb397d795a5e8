"""The project around the working directory: its folder, its prefect.yaml, and its table in pyproject.toml."""

from __future__ import annotations

import functools
import importlib
import os
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from flow_of_flows.errors import ConfigurationError, FlowsError
from flow_of_flows.messages import did_you_mean

VARIABLE = "FLOWS_PROJECT"
FILE = "prefect.yaml"
TABLE = "flow-of-flows"
# In a checkout of this repository its own project is the one of last resort; an installed package has none beside it.
CHECKOUT = Path(__file__).resolve().parent.parent
KEYS = ("dbt-project", "sample", "settings")
# The parameter of dbt's children that names a folder of the project, and the package of those children.
DBT_PARAMETER, DBT_CHILDREN = "project", "flow_of_flows.dbt."


@dataclass(frozen=True)
class Project:
    """A team's own part: pipelines, children, a dbt project and the file that declares their deployments.

    Attributes:
        folder: absolute path of the folder that holds prefect.yaml.
        dbt_project: absolute path of the dbt project.
        settings: modules whose `ProjectSettings` classes declare the project's own variables.
        sample: `module:function` that writes the project's sample data, for `flows sample`; None if it has none.
    """

    folder: Path
    dbt_project: Path
    settings: tuple[str, ...] = ()
    sample: str | None = None

    @property
    def deployments(self) -> Path:
        """Return the prefect.yaml of the project."""
        return self.folder / FILE

    def make_importable(self) -> None:
        """Put the project's folder on the import path, as `python -m` does with the working directory."""
        if str(self.folder) not in sys.path:
            sys.path.insert(0, str(self.folder))

    def load_settings(self) -> None:
        """Import the modules that declare the project's own settings.

        Raises:
            ConfigurationError: a module does not import.
        """
        if self.settings:
            self.make_importable()
        for module in self.settings:
            try:
                importlib.import_module(module)
            except FlowsError:
                raise
            except Exception as error:  # a module of the project may raise anything
                known = isinstance(error, (ImportError, SyntaxError))
                raise ConfigurationError(
                    f"The project's settings do not import: {error if known else f'{type(error).__name__}: {error}'}",
                    location=f"{self.folder / 'pyproject.toml'}, [tool.{TABLE}] settings",
                    hint="correct the name of the module, or the module",
                ) from error


def names_in(file: Path) -> tuple[str, ...]:
    """Return the names of the deployments in a prefect.yaml, without importing or checking anything.

    Returns:
        Names in the order of the file; none if the file is missing or is not valid.
    """
    return tuple(entry.name for entry in declarations_in(file))


def children_in(file: Path) -> tuple[str, ...]:
    """Return the names of the deployments in a prefect.yaml that are not tagged as pipelines."""
    return tuple(entry.name for entry in declarations_in(file) if "pipeline" not in entry.tags)


def refuse_unknown(name: str, file: Path) -> None:
    """Refuse the name of a deployment that a prefect.yaml does not declare, without importing anything.

    Args:
        name: name of a deployment.
        file: a prefect.yaml; if it cannot be read, its reader says later what is wrong.

    Raises:
        ConfigurationError: the file declares no such deployment.
    """
    names = names_in(file)
    if names and name not in names:
        raise ConfigurationError(
            f"Unknown deployment {name}",
            location=str(file),
            hint=f"{did_you_mean(name, names)}there are {', '.join(names)}",
        )


def modules_in(file: Path) -> tuple[str, ...]:
    """Return the modules of the entrypoints in a prefect.yaml, each once, in the order of the file."""
    return tuple(dict.fromkeys(_module(entry.entrypoint) for entry in declarations_in(file)))


def _module(entrypoint: str) -> str:
    """Return the module of `module.name`, `module:name` or `folder/module.py:name`."""
    place = entrypoint.rpartition(":")[0] or entrypoint.rpartition(".")[0]
    return Path(place).with_suffix("").as_posix().replace("/", ".") if place.endswith(".py") else place


class Declaration(NamedTuple):
    """An entry of prefect.yaml, neither imported nor checked."""

    name: str
    entrypoint: str
    tags: frozenset[str]
    description: str
    parameters: Mapping[str, Any]


@functools.cache
def declarations_in(file: Path) -> tuple[Declaration, ...]:
    """Return the entries of a prefect.yaml in its order; none if the file is missing or is not valid."""
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        return tuple(
            Declaration(
                str(entry["name"]),
                str(entry["entrypoint"]),
                frozenset(map(str, entry.get("tags") or ())),
                str(entry.get("description") or ""),
                dict(entry.get("parameters") or {}),
            )
            for entry in content["deployments"]
        )
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError, AttributeError):
        return ()


def dbt_projects_in(file: Path) -> tuple[Path, ...]:
    """Return the folders of the dbt projects that deployments of a prefect.yaml name, each once, in its order.

    Raises:
        ConfigurationError: a folder is absolute.
    """
    named = (
        entry.parameters.get(DBT_PARAMETER)
        for entry in declarations_in(file)
        if entry.entrypoint.startswith(DBT_CHILDREN)
    )
    return tuple(dict.fromkeys(dbt_folder(name.strip()) for name in named if isinstance(name, str) and name.strip()))


def dbt_folder(name: str) -> Path:
    """Return the folder that the parameter `project` of dbt's children names.

    Raises:
        ConfigurationError: it is an absolute one, which would be another in each place.
    """
    if Path(name).is_absolute():
        raise ConfigurationError(
            f"The folder of a dbt project is absolute: {name}",
            location=f"parameter {DBT_PARAMETER}",
            hint="give it relative to the folder of prefect.yaml, such as dbt/finance",
        )
    return Path(os.path.normpath(current_project().folder / name))


def current_project() -> Project:
    """Return the project of this process.

    FLOWS_PROJECT names its folder; unset, it is the nearest folder with a prefect.yaml, upwards from the working
    directory; without one, the checkout that this package runs from, else the working directory.

    Raises:
        ConfigurationError: FLOWS_PROJECT is not a folder, or the table in pyproject.toml is not valid.
    """
    folder = _folder()
    table = _table(folder / "pyproject.toml")
    # A dbt repository to which `flows init` added a project has its own in the root.
    default = "." if (folder / "dbt_project.yml").is_file() else "dbt"
    return Project(
        folder, folder / str(table.get("dbt-project", default)), tuple(table.get("settings", ())), table.get("sample")
    )


def _folder() -> Path:
    if named := os.environ.get(VARIABLE):
        folder = Path(named).expanduser().absolute()
        folder = folder.parent if folder.name == FILE else folder
        if not folder.is_dir():
            raise ConfigurationError(
                f"{VARIABLE} is not a folder",
                location=str(folder),
                hint="set it to the folder of prefect.yaml or unset it",
            )
        return folder
    here = Path.cwd()
    places = (here, *here.parents, CHECKOUT)
    return next((folder for folder in places if (folder / FILE).is_file()), here)


def _table(file: Path) -> dict[str, Any]:
    """Return the table `[tool.flow-of-flows]`, empty if there is none."""
    try:
        content = _parsed(file, file.stat().st_mtime_ns)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"It cannot be read: {error}", location=str(file), hint="correct the file") from error
    table = content.get("tool", {}).get(TABLE, {})
    where = f"{file}, [tool.{TABLE}]"
    if unknown := sorted(set(table) - set(KEYS)):
        raise ConfigurationError(f"Unknown key {unknown[0]}", location=where, hint=f"the keys are {', '.join(KEYS)}")
    if not all(isinstance(table.get(key, ""), str) for key in KEYS[:2]) or not _is_texts(table.get("settings", [])):
        raise ConfigurationError(
            "A value has the wrong type",
            location=where,
            hint="settings is a list of module names, all others are texts",
        )
    return dict(table)


@functools.lru_cache(maxsize=8)
def _parsed(file: Path, changed: int) -> dict[str, Any]:  # noqa: ARG001 - part of the key: a file is read again after a change
    return tomllib.loads(file.read_text(encoding="utf-8"))


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
