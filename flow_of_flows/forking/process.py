"""A process that ends with its parent. Called first in every process that a session starts."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def end_with_parent(parent: int) -> None:
    """Have the kernel end this process when its parent dies, however it dies (Linux; elsewhere the session ends it).

    Args:
        parent: process id of the parent; if it is gone already, this process exits.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)


def leave_terminal() -> None:
    """Leave the terminal's process group: Ctrl-C is for the session, which then ends its processes in order."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
