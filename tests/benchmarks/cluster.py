"""Pods of this chart against bare Jobs of the same image, on a real cluster. `make bench-cluster`.

Three figures; the first two are ratios of medians of interleaved samples:

1. seconds from Job created to the first line of a child's code, against a Job that only imports prefect;
2. a chain of four no-op children, first created to last completed, against four such Jobs one after the other;
3. fifty parallel children of one parent: how they end, and after how long.

Takes a release that is installed (`BENCH_NAMESPACE`, `BENCH_RELEASE`, its server without basic auth) and has the
deployments of tests/benchmarks/pods. Writes build/bench/cluster.json.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
from datetime import datetime
from typing import Any

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

    def fan(self) -> tuple[float, dict[str, int]]:
        """Fifty children at once: seconds, and how many ended in which state."""
        run = self.runs.run("bench-fan")
        children = list(self.runs.children(run.id).values())
        states: dict[str, int] = {}
        for child in children:
            name = str(child.state_name)
            states[name] = states.get(name, 0) + 1
        seconds = (max(_end(child) for child in children) - min(_created(child) for child in children)).total_seconds()
        return seconds, states


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
    seconds, states = bench.fan()
    results.say(f"fifty children: {states} after {seconds:.0f} s")
    return [
        entry("first line of a child / of a bare Job", starts, GOAL, "ratio of seconds"),
        entry("chain of 4 children / 4 bare Jobs", chains, GOAL, "ratio of seconds"),
        entry("50 children at once / 50 * first line of a child", [seconds / 50], None, "seconds a child"),
    ]


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    namespace = connect(os.environ.get("BENCH_NAMESPACE", "flows-bench"))
    release = os.environ.get("BENCH_RELEASE", "bench")
    with (
        namespace.forwarded(f"{release}-flow-of-flows-server", 4200) as port,
        SyncPrefectClient(f"http://127.0.0.1:{port}/api") as client,
    ):
        runs = Runs(api=str(client.api_url), client=client, patience=600)
        image = str((client.read_deployment_by_name("smoke/smoke").job_variables or {})["image"])
        entries = measure(Bench(namespace, runs, image), repeats)
    results.show(entries)
    results.write(entries, results.FOLDER / "cluster.json")


if __name__ == "__main__":
    main()
