"""The project folder of a laptop run: who uses it and where things lie. Settings in, paths and a lock out."""

from __future__ import annotations

import fcntl
import importlib.metadata
import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from flow_of_flows.errors import ConfigurationError, PlatformError


@dataclass(frozen=True)
class Home:
    """Folders below `FLOWS_HOME`."""

    folder: Path

    @property
    def prefect(self) -> Path:
        """Return the folder of the server's database and the UI's files."""
        return self.folder / "prefect"

    @property
    def logs(self) -> Path:
        """Return the folder of the log files: one for the server, and one for each flow run."""
        return self.folder / "logs"

    @property
    def session_file(self) -> Path:
        """Return the file that says who holds the lock, for people and for commands that look for a running server."""
        return self.folder / "session.json"

    @property
    def is_migrated(self) -> bool:
        """Return whether the database has the tables of this version of Prefect."""
        try:
            return self.database.exists() and self._migrated.read_text() == _prefect_version()
        except OSError:
            return False

    def note_migrated(self) -> None:
        """Remember that a server of this version has started on the database."""
        self._migrated.write_text(_prefect_version())

    @property
    def database(self) -> Path:
        """Return the file of the server's database."""
        return self.prefect / "prefect.db"

    def adopt(self, other: Home) -> None:
        """Begin with the database of another folder, without its flows and runs; a server may be writing to it.

        Making a database with all migrations takes some seconds; a copy takes none.
        """
        self.prefect.mkdir(parents=True, exist_ok=True)
        new = self.prefect / f"prefect.db.{os.getpid()}"
        with closing(sqlite3.connect(other.database)) as source, closing(sqlite3.connect(new)) as copy:
            source.backup(copy)
            copy.execute("pragma foreign_keys = on")
            copy.execute("delete from flow")
            copy.commit()
        # What a killed server had not written into its database yet is not of this one.
        for leftover in self.prefect.glob(f"{self.database.name}-*"):
            leftover.unlink()
        new.replace(self.database)
        self.note_migrated()

    @property
    def _migrated(self) -> Path:
        return self.prefect / "migrated"

    def running_api(self) -> str | None:
        """Return the address of the API of a running session; None if there is none."""
        try:
            session = json.loads(self.session_file.read_text())
            os.kill(session["pid"], 0)
            return str(session["api"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    @contextmanager
    def session(self, api: str) -> Iterator[None]:
        """Hold the folder for one session.

        Raises:
            ConfigurationError: another session holds it.
            PlatformError: the folder cannot be written.
        """
        with self._writable():
            self.prefect.mkdir(parents=True, exist_ok=True)
            self.logs.mkdir(exist_ok=True)
            # Nothing in the folder is for git, whatever the project's own .gitignore says.
            (self.folder / ".gitignore").write_text("*\n")
            lock = (self.folder / "session.lock").open("w")
        with lock:
            self._lock(lock.fileno())
            try:
                with self._writable():
                    self.session_file.write_text(json.dumps({"pid": os.getpid(), "api": api}))
                yield
            finally:
                self.session_file.unlink(missing_ok=True)

    @contextmanager
    def _writable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise PlatformError(
                f"The folder of this project cannot be written: {error.strerror}",
                location=str(error.filename or self.folder),
                hint="make it writable, free some space, or set FLOWS_HOME to another folder",
            ) from error

    def _lock(self, descriptor: int) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigurationError(
                "Another session uses this project folder",
                location=f"{self.folder} (see {self.session_file.name})",
                hint="wait for it, stop it, or set FLOWS_HOME to another folder",
            ) from error


def _prefect_version() -> str:
    return importlib.metadata.version("prefect")
