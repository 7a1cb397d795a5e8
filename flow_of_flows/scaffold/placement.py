"""Puts the files of a project into its folder: all of them or none, and never over one that exists.

The files are written to a temporary folder on the same disk first, and renamed once all of them are there.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from flow_of_flows import errors
from flow_of_flows.errors import ConfigurationError, PlatformError

PREFIX = ".flows-init-"


@dataclass(frozen=True)
class Placed:
    """What became of the files, as paths relative to the project.

    Attributes:
        written: new files and folders.
        kept: those that existed.
    """

    written: tuple[Path, ...]
    kept: tuple[Path, ...]


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """Yield an empty folder for the files of a project, on the disk of the project; remove it afterwards.

    Args:
        folder: of the project; it may exist.

    Raises:
        ConfigurationError: the folder cannot be written.
        PlatformError: the disk is full.
    """
    with _translated(folder):
        parent = folder if folder.is_dir() else folder.parent
        created = [place for place in (parent, *parent.parents) if not place.exists()]
        parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        try:
            # Folders of `mkdtemp` are closed to others; this one has the permissions of any new folder.
            stage = temporary / "project"
            stage.mkdir()
            yield stage
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
            # Empty only where nothing was placed in it.
            for place in created:
                with suppress(OSError):
                    place.rmdir()


def place(stage: Path, folder: Path) -> Placed:
    """Rename the files of a staged project into its folder; undo it if one cannot be renamed.

    Args:
        stage: the staged project.
        folder: of the project; it may exist.
    """
    files = sorted(path.relative_to(stage) for path in stage.rglob("*") if not path.is_dir())
    if not folder.exists():
        stage.rename(folder)
        return Placed(tuple(files), ())
    kept = tuple(path for path in files if os.path.lexists(folder / path))
    written: list[Path] = []
    with _undoing(folder, written):
        for path in files:
            if path not in kept:
                _move(stage, folder, path, written)
    return Placed(tuple(path for path in files if path not in kept), kept)


def _move(stage: Path, folder: Path, path: Path, written: list[Path]) -> None:
    """Rename one file, and create the folders that it needs; both are noted in `written`."""
    for parent in reversed(path.parents[:-1]):
        if not (folder / parent).exists():
            (folder / parent).mkdir()
            written.append(parent)
    (stage / path).rename(folder / path)
    written.append(path)


@contextmanager
def _undoing(folder: Path, written: list[Path]) -> Iterator[None]:
    """Remove what was written if the block does not end well, Ctrl-C included."""
    try:
        yield
    except BaseException:
        for path in reversed(written):
            with suppress(OSError):
                (folder / path).rmdir() if (folder / path).is_dir() else (folder / path).unlink()
        raise


@contextmanager
def _translated(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if (full := errors.full(error)) is not None:
            raise PlatformError(
                full.message, location=str(folder), hint="free some space, then run it again"
            ) from error
        raise ConfigurationError(
            f"The project cannot be written: {error.strerror}",
            location=str(folder),
            hint="name a folder that can be written",
        ) from error
