"""Folders that a process holds by a lock of the kernel, so that the next process removes those of killed ones."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


def locked(path: Path, flags: int) -> int | None:
    """Lock a file or a folder until this process ends or the descriptor is closed.

    Args:
        path: what to lock.
        flags: of `os.open`.

    Returns:
        The descriptor; None if another process holds it or has just removed it, or where there are no locks (some of
        NFS).

    Raises:
        OSError: it cannot be opened.
    """
    try:
        lock = os.open(path, flags, 0o600)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return None
    return lock


def sweep(folders: Iterable[Path], hold: Callable[[Path], int | None]) -> None:
    """Remove the folders that no process holds.

    Args:
        folders: those to look at.
        hold: locks a folder; None if another process holds it.
    """
    for folder in folders:
        if (lock := hold(folder)) is not None:
            _remove(folder, lock)


@contextmanager
def held(folder: Path, lock: int | None) -> Iterator[Path]:
    """Remove a folder after the block, and give up its lock.

    Args:
        folder: the folder.
        lock: what `locked` returned.
    """
    try:
        yield folder
    finally:
        _remove(folder, lock)


def _remove(folder: Path, lock: int | None) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    if lock is not None:
        os.close(lock)
