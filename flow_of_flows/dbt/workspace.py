"""The folders of one dbt run: FLOWS_HOME, project and target in, a folder of its own out.

<home>/dbt/<project>-<hash>/partial_parse.msgpack   the parsed project, so that the next run parses what changed
<home>/dbt/<project>-<hash>/run-xxxx/               dbt's target and log folder of one run; removed with it
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from flow_of_flows.dbt.arguments import Paths
from flow_of_flows.dbt.project import PARSE_FILE, DbtProject, cache_key
from flow_of_flows.errors import PlatformError


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
        yield Paths(project.folder, work, seed, project.profiles)


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
        _sweep(parent)
        folder = Path(tempfile.mkdtemp(prefix="run-", dir=parent))
        lock = _locked(folder)
    except OSError as error:
        raise PlatformError(
            f"The folder for {what} cannot be made: {error.strerror}",
            location=str(parent),
            hint="set FLOWS_HOME to a folder that can be written",
        ) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _sweep(parent: Path) -> None:
    """Remove the folders that no process holds. One without a lock is still being created."""
    for folder in parent.glob("run-*/"):
        if (folder / LOCK).exists() and (lock := _locked(folder)) is not None:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)


def _locked(folder: Path) -> int | None:
    """Hold a folder until this process ends; None if another holds it, or where there are no locks (some of NFS)."""
    try:
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except FileNotFoundError:
        return None  # another has just removed it
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return None
    return lock
