"""What a benchmark found: comparisons in, a table on the terminal and a JSON file out."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

FOLDER = Path("build/bench")


@dataclass(frozen=True)
class Entry:
    """One comparison; `ratio` is the median of the samples."""

    name: str
    ratio: float
    min: float
    max: float
    goal: float | None
    unit: str
    samples: list[float]
    machine: dict[str, str | int | float] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """Whether the goal is met; empty without a goal."""
        if self.goal is None:
            return ""
        return "met" if self.ratio <= self.goal else "MISSED"


def entry(name: str, values: Sequence[float], goal: float | None, unit: str) -> Entry:
    """Median, spread and samples of one comparison."""
    rounded = [round(value, 3) for value in values]
    return Entry(name, round(statistics.median(values), 3), min(rounded), max(rounded), goal, unit, rounded, machine())


def machine() -> dict[str, str | int | float]:
    """What it ran on."""
    return {
        "system": platform.platform(),
        "python": platform.python_version(),
        "cores": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 1),
    }


def say(text: str) -> None:
    """Print at once, also into a pipe."""
    print(text, flush=True)  # noqa: T201 - a command's output


def show(entries: Sequence[Entry]) -> None:
    """Print the comparisons as a table."""
    width = max(len(e.name) for e in entries)
    say(f"{'comparison':<{width}}{'median':>8}{'min':>8}{'max':>8}{'goal':>7}")
    for e in entries:
        goal = "" if e.goal is None else f"{e.goal:g}"
        say(f"{e.name:<{width}}{e.ratio:>8.2f}{e.min:>8.2f}{e.max:>8.2f}{goal:>7}  {e.verdict}".rstrip())


def write(entries: Sequence[Entry], path: Path) -> None:
    """Write the comparisons as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([asdict(e) for e in entries], indent=2) + "\n")
    say(f"\n{path}")
