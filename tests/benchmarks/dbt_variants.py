"""The ways to build one synthetic project, each as one measured process; used by `dbt_step`.

A sample is the wall time from start to end of one process, and the CPU time of that process alone (`os.wait4`).
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

THREADS = "4"

# Lines go to a file, as a pod's log does; without a Prefect run nothing is published.
STEP = """
import logging
logging.basicConfig(level=logging.INFO, filename={log!r})
from flow_of_flows.dbt.children import dbt_build
dbt_build.fn.__wrapped__()
"""

PREFECT_DBT = """
from prefect import flow
from prefect_dbt import PrefectDbtRunner, PrefectDbtSettings
@flow
def run():
    settings = PrefectDbtSettings(project_dir={project!r}, profiles_dir={project!r}, target_path={target!r})
    PrefectDbtRunner(settings=settings).invoke(["build"])
run()
"""


@dataclass(frozen=True)
class Sample:
    """One process: seconds of wall and CPU time."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class Variant:
    """One way to build a project, with folders of its own, so that what it keeps between runs is its own."""

    name: str
    project: Path
    folder: Path

    def environment(self) -> dict[str, str]:
        """The environment of its processes."""
        return {
            **os.environ,
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
            "DBT_THREADS": THREADS,
            "FLOWS_THREADS": THREADS,
            "FLOWS_DBT_PROJECT": str(self.project),
            "FLOWS_HOME": str(self.folder),
            "DBT_DUCKDB_FOLDER": str(self.folder / "warehouse"),
        }

    def sample(self) -> Sample:
        """Run it once."""
        (self.folder / "warehouse").mkdir(parents=True, exist_ok=True)
        return _forked(self) if self.name == "step" else _spawned(self)


def _command(variant: Variant) -> list[str]:
    target = str(variant.folder / "target")
    dbt = [str(Path(sys.executable).with_name("dbt")), "build", f"--project-dir={variant.project}"]
    dbt += [f"--profiles-dir={variant.project}", f"--target-path={target}", f"--log-path={variant.folder}"]
    python = [sys.executable, "-c"]
    return {
        "raw cold": [*dbt, "--no-partial-parse"],
        "raw warm": dbt,
        "step, fresh interpreter": [*python, STEP.format(log=str(variant.folder / "log"))],
        "prefect-dbt": [*python, PREFECT_DBT.format(project=str(variant.project), target=target)],
    }[variant.name]


def _spawned(variant: Variant) -> Sample:
    output = os.open(variant.folder / "output", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    command = _command(variant)
    actions = [(os.POSIX_SPAWN_DUP2, output, 1), (os.POSIX_SPAWN_DUP2, output, 2)]
    start = time.perf_counter()
    pid = os.posix_spawn(command[0], command, variant.environment(), file_actions=actions)
    os.close(output)
    return _wait(pid, start, variant)


def _forked(variant: Variant) -> Sample:
    """In a fork of this process, which has dbt imported and has started nothing: what the preloading server does.

    It executes the same text as the fresh interpreter.
    """
    start = time.perf_counter()
    pid = os.fork()
    if pid == 0:
        _in_child(lambda: exec(STEP.format(log=str(variant.folder / "log")), {}), variant)
    return _wait(pid, start, variant)


def _in_child(work: Callable[[], None], variant: Variant) -> None:
    code = 1
    try:
        output = os.open(variant.folder / "output", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.environ.update(variant.environment())
        work()
        code = 0
    finally:
        os._exit(code)


def _wait(pid: int, start: float, variant: Variant) -> Sample:
    _, status, usage = os.wait4(pid, 0)
    wall = time.perf_counter() - start
    if os.waitstatus_to_exitcode(status) != 0:
        raise RuntimeError(f"{variant.name} failed: {(variant.folder / 'output').read_text()[-3000:]}")
    return Sample(wall, usage.ru_utime + usage.ru_stime)
