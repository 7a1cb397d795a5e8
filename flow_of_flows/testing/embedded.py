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
    """

    def __init__(self, project: Path | None, folder: Path, inherited: Mapping[str, str]) -> None:
        self._project = project or Path.cwd()
        self._folder = folder
        self._inherited = inherited
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
        return Home(self._folder / "home").logs

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
        return {**kept, **QUIET, "FLOWS_HOME": str(self._folder / "home"), VARIABLE: str(self._project)}

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
                raise self.gone()
            self._address = Address.model_validate_json(line)
        return self._address

    def gone(self) -> PlatformError:
        """Return the error for a server that has ended, with what it said last."""
        lines = self.log.read_text(errors="replace").strip().splitlines()
        said = lines[-1].removeprefix("error: ") if lines else "it said nothing"
        return PlatformError(f"The embedded server of this test session ended: {said}", location=str(self.log))

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
