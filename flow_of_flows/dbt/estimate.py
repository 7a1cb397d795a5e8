"""How long a build is expected to take: results of earlier runs and dbt's graph in, minutes out."""

from __future__ import annotations

import heapq
import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from statistics import median
from typing import Any

# How a node ends that did all of its work.
WHOLE = frozenset({"success", "pass", "warn", "fail"})
# dbt's options that make a node take another time than usual.
UNUSUAL = ("full_refresh", "empty", "sample", "event_time_start", "event_time_end")
MINUTE = 60


@dataclass(frozen=True)
class Estimate:
    """What a build is expected to take, in seconds.

    Attributes:
        seconds: of each node that has run before, by its id.
        unknown: ids of the nodes that never ran; no time is counted for them.
        threads: how many nodes dbt builds at once.
        elapsed: from the start to the end, with these threads.
        longest: the same with any number of threads: the critical path.
        runs: how many earlier runs this rests on.
    """

    seconds: Mapping[str, float]
    unknown: tuple[str, ...]
    threads: int
    elapsed: float
    longest: float
    runs: int

    @property
    def work(self) -> float:
        """The time of all nodes together."""
        return sum(self.seconds.values())

    def __str__(self) -> str:
        if not self.seconds:
            return f"no estimate: {_nodes(len(self.unknown))} never ran" if self.unknown else "nothing to build"
        without = f", without {_nodes(len(self.unknown))} that never ran" if self.unknown else ""
        runs = f"{self.runs} earlier run{'s' * (self.runs != 1)}"
        threads = f"{self.threads} thread{'s' * (self.threads != 1)}"
        return (
            f"about {duration(self.elapsed)} with {threads}: {duration(self.work)} of work, "
            f"critical path {duration(self.longest)} (medians of {runs}{without})"
        )


def estimate(
    names: Collection[str], results: Iterable[bytes], after: Mapping[str, Collection[str]], threads: int
) -> Estimate:
    """Return what a build of these nodes is expected to take.

    Args:
        names: ids of the nodes.
        results: run_results.json of each earlier run.
        after: ids of the nodes that each node waits for.
        threads: how many nodes dbt builds at once.
    """
    documents = [document for each in results if (document := _parsed(each)) is not None]
    known = medians(documents)
    seconds = {name: known[name] for name in names if name in known}
    unknown = tuple(sorted(set(names) - set(seconds)))
    everything = {**dict.fromkeys(unknown, 0.0), **seconds}
    return Estimate(
        seconds=seconds,
        unknown=unknown,
        threads=threads,
        elapsed=elapsed(everything, after, threads),
        longest=elapsed(everything, after, max(1, len(everything))),
        runs=sum(any(result["unique_id"] in seconds for result in each["results"]) for each in documents),
    )


def medians(documents: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return the median of the execution times of each node, in seconds.

    A node that failed on the way or was skipped says nothing. A time that two files have of one execution counts once.
    Runs with an unusual option count only for nodes that ran in no other.

    Args:
        documents: contents of run_results.json.
    """
    usual = _samples(each for each in documents if not any(each.get("args", {}).get(name) for name in UNUSUAL))
    samples = {**_samples(documents), **usual}
    return {name: median(times.values()) for name, times in samples.items()}


def elapsed(seconds: Mapping[str, float], after: Mapping[str, Collection[str]], threads: int) -> float:
    """Return how long these nodes take: the schedule of dbt's queue, which takes nodes by their depth in the graph.

    Args:
        seconds: how long each node takes, by its id.
        after: ids of the nodes that each node waits for; those without a time are over before.
        threads: how many nodes run at once.
    """
    waits = {name: set(after.get(name, ())) & seconds.keys() for name in seconds}
    followers: dict[str, list[str]] = defaultdict(list)
    depth: dict[str, int] = {}
    for name in TopologicalSorter(waits).static_order():
        depth[name] = 1 + max((depth[before] for before in waits[name]), default=0)
        for before in waits[name]:
            followers[before].append(name)
    ready = [(depth[name], name) for name, before in waits.items() if not before]
    heapq.heapify(ready)
    running: list[tuple[float, str]] = []
    now = 0.0
    while ready or running:
        while ready and len(running) < threads:
            _, name = heapq.heappop(ready)
            heapq.heappush(running, (now + seconds[name], name))
        now, done = heapq.heappop(running)
        for name in followers[done]:
            waits[name].discard(done)
            if not waits[name]:
                heapq.heappush(ready, (depth[name], name))
    return now


def graph(manifest: Any, selected: Iterable[str]) -> dict[str, set[str]]:
    """Return which nodes each node waits for in `dbt build`: a model also for the tests of what it reads.

    Args:
        manifest: dbt's manifest.
        selected: ids of the nodes that are built; the way through others is kept.
    """
    from dbt.compilation import Linker
    from dbt.graph.graph import Graph

    chosen: Any = set(selected)
    linker = Linker()
    linker.link_graph(manifest)
    linker.add_test_edges(manifest)
    subset = Graph(linker.graph).get_subset_graph(chosen).graph
    return {name: set(subset.predecessors(name)) for name in subset}


def threads() -> int:
    """Return how many threads dbt's last invocation had: those of the profile, unless an option said more."""
    from dbt.adapters.factory import FACTORY

    (adapter,) = FACTORY.adapters.values()
    made: Any = adapter
    return int(made.config.threads)


def duration(seconds: float) -> str:
    """Return a time for people: in minutes, or in seconds where it is less than one."""
    return f"{seconds / MINUTE:.1f} min" if seconds >= MINUTE else f"{seconds:.1f} s"


def _samples(documents: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Return the execution times of each node, each under what names the execution."""
    samples: dict[str, dict[str, float]] = defaultdict(dict)
    for number, document in enumerate(documents):
        for result in document["results"]:
            if result["status"] in WHOLE:
                began = next((str(step["started_at"]) for step in result.get("timing") or ()), f"run {number}")
                samples[result["unique_id"]][began] = float(result["execution_time"])
    return samples


def _parsed(content: bytes) -> dict[str, Any] | None:
    """Return a run_results.json; None for one that is damaged."""
    try:
        document = json.loads(content)
        return document if isinstance(document["results"], list) else None
    except (ValueError, KeyError, TypeError):
        return None


def _nodes(count: int) -> str:
    return f"{count} node{'s' * (count != 1)}"
