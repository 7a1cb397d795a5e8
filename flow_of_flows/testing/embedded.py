"""The embedded server of a test session: a process that is started when the first run needs it, and ended with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from flow_of_flows.errors import PlatformError
from flow_of_flows.home import Home
from flow_of_flows.project import VARIABLE
from flow_of_flows.testing.environment import QUIET, hidden
from flow_of_flows.testing.server import Address, RunContext

MODULE = "flow_of_flows.testing.server"
STOP_SECONDS = 30.0


class EmbeddedServer:
    """The server, and the file through which its runs get what the present test has set.

    Args:
        project: folder of the project under test; None where pytest runs outside of one.
        folder: an empty folder for everything the server writes.
        inherited: environment that the session was started with.
        cache: folder that keeps an empty database between sessions, since making one takes some seconds; None: none.
    """

    def __init__(
        self, project: Path | None, folder: Path, inherited: Mapping[str, str], *, cache: Path | None = None
    ) -> None:
        self._project = project or Path.cwd()
        self._folder = folder
        self._inherited = inherited
        self._home = Home(folder / "home")
        self._cache = cache and Home(cache)
        self._context = folder / "context.json"
        self._process: subprocess.Popen[bytes] | None = None
        self._address: Address | None = None

    @property
    def log(self) -> Path:
        """Return the file that the server's process writes to."""
        return self._folder / "server.log"

    @property
    def logs(self) -> Path:
        """Return the folder of the runs' log files."""
        return self._home.logs

    @property
    def is_up(self) -> bool:
        """Return whether the server has been started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the server's process, if none runs; it is up when `address` returns."""
        if self.is_up:
            return
        self._address = None
        self.put(RunContext())
        if self._cache and self._cache.is_migrated:
            self._home.adopt(self._cache)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own module, no shell
                [sys.executable, "-m", MODULE, str(self._context)],
                cwd=self._project,
                env=self._environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                # Ctrl-C is for the tests, which end the server in order.
                start_new_session=True,
            )

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in self._inherited.items() if name not in hidden(self._inherited)}
        return {**kept, **QUIET, "FLOWS_HOME": str(self._home.folder), VARIABLE: str(self._project)}

    def address(self) -> Address:
        """Return where the server is, and wait until it is up.

        Raises:
            PlatformError: it did not start, or has ended.
        """
        self.start()
        assert self._process is not None
        assert self._process.stdout is not None
        if self._address is None:
            line = self._process.stdout.readline()
            if not line:
                self._process.wait()
                raise self.failure()
            self._address = Address.model_validate_json(line)
            if self._cache and not self._cache.is_migrated:
                self._cache.adopt(self._home)
        return self._address

    def failure(self) -> PlatformError:
        """Return the error for a server that does not answer, with the reason if it has said one."""
        lines = self.log.read_text(errors="replace").strip().splitlines()
        what = f"The embedded server of this test session {'does not answer' if self.is_up else 'ended'}"
        if lines and lines[-1].startswith("error: "):
            return PlatformError(f"{what}: {lines[-1].removeprefix('error: ')}")
        return PlatformError(what, location=str(self.log), hint="read the end of that log")

    def put(self, context: RunContext) -> None:
        """Set what runs get from now on."""
        new = self._context.with_suffix(".new")
        new.write_text(context.model_dump_json(), encoding="utf-8")
        new.replace(self._context)

    def stop(self) -> None:
        """End the server and everything that it has started."""
        if self._process is None:
            return
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
