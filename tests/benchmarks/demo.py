"""The whole of `make demo`, warm, against a bare script of the same loads and dbt calls.

`python -m tests.benchmarks.demo`: both in turn, each in a folder of its own that an uncounted first run has filled, so
that neither creates a database or parses the project from nothing. Ratios are of samples of the same turn.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks import results
from tests.benchmarks.results import Entry, entry

GOAL = 1.5
COMMANDS = {
    "demo": [str(Path(sys.executable).parent / "flows"), "run", "jaffle-shop", "--local"],
    "bare": [sys.executable, "-m", "tests.benchmarks.bare"],
}


@dataclass(frozen=True)
class Sample:
    """One run: seconds of wall time, and of CPU of all its processes."""

    wall: float
    cpu: float


def sample(name: str, home: Path) -> Sample:
    """Run one of the two in its folder."""
    environment = {
        **os.environ,
        "FLOWS_HOME": str(home / name),
        "FLOWS_RATES_SOURCE": "snapshot",
        "FLOWS_CURRENCIES_SOURCE": "snapshot",
    }
    used, started = _cpu(), time.monotonic()
    subprocess.run(COMMANDS[name], env=environment, check=True, stdout=subprocess.DEVNULL)
    return Sample(time.monotonic() - started, _cpu() - used)


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    found: dict[str, list[Sample]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(repeats + 1):
            for name in COMMANDS:
                result = sample(name, Path(folder))
                results.say(f"turn {turn}, {name}: {result.wall:.2f} s, CPU {result.cpu:.2f} s")
                if turn > 0:
                    found[name].append(result)
    entries = [_compare(found, what) for what in ("wall", "cpu")]
    results.show(entries)
    results.write(entries, results.FOLDER / "demo.json")


def _compare(found: dict[str, list[Sample]], what: str) -> Entry:
    ratios = [getattr(a, what) / getattr(b, what) for a, b in zip(found["demo"], found["bare"], strict=True)]
    return entry(f"make demo / bare script, {what}", ratios, GOAL if what == "wall" else None, "ratio")


if __name__ == "__main__":
    main()
