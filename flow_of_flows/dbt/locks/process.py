"""This process as others of the same machine see it: a lock whose process is gone is free at once.

Where there is no /proc (macOS), and between machines and pods, nothing is known: the lease decides.
"""

from __future__ import annotations

import os
from pathlib import Path

PROC = Path("/proc")


def identity() -> str:
    """Return a text that names this process among all of all machines; empty where there is none."""
    pid = os.getpid()
    try:
        return f"{_machine()} {pid} {_started(pid)}"
    except OSError:
        return ""


def is_gone(process: str) -> bool:
    """Return whether a process has surely ended; False for one that cannot be seen from here."""
    try:
        machine, pid, started = process.rsplit(" ", 2)
        return machine == _machine() and _started(int(pid)) != started
    except (OSError, ValueError):
        return False


def _machine() -> str:
    """The boot of the kernel and the namespace of process ids in it."""
    boot = (PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{boot} {(PROC / 'self/ns/pid').readlink()}"


def _started(pid: int) -> str:
    """When the process began, in ticks since the boot; empty where it is gone."""
    try:
        fields = (PROC / str(pid) / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return "" if fields[0] == "Z" else fields[19]
