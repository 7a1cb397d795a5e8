"""`make load`: 200 children of one parent, and 20 parents at once, on the cluster that KUBECONFIG names.

Every interval is two seconds long, so that the reads of a parent of 2 children and of one of 200 can be compared.
Prints; writes build/load.json and, if it was not asked for less, docs/load.md. Exit status 1 if something is not as
promised: a run is lost, more children work at once than may, or a parent reads more often for more children.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from prefect.client.schemas.objects import FlowRun

from tests.conditions import eventually
from tests.faults.fans import INTERVAL, Fan, Size, objects, page, problems
from tests.faults.rows.parents import lasting
from tests.faults.site import Site, site
from tests.faults.table import REPOSITORY, say
from tests.faults.versions import head

IMAGE = os.environ.get("FAULTS_IMAGE", "flow-of-flows:0.1.0-faults")
NAMESPACE = os.environ.get("LOAD_NAMESPACE", "faults-load")
EVERY = {"env": {"FLOWS_POLL_SECONDS": str(INTERVAL), "FLOWS_POLL_MAX_SECONDS": str(INTERVAL)}}
WITHIN = 3600
LOOK_SECONDS = 10
SERVER, WORKER = (f"app.kubernetes.io/component={name}" for name in ("server", "worker"))
# The most memory that a container ever had: cgroup v2, v1.
PEAK = "cat /sys/fs/cgroup/memory.peak 2>/dev/null || cat /sys/fs/cgroup/memory/memory.max_usage_in_bytes"
ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
REQUEST = re.compile(r'(\d+(?:\.\d+){3}):\d+ - "(\w+ /api/[^ ?"]*)')


def fan(where: Site, flow: str, parents: int, **parameters: Any) -> Fan:
    """Start parents at once and wait for them all."""
    before = len(_requests(where))
    runs = [where.prefect.start_with(flow, EVERY, **parameters) for _ in range(parents)]
    with _peaks(where, runs[0]) as memory:
        read = [_end_of(where, run, flow) for run in runs]
    asked = _requests(where)[before:]
    families = [list(where.prefect.children(run).values()) for run in runs]
    children = [child for family in families for child in family]
    worked = {child.name: _apart(child.start_time, child.end_time) for child in children}
    slowest = max(worked, key=lambda name: worked[name])
    addresses = {pod["status"].get("podIP") for pod in where.namespace.pods_of(runs[0])}
    return Fan(
        parents=Counter(str(run.state_name) for run in read),
        children=Counter(str(child.state_name) for child in children),
        seconds=_seconds([*read, *children]),
        most=_most(children),
        slowest=(slowest, worked[slowest]),
        queued=max(_apart(child.created, child.start_time) for child in children),
        requests=Counter(path for address, path in asked if address in addresses),
        all_requests=len(asked),
        waited=_seconds(families[0]),
        memory=dict(memory),
    )


def _end_of(where: Site, run: UUID, flow: str) -> FlowRun:
    def over() -> FlowRun | None:
        threading.Event().wait(INTERVAL)
        read = where.prefect.client.read_flow_run(run)
        return read if read.state and read.state.is_final() else None

    return eventually(over, f"{flow} {run} is over", within=WITHIN)


def _apart(begin: Any, end: Any) -> float:
    """Seconds between; none for what never began."""
    return float((end - begin).total_seconds()) if begin and end else 0.0


def _seconds(runs: Sequence[FlowRun]) -> float:
    return _apart(
        min(run.created for run in runs if run.created),
        max(run.end_time for run in runs if run.end_time),
    )


def _most(children: Sequence[FlowRun]) -> int:
    """How many were at work at the same time: between their start and their end."""
    moments = [(child.start_time, 1) for child in children if child.start_time and child.end_time]
    moments += [(child.end_time, -1) for child in children if child.start_time and child.end_time]
    at_work = most = 0
    for _, step in sorted(moments, key=lambda moment: (moment[0], moment[1])):
        at_work += step
        most = max(most, at_work)
    return most


def _requests(where: Site) -> list[tuple[str, str]]:
    """Who asked for what so far, by the access log of the server."""
    (server,) = where.namespace.pods(SERVER)
    lines = where.namespace.log(server["metadata"]["name"]).splitlines()
    found = (REQUEST.search(line) for line in lines)
    return [(match[1], ID.sub("ID", match[2])) for match in found if match]


@contextmanager
def _peaks(where: Site, run: UUID) -> Iterator[dict[str, float]]:
    """Most memory (MiB) of parent, worker and server as it grows, while the block runs."""
    seen: dict[str, float] = {}
    over = threading.Event()

    def watch() -> None:
        while not over.wait(LOOK_SECONDS):
            for who, pod in _looked_at(where, run):
                seen[who] = max(seen.get(who, 0), _peak(where, pod))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()


def _looked_at(where: Site, run: UUID) -> Iterator[tuple[str, str]]:
    pods = where.namespace.pods
    for who, found in (("parent", where.namespace.pods_of(run)), ("worker", pods(WORKER)), ("server", pods(SERVER))):
        for pod in found:
            if pod["status"]["phase"] == "Running":
                yield who, pod["metadata"]["name"]


def _peak(where: Site, pod: str) -> float:
    try:
        return int(where.namespace.kubectl("exec", pod, "--", "sh", "-c", PEAK)) / 2**20
    except (subprocess.CalledProcessError, ValueError):
        return 0  # it ends just now


def measured(size: Size) -> tuple[Fan, Fan, Fan]:
    """The three fans, one after the other, on one release."""
    changes = {
        "workPool": {"concurrencyLimit": size.at_once},
        "worker": {"pollSeconds": INTERVAL},
        # Its access log counts requests.
        "server": {"env": [{"name": "PREFECT_SERVER_LOGGING_LEVEL", "value": "INFO"}]},
        # As by default: that a machine is busy is no fault here.
        "settings": {"FLOWS_POD_LEASE_SECONDS": 120},
    }
    with site(NAMESPACE, IMAGE, changes) as where:
        two = fan(where, "faults-pair", 1, overrides=lasting(left=60, right=60, last=0))
        say(f"two children: {two.seconds:.0f} s")
        only = [f"child-{number}" for number in range(size.children)]
        many = fan(where, "faults-fan-200", 1, only=only)
        say(f"{size.children} children: {many.seconds:.0f} s")
        return two, many, fan(where, "faults-fan-2", size.parents)


def main() -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.load", description="Many children, many parents.")
    for name, default in vars(Size()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=default)
    size = Size(**vars(parser.parse_args()))
    fans = measured(size)
    text = page(size, fans, head(IMAGE))
    say(text)
    (REPOSITORY / "build").mkdir(exist_ok=True)
    (REPOSITORY / "build" / "load.json").write_text(json.dumps(objects(size, fans), indent=2) + "\n")
    if size.is_whole:
        (REPOSITORY / "docs" / "load.md").write_text(text)
    found = problems(size, fans)
    for problem in found:
        say(f"NOT OK: {problem}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
