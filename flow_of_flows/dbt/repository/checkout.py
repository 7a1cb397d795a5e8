"""One commit of a repository in a temporary folder, with its packages.

<home>/repositories/run-xxxx/tree   the files of the commit; removed with its folder when the run is over

Packages are taken from the state store where an earlier pod has left them; what a store cannot give is made anew.

packages/<hash>/dbt_packages.tar.gz   of the lock file; without one, of the commit: what it names may move
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import os
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from flow_of_flows.dbt import parse_cache, project, runner
from flow_of_flows.dbt.arguments import Options
from flow_of_flows.dbt.project import DbtProject, ProjectRevision, folder_of_run
from flow_of_flows.dbt.repository.git import Git, credentials, no_such_ref
from flow_of_flows.dbt.repository.source import Source
from flow_of_flows.dbt.runner import Stopped, interruptible
from flow_of_flows.dbt.session import DbtSession
from flow_of_flows.dbt.state import Store
from flow_of_flows.errors import ConfigurationError
from flow_of_flows.settings import Settings

logger = logging.getLogger(__name__)
Warn = Callable[[str], None]

LOCK_FILE = "package-lock.yml"
NAMING = ("packages.yml", "dependencies.yml", LOCK_FILE)


@dataclass(frozen=True)
class Checkout:
    """The files of one commit.

    Attributes:
        root: folder of the repository's files.
        project: folder of the dbt project in it.
    """

    source: Source
    commit: str
    root: Path
    project: Path

    @property
    def origin(self) -> ProjectRevision:
        """The repository and the commit."""
        return ProjectRevision(self.source.address, self.commit, self.source.host)

    def find(self) -> DbtProject:
        """Return the dbt project in it.

        Raises:
            ConfigurationError: there is none, or it would write elsewhere.
        """
        try:
            found = project.find(self.project, self.origin)
        except ConfigurationError as error:
            todo = "correct the project in the repository, or `ref` and `subfolder`"
            raise ConfigurationError(error.message, location=str(self.origin), hint=todo) from error
        if not found.packages.resolve().is_relative_to(self.root.resolve()):
            raise ConfigurationError(
                "The packages-install-path leads out of the repository",
                location=str(self.origin),
                hint="correct dbt_project.yml",
            )
        return found


@contextmanager
def checked_out(source: Source, settings: Settings) -> Iterator[Checkout]:
    """The project as it is at the ref now, for as long as the block runs.

    Args:
        source: the repository, ref and subfolder.
        settings: with the secret of the token and the time limits.

    Raises:
        FlowsError: it cannot be fetched, or there is no such folder in it.
        Stopped: a signal interrupted it.
    """
    # dbt goes into the project's folder, which will be gone.
    with folder_of_run(settings.home / "repositories", "the repository") as folder, contextlib.chdir(Path.cwd()):
        with interruptible() as received:
            found = _fetch(_git(source, folder, settings), folder / "tree")
        if received:
            raise Stopped(received[0])
        logger.info("The dbt project is %s", found.origin)
        yield found


def look(source: Source, settings: Settings) -> str:
    """Ask the host for the ref, and fetch nothing.

    Args:
        source: the repository and the ref.
        settings: with the secret of the token and the time limits.

    Returns:
        The commit; a ref that is one is not looked up.
    """
    with tempfile.TemporaryDirectory(prefix="flows-git-") as folder:
        return _resolve(_git(source, Path(folder), settings))


def _git(source: Source, folder: Path, settings: Settings) -> Git:
    return Git(source, folder, settings.repository, credentials(source.host, settings))


def _resolve(git: Git) -> str:
    """Return the commit of the ref: a branch before a tag of the same name, and what an annotated tag points to."""
    ref = git.source.ref
    if ref is None or git.source.is_commit:
        names = ["HEAD"]
    elif ref.startswith("refs/"):
        names = [f"{ref}^{{}}", ref]
    else:
        names = [f"refs/heads/{ref}", f"refs/tags/{ref}^{{}}", f"refs/tags/{ref}"]
    listed = (line.split("\t", 1) for line in git.run("ls-remote", "--", git.source.url, *names).splitlines())
    found = {name: commit for commit, name in listed}
    if git.source.is_commit:
        return str(ref)
    try:
        return next(found[name] for name in names if name in found)
    except StopIteration:
        raise no_such_ref(git.source) from None


def _fetch(git: Git, tree: Path) -> Checkout:
    """Nothing but the files of one commit: no history, no other branch, and no repository afterwards."""
    source = git.source
    commit = str(source.ref) if source.is_commit else _resolve(git)
    inside = ("-C", str(tree))
    git.run("init", "--quiet", "--template=", *_object_format(commit), str(tree))
    options = ("--depth=1", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head", "--no-progress")
    git.run(*inside, "fetch", *options, "--", source.url, commit)
    git.run(*inside, "checkout", "--quiet", "--detach", commit)
    commit = git.run(*inside, "rev-parse", "HEAD").strip()
    shutil.rmtree(tree / ".git")
    return Checkout(source, commit, tree, _project_folder(source, commit, tree))


def _object_format(commit: str) -> tuple[str, ...]:
    return ("--object-format=sha256",) if len(commit) == 64 else ()  # noqa: PLR2004 - hex digits of a SHA-256


def _project_folder(source: Source, commit: str, tree: Path) -> Path:
    """Return the project's folder; a repository must not lead out of itself by its links."""
    folder = tree / source.subfolder
    if not folder.resolve().is_relative_to(tree.resolve()):
        raise ConfigurationError(
            f"The subfolder {str(source.subfolder)!r} leads out of the repository",
            location=source.describe(commit),
            hint="correct `subfolder`, or the link in the repository",
        )
    if not folder.is_dir():
        raise ConfigurationError(
            f"The repository has no folder {str(source.subfolder)!r}",
            location=source.describe(commit),
            hint="correct `subfolder`",
        )
    for parent, folders, files in os.walk(folder):
        for path in (Path(parent, name) for name in (*folders, *files)):
            if path.is_symlink() and not path.resolve().is_relative_to(tree.resolve()):
                raise ConfigurationError(
                    f"The link {path.relative_to(tree)} leads out of the repository",
                    location=source.describe(commit),
                    hint="replace it in the repository by what it points to",
                )
    return folder


def install_packages(session: DbtSession, options: Options, store: Store, warn: Warn) -> None:
    """Install the project's packages, if it lacks them.

    Args:
        session: dbt on the project.
        options: with the variables of the project.
        store: has the packages of earlier runs.
        warn: takes what could not be reused.
    """
    project = session.project
    if project.origin is None or not project.lacks_packages:
        session.install_packages(options)
        return
    key = f"packages/{_packages_key(project)}/dbt_packages.tar.gz"
    if (kept := parse_cache.read(store, key, warn)) is not None:
        if _unpacked(kept, project.packages):
            logger.info("The project's packages are those of an earlier run")
            return
        warn(f"The packages under {key} in {store.describe()} are damaged, so they are installed anew")
    session.install_packages(options)
    if (packed := _packed(project.packages)) is not None:
        parse_cache.keep(store, key, packed, warn)


def _packages_key(project: DbtProject) -> str:
    """Return a hash of the files that name the packages, and of the commit where no lock file fixes their versions."""
    digest = hashlib.sha256(runner.version().encode())
    for file in (project.folder / name for name in NAMING):
        digest.update(file.name.encode() + b"\0" + (file.read_bytes() if file.is_file() else b"") + b"\0")
    if not (project.folder / LOCK_FILE).is_file():
        digest.update(str(project.origin).encode())
    return digest.hexdigest()[:32]


def _packed(folder: Path) -> bytes | None:
    """Return the installed packages; None where one is a link into the project, which is quickly made."""
    if not folder.is_dir() or any(
        Path(parent, name).is_symlink() for parent, folders, files in os.walk(folder) for name in (*folders, *files)
    ):
        return None
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=parse_cache.LEVEL) as archive:
        archive.add(folder, arcname=".")
    return packed.getvalue()


def _unpacked(packed: bytes, folder: Path) -> bool:
    """Return whether the packages are now in their folder."""
    try:
        with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as archive:
            archive.extractall(folder, filter="data")
    except (tarfile.TarError, EOFError, OSError, zlib.error):
        shutil.rmtree(folder, ignore_errors=True)
        return False
    return True
