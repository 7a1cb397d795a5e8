"""Pods of this chart against bare Jobs of the same image, on a real cluster. `make bench-cluster`.

Three figures; the first two are ratios of medians of interleaved samples:

1. seconds from Job created to the first line of a child's code, against a Job that only imports prefect;
2. a chain of four no-op children, first created to last completed, against four such Jobs one after the other;
3. fifty parallel children of one parent: how they end, after how long, what the parent asks the API, and how much
   memory it takes (MiB, as the kubelet tells it every few seconds).

Installs the chart with the image of tests/benchmarks/pods, and without a sweeper, into a namespace of its own, and
removes both. Writes build/bench/cluster.json.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx
from prefect.client.orchestration import SyncPrefectClient

from tests.benchmarks import results
from tests.benchmarks.results import Entry, entry
from tests.e2e.kube import RUN, Namespace, connect
from tests.fixtures.runs import Runs

GOAL = 1.5
FIRST_LINE = (
    "import datetime, prefect; from prefect import flow; print(datetime.datetime.now(datetime.UTC).isoformat())"
)


class Bench:
    """What is measured, on one release."""

    def __init__(self, namespace: Namespace, runs: Runs, image: str) -> None:
        self.namespace = namespace
        self.runs = runs
        self.image = image
        self.jobs = 0

    def bare(self) -> tuple[float, float]:
        """A Job that imports prefect: seconds to its first line, and until it is complete."""
        self.jobs += 1
        name = f"bare-{self.jobs}"
        self.namespace.apply(bare_job(name, self.image))
        self.namespace.kubectl("wait", "--for=condition=Complete", f"job/{name}", "--timeout=120s")
        (job,) = [job for job in self.namespace.jobs() if job["metadata"]["name"] == name]
        (pod,) = self.namespace.pods(f"job-name={name}")
        created = moment(job["metadata"]["creationTimestamp"])
        line = moment(self.namespace.log(pod["metadata"]["name"]).strip().splitlines()[-1])
        return (line - created).total_seconds(), (moment(job["status"]["completionTime"]) - created).total_seconds()

    def child(self) -> float:
        """A no-op child: seconds from its Job to the first line of its code."""
        run = self.runs.run("smoke")
        (job,) = self.namespace.jobs(f"{RUN}={run.id}")
        first = datetime.fromisoformat(str(self.runs.report(run.id).facts["first_line"]))
        return (first - moment(job["metadata"]["creationTimestamp"])).total_seconds()

    def chain(self) -> float:
        """Seconds from the first of four children to the end of the last."""
        run = self.runs.run("bench-chain")
        children = list(self.runs.children(run.id).values())
        return (max(_end(child) for child in children) - min(_created(child) for child in children)).total_seconds()

    def fan(self) -> Fan:
        """Fifty children at once."""
        run = self.runs.start("bench-fan")
        with self._memory_of(run) as memory:
            self.runs.end_of(run)
        children = list(self.runs.children(run).values())
        states = Counter(str(child.state_name) for child in children)
        seconds = (max(_end(child) for child in children) - min(_created(child) for child in children)).total_seconds()
        (pod,) = self.namespace.pods_of(run)
        return Fan(seconds, states, self._requests(pod["status"]["podIP"]), max(memory))

    @contextmanager
    def _memory_of(self, run: object) -> Iterator[list[float]]:
        """Memory of a run's pod (MiB) as a growing list, while the block runs."""
        seen = [0.0]
        over = threading.Event()

        def watch() -> None:
            while not over.wait(2):
                seen.extend(self._memory(str(run)))

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            yield seen
        finally:
            over.set()
            watcher.join()

    def _memory(self, run: str) -> list[float]:
        names = {(pod["metadata"]["name"], pod["spec"].get("nodeName")) for pod in self.namespace.pods_of(run)}
        found = []
        for node in {node for _, node in names if node}:
            summary = json.loads(self.namespace.kubectl("get", "--raw", f"/api/v1/nodes/{node}/proxy/stats/summary"))
            found += [
                pod["memory"]["workingSetBytes"] / 2**20
                for pod in summary["pods"]
                if (pod["podRef"]["name"], node) in names and "memory" in pod
            ]
        return found

    def _requests(self, address: str) -> Counter[str]:
        """How often a pod asked for what, by the access log of the server."""
        (server,) = self.namespace.pods("app.kubernetes.io/component=server")
        lines = self.namespace.log(server["metadata"]["name"]).splitlines()
        found = (re.search(rf'{re.escape(address)}:\d+ - "(\w+ /api/[\w/-]+)', line) for line in lines)
        return Counter(re.sub(r"[0-9a-f-]{36}", "ID", match[1]) for match in found if match)


@dataclass(frozen=True)
class Fan:
    """How fifty children went: seconds, end states, requests of the parent by path, and its most memory (MiB)."""

    seconds: float
    states: Counter[str] = field(default_factory=Counter)
    requests: Counter[str] = field(default_factory=Counter)
    memory: float = 0


def bare_job(name: str, image: str) -> dict[str, Any]:
    """A Job of the image that only imports prefect, as small and as restricted as ours."""
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {
            "backoffLimit": 0,
            "template": {
                "spec": {
                    "restartPolicy": "Never",
                    "automountServiceAccountToken": False,
                    "enableServiceLinks": False,
                    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
                    "containers": [
                        {
                            "name": "bare",
                            "image": image,
                            "args": ["python", "-c", FIRST_LINE],
                            "securityContext": {
                                "allowPrivilegeEscalation": False,
                                "readOnlyRootFilesystem": True,
                                "capabilities": {"drop": ["ALL"]},
                            },
                            "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
                        }
                    ],
                    "volumes": [{"name": "tmp", "emptyDir": {}}],
                }
            },
        },
    }


def moment(text: str) -> datetime:
    """A time of the Kubernetes API, which gives whole seconds: over some samples the half second evens out."""
    return datetime.fromisoformat(re.sub(r"Z$", "+00:00", text))


def _created(run: Any) -> datetime:
    created: datetime = run.created
    return created


def _end(run: Any) -> datetime:
    end: datetime = run.end_time
    return end


def measure(bench: Bench, repeats: int) -> list[Entry]:
    """All comparisons."""
    starts, chains = [], []
    bench.bare()
    bench.child()  # both once uncounted, for caches of the node
    for turn in range(1, repeats + 1):
        bare = [bench.bare() for _ in range(4)]
        children = [bench.child() for _ in range(4)]
        starts.append(statistics.mean(children) / statistics.mean(first for first, _ in bare))
        chain = bench.chain()
        chains.append(chain / sum(whole for _, whole in bare))
        results.say(f"turn {turn}: bare {bare}, children {children}, chain {chain:.1f} s")
    fan = bench.fan()
    reads = fan.requests["POST /api/flow_runs/filter"]
    results.say(f"fifty children: {dict(fan.states)} after {fan.seconds:.0f} s, parent {fan.memory:.0f} MiB")
    for path, count in fan.requests.most_common(12):
        results.say(f"  {count:>5}  {path}")
    return [
        entry("first line of a child / of a bare Job", starts, GOAL, "ratio of seconds"),
        entry("chain of 4 children / 4 bare Jobs", chains, GOAL, "ratio of seconds"),
        entry("50 children at once: completed", [fan.states["Completed"]], None, "children"),
        entry("50 children at once: seconds a child", [fan.seconds / 50], None, "seconds"),
        entry("50 children at once: reads of children by the parent", [reads], None, "requests"),
        entry("50 children at once: memory of the parent", [fan.memory], None, "MiB"),
    ]


@contextmanager
def released(name: str, image: str) -> Iterator[Namespace]:
    """The chart in a namespace of its own."""
    namespace = connect(name)
    namespace.core.create_namespace({"metadata": {"name": name}})
    repository, _, tag = image.rpartition(":")
    values = {
        "image": {"repository": repository, "tag": tag},
        # Its access log counts requests.
        "server": {"env": [{"name": "PREFECT_SERVER_LOGGING_LEVEL", "value": "INFO"}]},
        "worker": {"pollSeconds": 1},
        # The project of that image declares no deployment `sweep`.
        "sweeper": {"enabled": False},
    }
    command = ["helm", "install", "bench", "helm", "--namespace", name, "--wait", "--timeout", "6m", "--values", "-"]
    try:
        subprocess.run(command, check=True, input=json.dumps(values), text=True, stdout=subprocess.DEVNULL)
        yield namespace
    finally:
        namespace.core.delete_namespace(name)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    image = os.environ.get("BENCH_IMAGE", "flow-of-flows:0.1.0-bench")
    with (
        released("flow-of-flows-bench", image) as namespace,
        namespace.forwarded("bench-flow-of-flows-server", 4200) as port,
        SyncPrefectClient(
            f"http://127.0.0.1:{port}/api", httpx_settings={"transport": httpx.HTTPTransport(retries=5)}
        ) as client,
    ):
        runs = Runs(api=str(client.api_url), client=client, patience=600)
        entries = measure(Bench(namespace, runs, image), repeats)
    results.show(entries)
    results.write(entries, results.FOLDER / "cluster.json")


if __name__ == "__main__":
    main()
