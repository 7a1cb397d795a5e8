"""A job pod without Kubernetes: seconds and CPU seconds to the first line of a child's code, memory, and until it ends.

Three ways to start, interleaved, against a server on this machine: an interpreter that only imports Prefect, Prefect's
own entry point, and `python -m flow_of_flows.pod`. Prints ratios to the first, and writes build/bench/pod_start.json.

Usage: `python -m tests.benchmarks.pod_start --repeats 9`
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from prefect.client.orchestration import SyncPrefectClient

from tests.benchmarks import results
from tests.benchmarks.results import Entry, entry
from tests.conditions import eventually
from tests.fixtures.server import REPOSITORY

GOAL = 1.5
TICKS = os.sysconf("SC_CLK_TCK")
PULL = [{"prefect.deployments.steps.set_working_directory": {"directory": str(REPOSITORY)}}]
BARE = """
import prefect
from prefect import flow
import pathlib, sys
pathlib.Path(sys.argv[1]).write_text("begun")
pathlib.Path(sys.argv[2]).read_text()
"""
POD = ("-m", "flow_of_flows.pod")
STANDARD = ("-m", "prefect", "flow-run", "execute")
ENVIRONMENT = {
    "PYTHONPATH": str(REPOSITORY),
    # As the worker sets it.
    "PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR": "reschedule",
}


@dataclass(frozen=True)
class Sample:
    """One start.

    Attributes:
        wall: seconds to the first line.
        cpu: CPU seconds until then, of all processes.
        memory: MiB then, pages that processes share counted once.
        end: seconds from the child's last line until every process is over.
    """

    wall: float
    cpu: float
    memory: float
    end: float


class Bench:
    """Starts what is measured."""

    def __init__(self, api: str, client: SyncPrefectClient, folder: Path) -> None:
        self._client = client
        self._log = folder / "pods.log"
        self._began, self._go = folder / "began", folder / "go"
        os.mkfifo(self._began)
        os.mkfifo(self._go)
        self._environment = {**os.environ, **ENVIRONMENT, "PREFECT_API_URL": api, "PREFECT_HOME": str(folder / "pods")}
        self._deployment = client.create_deployment(
            flow_id=client.create_flow_from_name("held"),
            name="held",
            entrypoint="tests.benchmarks.held_child.held",
            pull_steps=PULL,
        )

    def bare(self) -> Sample:
        """An interpreter that only imports Prefect."""
        return self._measure("-c", BARE, str(self._began), str(self._go))

    def pod(self, *command: str) -> Sample:
        """A child, started by one of the entry points."""
        run = self._client.create_flow_run_from_deployment(
            self._deployment, parameters={"began": str(self._began), "go": str(self._go)}
        )
        return self._measure(*command, PREFECT__FLOW_RUN_ID=str(run.id))

    def _measure(self, *command: str, **environment: str) -> Sample:
        start = time.monotonic()
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, *command], env={**self._environment, **environment}, stdout=log, stderr=log
            )
        self._began.read_text()
        wall = time.monotonic() - start
        tree = list(_tree(process.pid))
        cpu, memory = sum(_cpu(pid) for pid in tree), sum(_memory(pid) for pid in tree)
        self._go.write_text("go")
        end = time.monotonic()
        if process.wait(60):
            raise RuntimeError(self._log.read_text())
        return Sample(wall, cpu, memory, time.monotonic() - end)


def _tree(pid: int) -> Iterator[int]:
    yield pid
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        yield from _tree(int(child))


def _cpu(pid: int) -> float:
    """CPU seconds of a process, and of those that it has waited for."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / TICKS


def _memory(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    (size,) = (line.split()[1] for line in lines if line.startswith("Pss:"))
    return int(size) / 1024


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """A Prefect server; its API."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "PREFECT_HOME": str(folder / "server"),
        "PREFECT_API_BLOCKS_REGISTER_ON_START": "false",
        "PREFECT_MEMOIZE_BLOCK_AUTO_REGISTRATION": "false",
    }
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "prefect", "server", "start", "--port", str(port), "--no-ui"],
            env=environment,
            stdout=log,
            stderr=log,
        )
    api = f"http://127.0.0.1:{port}/api"
    try:
        eventually(lambda: _answers(api), "the server answers", within=120)
        yield api
    finally:
        process.terminate()
        process.wait()


def _answers(api: str) -> bool:
    try:
        return httpx.get(f"{api}/health").is_success
    except httpx.HTTPError:
        return False


def measure(bench: Bench, repeats: int) -> Mapping[str, Sequence[Sample]]:
    """Samples of each way to start, interleaved; the first of each is not counted."""
    ways: Mapping[str, Callable[[], Sample]] = {
        "bare": bench.bare,
        "standard": lambda: bench.pod(*STANDARD),
        "flow_of_flows.pod": lambda: bench.pod(*POD),
    }
    samples: dict[str, list[Sample]] = {way: [] for way in ways}
    for turn in range(repeats + 1):
        for way, start in ways.items():
            sample = start()
            if turn:
                samples[way].append(sample)
                results.say(f"{turn} {way:<10}{sample}")
    return samples


def compared(samples: Mapping[str, Sequence[Sample]]) -> list[Entry]:
    """Ratios to the bare import, turn by turn, and what cannot be a ratio."""
    entries = []
    for way in ("standard", "flow_of_flows.pod"):
        pairs = list(zip(samples[way], samples["bare"], strict=True))
        goal = GOAL if way == "flow_of_flows.pod" else None
        entries += [
            entry(f"{way} / bare, to the first line", [s.wall / b.wall for s, b in pairs], goal, "ratio of seconds"),
            entry(f"{way} / bare, CPU until then", [s.cpu / b.cpu for s, b in pairs], None, "ratio of CPU seconds"),
            entry(f"{way} / bare, memory then", [s.memory / b.memory for s, b in pairs], None, "ratio of MiB"),
            entry(f"{way}, last line to end", [s.end for s, _ in pairs], None, "seconds"),
        ]
    return entries


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=9)
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as name, server(Path(name)) as api, SyncPrefectClient(api) as client:
        samples = measure(Bench(api, client, Path(name)), repeats)
    for way, taken in samples.items():
        middle = {field: statistics.median(getattr(s, field) for s in taken) for field in Sample.__dataclass_fields__}
        results.say(f"{way:<10}" + "".join(f"{field} {value:.2f}  " for field, value in middle.items()))
    entries = compared(samples)
    results.show(entries)
    results.write(entries, results.FOLDER / "pod_start.json")


if __name__ == "__main__":
    main()
