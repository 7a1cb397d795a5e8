"""A terminal at which a person runs a command: keys in, a screen out."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.commands import FLOWS, environment
from tests.conditions import eventually

CTRL_C = b"\x03"
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass
class Terminal:
    """A pseudo-terminal and the command in its foreground.

    Attributes:
        screen: what was printed, without escape codes.
    """

    controller: int
    process: subprocess.Popen[bytes]
    screen: str = field(default="")

    def press(self, keys: bytes) -> None:
        """Press keys; Ctrl-C is one that the terminal makes a signal of."""
        os.write(self.controller, keys)

    def shows(self, text: str) -> None:
        """Wait until a text is on the screen."""
        try:
            eventually(lambda: text in self._read(), f"the terminal shows {text!r}")
        except TimeoutError as error:
            raise AssertionError(self.screen) from error

    def ended(self) -> int:
        """Wait for the command's end; its exit code."""
        eventually(lambda: self._read() and self.process.poll() is not None, "the command ends")
        self._read()
        return self.process.returncode

    def _read(self) -> str:
        while select.select([self.controller], [], [], 0)[0]:
            try:
                read = os.read(self.controller, 65536)
            except OSError:
                break
            self.screen = ESCAPES.sub("", self.screen + read.decode()).replace("\r", "")
        return self.screen


@contextmanager
def terminal(*words: str, **variables: str) -> Iterator[Terminal]:
    """Run a `flows` command at a terminal of its own; keywords are environment variables."""
    controller, device = pty.openpty()
    process = subprocess.Popen(
        [FLOWS, *words],
        env=environment(**variables, TERM="xterm", NO_COLOR="1", COLUMNS="150", LINES="60"),
        stdin=device,
        stdout=device,
        stderr=device,
        start_new_session=True,
        preexec_fn=lambda: _control(device),  # noqa: PLW1509 - the child has no threads
    )
    os.close(device)
    try:
        yield Terminal(controller, process)
    finally:
        process.kill()
        process.wait()
        os.close(controller)


def _control(device: int) -> None:
    """Make a device the terminal that controls this session, so that Ctrl-C is a signal."""
    import fcntl

    fcntl.ioctl(device, termios.TIOCSCTTY, 0)
