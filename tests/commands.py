"""The console script `flows`, run as a person or a script runs it: words in; exit code, output and errors out."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

FLOWS = Path(sys.executable).with_name("flows")
REPOSITORY = Path(__file__).parent.parent


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


def environment(**more: str) -> dict[str, str]:
    """The test's environment as a person's: nothing of Prefect or CI, and lines so wide that none is folded."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "CI"))}
    return {**kept, "PYTHONPATH": str(REPOSITORY), "COLUMNS": "200", **more}


def flows(*words: str, **more: str) -> Ended:
    """Run a command to its end; keywords are environment variables."""
    done = subprocess.run(
        [FLOWS, *words],
        env=environment(**more),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def refused(code: int, message: str) -> Ended:
    """A command that ended with one message and nothing else."""
    return Ended(code, "", f"error: {message}\n")
