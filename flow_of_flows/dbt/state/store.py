"""The protocol of a state store, bytes by key and replacement on a condition, and the store in a folder.

The folder is a local one, or a volume that pods share.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Protocol

from flow_of_flows.errors import FlowsError, PlatformError

logger = logging.getLogger(__name__)


def _fill(file: IO[bytes], data: bytes) -> None:
    """All of it, or an error before the file gets its name; what the buffer holds would fail after."""
    file.write(data)
    file.flush()


def _written(folder: Path) -> datetime | None:
    try:
        return datetime.fromtimestamp(folder.stat().st_mtime, UTC)
    except FileNotFoundError:
        return None


@dataclass(frozen=True)
class Stored:
    """The bytes under a key, and the version that `replace` names them by."""

    data: bytes
    version: str


class Store(Protocol):
    """Bytes by key; a write is whole or not at all. Keys are paths: `runs/<id>/run.json`.

    Every method raises a PlatformError where the store does not do its part, and a ConfigurationError where it is not
    there or not allowed.
    """

    def look(self, key: str) -> Stored | None:
        """Return the bytes under a key with their version, None if there are none."""
        ...

    def write(self, key: str, data: bytes) -> None:
        """Put bytes under a key, whatever is there.

        Args:
            key: where.
            data: what.
        """
        ...

    def replace(self, key: str, data: bytes, version: str | None) -> bool:
        """Put bytes under a key if what is there is still of this version (None: if nothing is there).

        Args:
            key: where.
            data: what.
            version: the version to replace; None for no bytes.

        Returns:
            Whether it was, and the bytes are there now; of two writers that saw the same version one gets True.
        """
        ...

    def folders(self, prefix: str) -> dict[str, datetime]:
        """Return the names of the folders right below a prefix, and when each was last written to."""
        ...

    def remove(self, prefix: str) -> None:
        """Remove everything in a folder."""
        ...

    def describe(self) -> str:
        """Return where this is, for people."""
        ...

    def read(self, key: str) -> bytes | None:
        """Return the bytes under a key, None if there are none."""
        found = self.look(key)
        return found.data if found else None

    def prune(self, prefix: str, keep: int) -> None:
        """Remove all but the folders that were written to last; what cannot be removed stays, and the log says so.

        Args:
            prefix: the folder of the folders.
            keep: how many stay.
        """
        try:
            newest = sorted(self.folders(prefix).items(), key=lambda folder: folder[1], reverse=True)
            for name, _ in newest[keep:]:
                self.remove(f"{prefix}/{name}")
        except FlowsError as error:
            logger.warning("Old folders stay in the state store: %s", error)


@dataclass(frozen=True)
class FolderStore(Store):
    """A state store in a local folder."""

    folder: Path

    def look(self, key: str) -> Stored | None:
        """Return the file's content, None if it does not exist; its version is a hash of it."""
        try:
            data = (self.folder / key).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unusable(error) from error
        return Stored(data, hashlib.sha256(data).hexdigest())

    def write(self, key: str, data: bytes) -> None:
        """Write to a temporary file in the same folder, then move it into place."""
        path = self.folder / key
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
                written = Path(file.name)
                try:
                    _fill(file, data)
                    written.chmod(0o644)
                    written.replace(path)
                except OSError:
                    written.unlink(missing_ok=True)
                    raise
        except OSError as error:
            raise self._unusable(error) from error

    def replace(self, key: str, data: bytes, version: str | None) -> bool:
        """Compare and write while no other process does."""
        with self._exclusive():
            found = self.look(key)
            if (found.version if found else None) != version:
                return False
            self.write(key, data)
            return True

    def folders(self, prefix: str) -> dict[str, datetime]:
        """Return the folders; another run may remove one at the same time."""
        found = {path.name: _written(path) for path in (self.folder / prefix).glob("*/")}
        return {name: written for name, written in found.items() if written is not None}

    def remove(self, prefix: str) -> None:
        """Remove a folder; what another run removes at the same time is removed."""
        shutil.rmtree(self.folder / prefix, ignore_errors=True)

    def describe(self) -> str:
        """Return the folder."""
        return str(self.folder)

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
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

    def _unusable(self, error: OSError) -> PlatformError:
        return PlatformError(
            f"The state store cannot be used: {error.strerror or error}",
            location=str(self.folder),
            hint="set FLOWS_STATE_STORE to a folder that can be written, or free space on its disk",
        )


@dataclass(frozen=True)
class Subfolder(Store):
    """A folder of a state store, as a store of its own."""

    whole: Store
    folder: str

    def look(self, key: str) -> Stored | None:
        """Return the bytes under a key of the folder with their version, None if there are none."""
        return self.whole.look(f"{self.folder}/{key}")

    def write(self, key: str, data: bytes) -> None:
        """Put bytes under a key of the folder, whatever is there."""
        self.whole.write(f"{self.folder}/{key}", data)

    def replace(self, key: str, data: bytes, version: str | None) -> bool:
        """Put bytes under a key of the folder if what is there is still of this version."""
        return self.whole.replace(f"{self.folder}/{key}", data, version)

    def folders(self, prefix: str) -> dict[str, datetime]:
        """Return the names of the folders right below a prefix of the folder, and when each was last written to."""
        return self.whole.folders(f"{self.folder}/{prefix}")

    def remove(self, prefix: str) -> None:
        """Remove everything in a folder of the folder."""
        self.whole.remove(f"{self.folder}/{prefix}")

    def describe(self) -> str:
        """Return where this is, for people."""
        return f"{self.whole.describe()}/{self.folder}"
