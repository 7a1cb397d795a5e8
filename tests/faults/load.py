"""`make load`: 200 children of one parent, and 20 parents at once, on the cluster that KUBECONFIG names.

Every interval is two seconds long, so that the reads of a parent of 2 children and of one of 200 can be compared.
Prints and writes docs/load.md; exit status 1 if a run is lost or the API sees more reads for more children.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from prefect.client.schemas.objects import FlowRun

from tests.conditions import eventually
from tests.faults.rows.parents import lasting
from tests.faults.site import Site, site
from tests.faults.table import REPOSITORY, say
from tests.faults.versions import head

IMAGE = os.environ.get("FAULTS_IMAGE", "flow-of-flows:0.1.0-faults")
PARENTS = 20
# Parents hold slots of the pool while they wait: with as many slots as parents no child would ever start.
AT_ONCE = PARENTS + 4
INTERVAL = 2
EVERY = {"env": {"FLOWS_POLL_SECONDS": str(INTERVAL), "FLOWS_POLL_MAX_SECONDS": str(INTERVAL)}}
READS = "POST /api/flow_runs/filter"
# The most memory that a container ever had: cgroup v2, v1.
PEAK = "cat /sys/fs/cgroup/memory.peak 2>/dev/null || cat /sys/fs/cgroup/memory/memory.max_usage_in_bytes"
ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass
class Fan:
    """How the children of some parents went.

    Attributes:
        parents: end states.
        children: end states.
        seconds: first run created to last run over.
        slowest: name of the child that took longest from its creation, and how long.
        requests: of one parent, by path.
        waited: seconds for which that parent waited for children.
        memory: most MiB by who.
    """

    parents: Counter[str]
    children: Counter[str]
    seconds: float
    slowest: tuple[str, float]
    requests: Counter[str] = field(default_factory=Counter)
    waited: float = 0
    memory: dict[str, float] = field(default_factory=dict)

    @property
    def reads(self) -> float:
        """Reads of children by the parent in each interval in which it waited."""
        return self.requests[READS] / (self.waited / INTERVAL)


def fan(where: Site, flow: str, parents: int, **parameters: Any) -> Fan:
    """Start parents at once and wait for them all."""
    runs = [where.prefect.start_with(flow, EVERY, **parameters) for _ in range(parents)]
    with _peaks(where, runs[0]) as memory:
        read = [eventually(lambda run=run: _over(where, run), f"{flow} {run} is over", within=1800) for run in runs]  # type: ignore[misc]
    families = {run: list(where.prefect.children(run).values()) for run in runs}
    children = [child for family in families.values() for child in family]
    (pod,) = where.namespace.pods_of(runs[0])
    taken = {child.name: _seconds([child]) for child in children}
    slowest = max(taken, key=lambda name: taken[name])
    return Fan(
        Counter(str(run.state_name) for run in read),
        Counter(str(child.state_name) for child in children),
        _seconds([*read, *children]),
        (slowest, taken[slowest]),
        _requests(where, pod["status"]["podIP"]),
        _seconds(families[runs[0]]),
        dict(memory),
    )


def _over(where: Site, run: UUID) -> FlowRun | None:
    threading.Event().wait(1)
    read = where.prefect.client.read_flow_run(run)
    return read if read.state and read.state.is_final() else None


def _seconds(runs: Sequence[FlowRun]) -> float:
    begin = min(run.created for run in runs if run.created)
    end = max(run.end_time for run in runs if run.end_time)
    return (end - begin).total_seconds()


def _requests(where: Site, address: str) -> Counter[str]:
    """How often a pod asked for what, by the access log of the server."""
    (server,) = where.namespace.pods("app.kubernetes.io/component=server")
    found = (
        re.search(rf'{re.escape(address)}:\d+ - "(\w+ /api/[\w/-]+)', line)
        for line in where.namespace.log(server["metadata"]["name"]).splitlines()
    )
    return Counter(ID.sub("ID", match[1]) for match in found if match)


@contextmanager
def _peaks(where: Site, run: UUID) -> Iterator[dict[str, float]]:
    """Most memory (MiB) of parent, worker and server as it grows, while the block runs."""
    seen: dict[str, float] = {}
    over = threading.Event()

    def look() -> None:
        pods = {
            "parent": where.namespace.pods_of(run),
            "worker": where.namespace.pods("app.kubernetes.io/component=worker"),
            "server": where.namespace.pods("app.kubernetes.io/component=server"),
        }
        for who, found in pods.items():
            for pod in found:
                if pod["status"]["phase"] == "Running":
                    peak = _exec(where, pod["metadata"]["name"])
                    seen[who] = max(seen.get(who, 0), peak)

    def watch() -> None:
        while not over.wait(5):
            look()

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()


def _exec(where: Site, pod: str) -> float:
    try:
        return int(where.namespace.kubectl("exec", pod, "--", "sh", "-c", PEAK)) / 2**20
    except (subprocess.CalledProcessError, ValueError):
        return 0  # it ends just now


def problems(two: Fan, many: Fan, crowd: Fan) -> list[str]:
    """What is not as promised."""
    wanted = [
        ("2 children", two, 1, 3),
        ("200 children", many, 1, 200),
        ("20 parents", crowd, 20, 40),
    ]
    found = [
        f"{name}: {dict(seen.parents)} parents and {dict(seen.children)} children"
        for name, seen, parents, children in wanted
        if (seen.parents, seen.children) != (Counter(Completed=parents), Counter(Completed=children))
    ]
    if many.reads > two.reads * 1.1:
        found.append(f"{many.reads:.2f} reads an interval with 200 children, {two.reads:.2f} with 2")
    return found


def page(two: Fan, many: Fan, crowd: Fan, what: str) -> str:
    """The table."""
    fans = (two, many, crowd)
    rows: list[tuple[str, list[str]]] = [
        ("parents completed", [str(each.parents["Completed"]) for each in fans]),
        ("children completed", [str(each.children["Completed"]) for each in fans]),
        ("seconds until all are over", [f"{each.seconds:.0f}" for each in fans]),
        ("reads of children by one parent, for each interval", [f"{each.reads:.2f}" for each in fans]),
        ("requests of one parent", [str(each.requests.total()) for each in fans]),
        ("slowest child, from its creation (s)", [f"{each.slowest[1]:.0f}" for each in fans]),
        *(
            (f"memory of {name} (MiB, most)", [f"{each.memory.get(who, 0):.0f}" for each in fans])
            for who, name in (("parent", "one parent"), ("worker", "the worker"), ("server", "the server"))
        ),
    ]
    lines = [
        "# Load",
        "",
        f"{what} Made by `make load`. The pool runs {AT_ONCE} runs at once; parents read every {INTERVAL} s.",
        "",
        "| | 2 children that work for 60 s, and one behind them | 200 children of one parent | 20 parents at once |",
        "|---|---:|---:|---:|",
        *(f"| {name} | {' | '.join(cells)} |" for name, cells in rows),
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Measure, print and write."""
    changes = {
        "workPool": {"concurrencyLimit": AT_ONCE},
        # Its access log counts requests.
        "server": {"env": [{"name": "PREFECT_SERVER_LOGGING_LEVEL", "value": "INFO"}]},
    }
    with site("faults-load", IMAGE, changes) as where:
        two = fan(where, "faults-pair", 1, overrides=lasting(left=60, right=60, last=0))
        many = fan(where, "faults-fan-200", 1)
        crowd = fan(where, "faults-fan-2", PARENTS)
    text = page(two, many, crowd, head(IMAGE))
    say(text)
    for path, count in many.requests.most_common(8):
        say(f"  {count:>5}  {path}")
    (REPOSITORY / "docs" / "load.md").write_text(text)
    found = problems(two, many, crowd)
    for problem in found:
        say(f"NOT OK: {problem}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
