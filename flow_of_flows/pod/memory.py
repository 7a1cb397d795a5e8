"""The kernel's own count of processes killed for want of memory, of this container. Asked by the supervisor."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
MEBIBYTE = 2**20


@dataclass(frozen=True)
class Kills:
    """How often the kernel has killed in this container, and the container's limit in bytes where it has one."""

    count: int
    limit: int | None

    def said(self, before: Kills) -> str | None:
        """What happened since, in a sentence; None if the kernel did not kill."""
        if self.count <= before.count:
            return None
        limit = f" at its limit of {self.limit // MEBIBYTE}Mi" if self.limit else ""
        return f"the kernel killed the run's process{limit}; give the deployment more memory (`memory_limit`)"


def kills(root: Path = CGROUP) -> Kills:
    """Read them, of cgroup v2 or v1; no kills where neither is to be read."""
    if (root / "memory.events").exists():
        return Kills(_counted(root / "memory.events"), _limit(root / "memory.max"))
    return Kills(_counted(root / "memory" / "memory.oom_control"), _limit(root / "memory" / "memory.limit_in_bytes"))


def _counted(file: Path) -> int:
    pairs = (line.split() for line in _text(file).splitlines())
    return next((int(pair[1]) for pair in pairs if pair[:1] == ["oom_kill"]), 0)


def _limit(file: Path) -> int | None:
    """None for no limit: the word max, or v1's number of about the largest."""
    text = _text(file).strip()
    return int(text) if text.isdigit() and int(text) < 2**60 else None


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""
