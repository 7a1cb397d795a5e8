"""Creates a project: a folder and what a team chose in, its files on the disk out."""

from __future__ import annotations

import re
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flow_of_flows.errors import ConfigurationError
from flow_of_flows.project import FILE, TABLE
from flow_of_flows.scaffold import existing, requirement
from flow_of_flows.scaffold.existing import PROJECT_FILE, ExistingDbt
from flow_of_flows.scaffold.names import project_name
from flow_of_flows.scaffold.placement import Placed, place, staged
from flow_of_flows.scaffold.rendering import Layout, Platform, render, stand_in_profile
from flow_of_flows.settings import Settings, TargetName

ADAPTER = re.compile(r"[a-z][a-z0-9_-]*")
# A new repository is empty all the same.
EMPTY = frozenset({".git"})


@dataclass(frozen=True)
class Created:
    """A project that is on the disk.

    Attributes:
        folder: absolute path of the project.
        placed: which files are new.
        copied: those of them that are the existing dbt project's own.
        layout: what the team chose.
    """

    folder: Path
    placed: Placed
    copied: frozenset[Path]
    layout: Layout

    @property
    def lacks_platform(self) -> bool:
        """Return whether the project has a pyproject.toml of its own that does not ask for the platform."""
        project = _pyproject(self.folder).get("project", {})
        return not any(str(each).startswith(requirement.PACKAGE) for each in project.get("dependencies", ()))

    @property
    def lacks_table(self) -> bool:
        """Return whether the project has a pyproject.toml of its own that does not say where the dbt project is."""
        return self.layout.dbt_folder not in (".", "dbt") and "dbt-project" not in _table(self.folder)


def create(folder: Path, *, name: str | None, dbt: str | None, warehouse: str | None) -> Created:
    """Create a project, or add to a folder with a dbt project what it lacks.

    Args:
        folder: of the project.
        name: of the project; None: that of the folder.
        dbt: folder or git URL of an existing dbt project; None: the example, or the one in the folder.
        warehouse: dbt's name of an adapter; None: that of the existing dbt project, else DuckDB.

    Raises:
        ConfigurationError: the folder, the name, the dbt project or the warehouse cannot be used.
        PlatformError: the disk is full, or a git host does not answer.
    """
    # Without following links, as the shell shows it.
    folder = folder.expanduser().absolute()
    chosen = project_name(name, folder.resolve() if folder.name in ("", "..") else folder)
    if warehouse is not None and not ADAPTER.fullmatch(warehouse):
        raise ConfigurationError(
            f"{warehouse!r} is not the name of a dbt adapter", location="--warehouse", hint="name one, such as postgres"
        )
    inside = _inside(folder, dbt)
    _must_be_free(folder, inside)
    with staged(folder) as stage, _dbt_of(folder, inside, dbt, stage) as found:
        layout = Layout(
            chosen,
            warehouse or (found and found.adapter) or TargetName.DUCKDB.value,
            _platform(),
            "dbt" if inside is None else inside,
            found,
            (folder / "requirements.txt").is_file(),
        )
        copied = frozenset(path.relative_to(stage) for path in stage.rglob("*"))
        for path, text in render(layout).items():
            (stage / path).parent.mkdir(parents=True, exist_ok=True)
            (stage / path).write_text(text, encoding="utf-8")
        return Created(folder, place(stage, folder), copied, layout)


def _inside(folder: Path, dbt: str | None) -> str | None:
    """Return the folder of a dbt project that is in the project's folder already, relative to it; None if none is."""
    if dbt is not None:
        path = Path(dbt).expanduser().absolute()
        is_inside = not existing.is_url(dbt) and path.is_dir() and path.resolve().is_relative_to(folder.resolve())
        return str(path.resolve().relative_to(folder.resolve())) if is_inside else None
    if (folder / PROJECT_FILE).is_file():
        return "."
    return str(_table(folder).get("dbt-project", "dbt")) if _is_earlier(folder) else None


def _must_be_free(folder: Path, inside: str | None) -> None:
    """Refuse a folder with other things in it.

    Raises:
        ConfigurationError: it is a file, or it is neither empty nor a dbt project nor an earlier project.
    """
    nearest = next(place for place in (folder, *folder.parents) if place.exists())
    if not nearest.is_dir():
        raise ConfigurationError("This is a file", location=str(nearest), hint="name a folder")
    if inside is not None or not folder.is_dir():
        return
    if {path.name for path in folder.iterdir()} - EMPTY:
        raise ConfigurationError(
            "The folder is not empty, and it has no dbt project",
            location=str(folder),
            hint="name a new folder, or give the dbt project in it with --dbt",
        )


def _is_earlier(folder: Path) -> bool:
    """Return whether `flows init` wrote the project that is in a folder."""
    return (folder / FILE).is_file() and bool(_table(folder))


def _table(folder: Path) -> dict[str, str]:
    """Return the table `[tool.flow-of-flows]` of a folder's pyproject.toml, empty if there is none."""
    return dict(_pyproject(folder).get("tool", {}).get(TABLE, {}))


def _pyproject(folder: Path) -> dict[str, Any]:
    """Return the content of a folder's pyproject.toml, empty if it is missing or not valid."""
    try:
        return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


@contextmanager
def _dbt_of(folder: Path, inside: str | None, dbt: str | None, stage: Path) -> Iterator[ExistingDbt | None]:
    """Yield the existing dbt project, copied to the stage unless it is in its place; None for the example."""
    if inside is None and dbt is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="flows-init-") as home:
        settings = Settings.load().model_copy(update={"home": Path(home)})
        if inside is not None:
            yield existing.read((folder / inside).absolute(), settings, stand_in_profile())
        elif dbt is not None and existing.is_url(dbt):
            with existing.fetched(dbt, settings) as (fetched, origin):
                existing.copy(fetched, stage / "dbt")
                yield existing.read(fetched, settings, stand_in_profile(), origin)
        elif dbt is not None:
            local = Path(dbt).expanduser().absolute()
            found = existing.read(local, settings, stand_in_profile())
            existing.copy(local, stage / "dbt")
            yield found


def _platform() -> Platform:
    origin = requirement.installed_from()
    return Platform(
        version=requirement.version(),
        python=requirement.python(),
        source=requirement.source(origin),
        address=requirement.address(origin),
        chart=requirement.chart(origin),
    )
