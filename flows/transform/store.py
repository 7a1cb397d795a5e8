"""The state store: bytes by key, in a folder. Called by `state`, and by `dbt_core`, which opens it."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from flows.errors import PlatformError


class Store(Protocol):
    """Bytes by key; a write is whole or not at all."""

    def read(self, key: str) -> bytes | None:
        """The bytes under a key, None if there are none."""
        ...

    def write(self, key: str, data: bytes) -> None:
        """Put bytes under a key."""
        ...

    def prune(self, prefix: str, keep: int) -> None:
        """Remove all but the newest folders under a prefix."""
        ...

    def exclusive(self) -> AbstractContextManager[None]:
        """Hold off other writers of `artifacts/`."""
        ...

    def describe(self) -> str:
        """Where this is, for people."""
        ...


@dataclass(frozen=True)
class FolderStore:
    """A state store in a local folder."""

    folder: Path

    def read(self, key: str) -> bytes | None:
        """The file's content, None if it does not exist."""
        try:
            return (self.folder / key).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unusable(error) from error

    def write(self, key: str, data: bytes) -> None:
        """Write beside the file, then move into place."""
        path = self.folder / key
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
                file.write(data)
            Path(file.name).chmod(0o644)
            Path(file.name).replace(path)
        except OSError as error:
            raise self._unusable(error) from error

    def prune(self, prefix: str, keep: int) -> None:
        """Remove all but the folders that were written to last; another run may remove them at the same time."""
        folders = [(_written(path), path) for path in (self.folder / prefix).glob("*/")]
        for _, path in sorted(folders, reverse=True)[keep:]:
            shutil.rmtree(path, ignore_errors=True)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """A file lock, released by the kernel if this process dies."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise self._unusable(error) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def describe(self) -> str:
        """The folder."""
        return str(self.folder)

    def _unusable(self, error: OSError) -> PlatformError:
        return PlatformError(
            f"The state store cannot be used: {error.strerror or error}",
            where=str(self.folder),
            todo="set FLOWS_STATE_STORE to a folder that can be written, or free space on its disk",
        )


def _written(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except FileNotFoundError:
        return 0.0
