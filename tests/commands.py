"""The console script `flows`, run as a person or a script runs it: words in; exit code, output and errors out."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tests.conditions import eventually
from tests.warm_interpreter import Request, interpreter

FLOWS = Path(sys.executable).with_name("flows")
REPOSITORY = Path(__file__).parent.parent
# Id of a run that no API has.
NOBODY = "00000000-0000-4000-8000-000000000000"
LONGEST_SECONDS = 280


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


def environment(**more: str) -> dict[str, str]:
    """The test's environment as a person's: nothing of Prefect or CI, and lines so wide that none is folded.

    Prefect's profiles are those of a new machine, so that no API is configured but by the test.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "CI"))}
    profiles = {"PREFECT_PROFILES_PATH": str(REPOSITORY / "build" / "no-profiles.toml")}
    path = f"{FLOWS.parent}{os.pathsep}{kept['PATH']}"
    return {**kept, **profiles, "PATH": path, "PYTHONPATH": str(REPOSITORY), "COLUMNS": "200", **more}


def run(words: Sequence[str | Path], variables: Mapping[str, str], folder: Path | None = None) -> Ended:
    """Run a program to its end, without a terminal.

    Args:
        words: the program and its arguments.
        variables: the whole environment.
        folder: the working directory; None: the test's.
    """
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err, Path(os.devnull).open() as none:
        if _can_be_forked(words, variables):
            request = Request(
                script=str(words[0]),
                words=[str(word) for word in words[1:]],
                variables=dict(variables),
                folder=str(folder or Path.cwd()),
            )
            code = interpreter().run(request, [stream.fileno() for stream in (none, out, err)], LONGEST_SECONDS)
        else:
            code = subprocess.run(
                words,
                cwd=folder,
                env=variables,
                stdin=none,
                stdout=out,
                stderr=err,
                check=False,
                timeout=LONGEST_SECONDS,
            ).returncode
        return Ended(code, _content(out), _content(err))


def _can_be_forked(words: Sequence[str | Path], variables: Mapping[str, str]) -> bool:
    """Whether a command takes Prefect's settings as it finds them: one that starts a server of its own sets them."""
    if words[0] != FLOWS or any(name.startswith("COV") for name in variables):
        return False
    return words[1:2] not in (["run"], ["resume"], ["report"], ["ui"]) or "PREFECT_API_URL" in variables


def _content(file: IO[str]) -> str:
    file.seek(0)
    return file.read()


def flows(*words: str, **more: str) -> Ended:
    """Run a command to its end; keywords are environment variables."""
    return run([FLOWS, *words], environment(**more))


def refused(code: int, message: str) -> Ended:
    """A command that ended with one message and nothing else."""
    return Ended(code, "", f"error: {message}\n")


@dataclass(frozen=True)
class Running:
    """A command that runs without a terminal; its output is in files."""

    process: subprocess.Popen[bytes]
    out: Path
    err: Path

    def says(self, text: str) -> None:
        """Wait until a text is in its output."""
        eventually(lambda: text in self.out.read_text(), f"the command says {text!r}")

    def ended(self) -> Ended:
        """Wait for its end."""
        code = self.process.wait(120)
        return Ended(code, self.out.read_text(), self.err.read_text())


@contextmanager
def running(folder: Path, *words: str, **more: str) -> Iterator[Running]:
    """Start a command, and end it if the test does not.

    Args:
        folder: where the files of its output go.
        words: the command.
        more: environment variables.
    """
    out, err = folder / "out", folder / "err"
    with out.open("wb") as stdout, err.open("wb") as stderr:
        process = subprocess.Popen(
            [FLOWS, *words], env=environment(**more), stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr
        )
    try:
        yield Running(process, out, err)
    finally:
        process.kill()
        process.wait()
