"""The dbt project as a value: a folder in, a checked project and its fingerprint out. And the folders of a run on it.

<home>/dbt/<project>-<hash>/partial_parse.msgpack   the parsed project, so that the next run parses what changed
<home>/dbt/<project>-<hash>/run-xxxx/               dbt's target and log folder of one run; removed with it
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from flow_of_flows import held_folders
from flow_of_flows.dbt.arguments import Paths
from flow_of_flows.errors import ConfigurationError, PlatformError
from flow_of_flows.messages import one_line
from flow_of_flows.warehouse import profiles

PROJECT_FILE = "dbt_project.yml"
PARSE_FILE = "partial_parse.msgpack"
# What dbt writes into a project, and what an editor or git keeps there.
GENERATED = frozenset({"target", "logs", "dbt_packages", "__pycache__"})
# The first line of a pointer, and the longest one by its specification.
LFS_POINTER = b"version https://git-lfs.github.com/spec/"
LFS_POINTER_BYTES = 1024


@contextmanager
def workspace(home: Path, project: DbtProject, target: str) -> Iterator[Paths]:
    """Paths for the run.

    Args:
        home: FLOWS_HOME.
        project: the project; its folder may be read-only.
        target: names the warehouse and schema; parsing depends on them.

    Raises:
        PlatformError: the folder cannot be written.
    """
    cache = home / "dbt" / cache_key(project, target)
    with folder_of_run(cache, "dbt's files") as work:
        seed = next((file for file in (cache / PARSE_FILE, project.baked_parse) if file.is_file()), None)
        yield Paths(project.folder, work, seed)


def keep_parse(paths: Paths) -> Paths:
    """After a parse: keep its file for the next run, if dbt wrote one, that is, if something had changed."""
    written = paths.work / PARSE_FILE
    if not written.is_file():
        return paths
    kept = paths.work.parent / PARSE_FILE
    written.replace(kept)
    return replace(paths, parse=kept)


LOCK = "lock"


@contextmanager
def folder_of_run(parent: Path, what: str) -> Iterator[Path]:
    """A folder of this run alone, `run-xxxx`; those of runs that were killed go first.

    Args:
        parent: where it is made; made as well.
        what: what the folder is for, in a message.

    Raises:
        PlatformError: it cannot be written.
    """
    try:
        parent.mkdir(parents=True, exist_ok=True)
        # One without a lock is still being created.
        held_folders.sweep((each for each in parent.glob("run-*/") if (each / LOCK).exists()), _locked)
        folder = Path(tempfile.mkdtemp(prefix="run-", dir=parent))
        lock = _locked(folder)
    except OSError as error:
        raise PlatformError(
            f"The folder for {what} cannot be made: {error.strerror}",
            location=str(parent),
            hint="set FLOWS_HOME to a folder that can be written",
        ) from error
    with held_folders.held(folder, lock):
        yield folder


def _locked(folder: Path) -> int | None:
    return held_folders.locked(folder / LOCK, os.O_RDWR | os.O_CREAT)


@dataclass(frozen=True)
class ProjectRevision:
    """Where a project was fetched from: the folder it is in is one of this run alone.

    Attributes:
        address: the repository, and the folder in it.
        host: of the repository, as git names it.
    """

    address: str
    commit: str
    host: str

    def __str__(self) -> str:
        return f"{self.address} at {self.commit}"


@dataclass(frozen=True)
class DbtProject:
    """A dbt project that was found complete.

    Attributes:
        origin: None for one that was in its folder before the run.
    """

    folder: Path
    name: str
    packages: Path
    origin: ProjectRevision | None = None

    @property
    def where(self) -> str:
        """Where a reader finds it."""
        return str(self.origin or self.folder)

    @property
    def baked_parse(self) -> Path:
        """The parsed project that an image build leaves in the project's own target folder."""
        return self.folder / "target" / PARSE_FILE

    @property
    def lacks_packages(self) -> bool:
        """Whether the project names packages that are not installed."""
        return _names_packages(self.folder) and not self.packages.is_dir()

    def lfs_pointers(self, nodes: Iterable[Any]) -> list[str]:
        """Return the seeds among the manifest's nodes whose file is a pointer of Git LFS, by their paths."""
        seeds = ((node.original_file_path, Path(node.root_path)) for node in nodes if node.resource_type == "seed")
        return sorted(path for path, root in seeds if _is_lfs_pointer(root / path))

    def fingerprint(self) -> str:
        """Return a hash of the names and contents of the project's files, whatever its path; a commit says as much."""
        if self.origin is not None:
            return str(self.origin)
        digest = hashlib.sha256()
        for path in sorted(files(self.folder)):
            digest.update(f"{path.relative_to(self.folder)}\0{path.stat().st_size}\0".encode())
            digest.update(path.read_bytes())
        return digest.hexdigest()


def find(folder: Path, origin: ProjectRevision | None = None) -> DbtProject:
    """Check the project in a folder.

    Args:
        folder: the folder of dbt_project.yml.
        origin: the commit that it is of, where it is from a repository.

    Raises:
        ConfigurationError: the folder or its dbt_project.yml is missing or cannot be read.
    """
    if not folder.is_dir():
        raise ConfigurationError(
            "No dbt project: the folder does not exist",
            location=str(folder),
            hint="set FLOWS_DBT_PROJECT to the project's folder",
        )
    content = _read(folder / PROJECT_FILE)
    name = content.get("name")
    if not isinstance(name, str) or not name:
        raise ConfigurationError(
            "The dbt project has no name", location=str(folder / PROJECT_FILE), hint="add `name:` to dbt_project.yml"
        )
    packages = content.get("packages-install-path")
    installed = folder / (profiles.rendered(packages) if isinstance(packages, str) else "dbt_packages")
    return DbtProject(folder, profiles.rendered(name), installed, origin)


def cache_key(project: DbtProject, target: str) -> str:
    """Return the name of the folder with the parsed project of earlier runs: one per project and target.

    The contents of the project are not part of it, so that a run parses only what changed.

    Args:
        project: the project.
        target: the full name of the target.
    """
    place = project.origin.address if project.origin else project.folder
    digest = hashlib.sha256(f"{place}\0{target}".encode()).hexdigest()
    return f"{project.name}-{digest[:12]}"


def _read(file: Path) -> dict[str, Any]:
    import yaml

    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigurationError(
            f"The dbt project has no {file.name}",
            location=str(file.parent),
            hint="set FLOWS_DBT_PROJECT to a dbt project",
        ) from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigurationError(
            f"{file.name} cannot be read: {one_line(error)}", location=str(file), hint=f"correct {file.name}"
        ) from error
    if not isinstance(content, dict):
        raise ConfigurationError(
            f"{file.name} is not a mapping of keys to values", location=str(file), hint=f"correct {file.name}"
        )
    return content


def _is_lfs_pointer(file: Path) -> bool:
    try:
        if file.stat().st_size > LFS_POINTER_BYTES:
            return False
        return file.read_bytes().startswith(LFS_POINTER)
    except OSError:
        return False


def _names_packages(folder: Path) -> bool:
    """Return whether the project names packages in packages.yml or dependencies.yml, as dbt itself reads them."""
    from dbt.config.project import package_and_project_data_from_root
    from dbt_common.exceptions import DbtRuntimeError

    try:
        named, _ = package_and_project_data_from_root(str(folder))  # type: ignore[no-untyped-call]
    except (DbtRuntimeError, UnicodeDecodeError, TypeError):
        return False  # dbt refuses them when it parses the project, and its own message says why
    return isinstance(named, dict) and bool(named.get("packages"))


def files(folder: Path) -> list[Path]:
    """Return the files of a project, without what dbt, git or an editor writes there."""
    found: list[Path] = []
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in GENERATED and not name.startswith(".")]
        found.extend(Path(parent, name) for name in files)
    return found
