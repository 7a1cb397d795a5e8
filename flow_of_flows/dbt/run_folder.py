"""The folder of one run beside those of others: where it goes in, a folder that is removed afterwards out.

A run holds a lock in its folder for as long as it lives, so that the next one can tell what a killed run has left.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flow_of_flows.errors import PlatformError

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
            where=str(parent),
            todo="set FLOWS_HOME to a folder that can be written",
        ) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _sweep(parent: Path) -> None:
    """Remove the folders that nobody holds. One that has no lock yet is being made."""
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
