"""The node itself: processes of a container, and parts of Kubernetes, found in /proc; for faults that no API can make.

Works where the node's processes are this machine's (`../shared/cluster`, kind on Linux) and this is root.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

PROC = Path("/proc")


class NoNodeError(Exception):
    """The processes of the node are not to be seen from here."""


def container(pod: dict[str, Any]) -> str:
    """The id of a pod's only container."""
    (status,) = pod["status"]["containerStatuses"]
    return str(status["containerID"]).rpartition("/")[2]


def processes(pod: dict[str, Any]) -> list[int]:
    """Process ids of a pod's container, oldest first.

    Raises:
        NoNodeError: there are none here.
    """
    wanted = container(pod)
    found = [pid for pid in _pids() if wanted in _read(pid, "cgroup")]
    if not found:
        raise NoNodeError(f"no process of {pod['metadata']['name']} on this machine: needs access to the node, as root")
    return sorted(found, key=_started)


def kill_container(pod: dict[str, Any]) -> None:
    """SIGKILL the first process of a container, with which all of it ends."""
    os.kill(processes(pod)[0], signal.SIGKILL)


def kill_engine(pod: dict[str, Any]) -> None:
    """SIGKILL the process that runs the flow: the child of the supervisor, which is the child of the init."""
    first, *others = processes(pod)
    supervisor = next(pid for pid in others if _parent(pid) == first)
    engine = next(pid for pid in others if _parent(pid) == supervisor)
    os.kill(engine, signal.SIGKILL)


def freeze(pod: dict[str, Any]) -> list[int]:
    """Stop every process of a container where it is; they are what `thaw` wakes up."""
    found = processes(pod)
    for pid in found:
        os.kill(pid, signal.SIGSTOP)
    return found


def thaw(pids: list[int]) -> None:
    """Let them go on, as far as they are still there."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


@contextmanager
def stopped(program: str) -> Iterator[None]:
    """A part of Kubernetes, such as `kubelet`, does nothing while the block runs."""
    found = [pid for pid in _pids() if program in [Path(word).name for word in _words(pid)[:2]]]
    if not found:
        raise NoNodeError(f"no {program} on this machine: needs access to the node, as root")
    for pid in found:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        thaw(found)


def _pids() -> list[int]:
    return [int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit()]


def _read(pid: int, name: str) -> str:
    try:
        return (PROC / str(pid) / name).read_text()
    except (OSError, ProcessLookupError):
        return ""  # gone meanwhile


def _words(pid: int) -> list[str]:
    return _read(pid, "cmdline").split("\0")


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat behind the name: state, parent and so on."""
    return _read(pid, "stat").rpartition(")")[2].split()


def _parent(pid: int) -> int:
    return int(_stat(pid)[1])


def _started(pid: int) -> tuple[int, int]:
    fields = _stat(pid)
    return (int(fields[19]) if len(fields) > 19 else 0, pid)
