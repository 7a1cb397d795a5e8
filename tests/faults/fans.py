"""What a load was and how it went in; the page, the values for programs and what is not as promised out. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

# Seconds between two looks of a parent at its children, and of the worker at the API.
INTERVAL = 2
READS = "POST /api/flow_runs/filter"
# A read more or less at either end of a wait is no trend.
TOLERANCE = 1.1
Row = tuple[str, list[str]]


@dataclass(frozen=True)
class Size:
    """How much is asked for.

    Attributes:
        children: of the one parent.
        parents: at once, of two children each.
        at_once: limit of the children's queue.
    """

    children: int = 200
    parents: int = 20
    at_once: int = 16

    @property
    def is_whole(self) -> bool:
        """Whether it is what docs/load.md tells of."""
        return self == Size()


@dataclass(frozen=True)
class Fan:
    """How the children of some parents went.

    Attributes:
        parents: end states.
        children: end states, of every attempt.
        seconds: first run created to last run over.
        most: children that were at work at the same time.
        slowest: name of the child that worked longest, and for how many seconds.
        queued: most seconds from the creation of a child until it began.
        requests: of one parent, by path.
        all_requests: of everybody, this harness included.
        waited: seconds for which that parent waited for children.
        memory: most MiB by who.
    """

    parents: Counter[str]
    children: Counter[str]
    seconds: float
    most: int
    slowest: tuple[str, float]
    queued: float
    requests: Counter[str]
    all_requests: int
    waited: float
    memory: dict[str, float] = field(default_factory=dict)

    @property
    def reads(self) -> float:
        """Reads of runs by the parent in each interval in which it waited."""
        return self.requests[READS] / (self.waited / INTERVAL)


def problems(size: Size, fans: Sequence[Fan]) -> list[str]:
    """What is not as promised."""
    wanted = zip(titles(size), fans, ((1, 3), (1, size.children), (size.parents, 2 * size.parents)), strict=True)
    found = [
        f"{title}: {dict(seen.parents)} parents and {dict(seen.children)} children"
        for title, seen, (parents, children) in wanted
        if (seen.parents, seen.children) != (Counter(Completed=parents), Counter(Completed=children))
    ]
    found += [f"{fan.most} children at once, the limit is {size.at_once}" for fan in fans if fan.most > size.at_once]
    two, many, _ = fans
    if many.reads > two.reads * TOLERANCE:
        found.append(f"{many.reads:.2f} reads an interval with {size.children} children, {two.reads:.2f} with 2")
    return found


def titles(size: Size) -> tuple[str, str, str]:
    """What each fan is."""
    return (
        "2 children that work for 60 s, and one behind them",
        f"{size.children} children of one parent",
        f"{size.parents} parents at once, 2 children each",
    )


def page(size: Size, fans: Sequence[Fan], head: str) -> str:
    """The table, and what the parent of most children asked for."""
    counted = ", ".join(f"`{path}` {count}" for path, count in fans[1].requests.most_common(8))
    lines = [
        "# Load",
        "",
        f"{head} Made by `make load`.",
        "",
        f"At most {size.at_once} children run at once (`workPool.concurrencyLimit`); parents look every {INTERVAL} s.",
        "The children do nothing: what is measured is what surrounds them.",
        "",
        f"| | {' | '.join(titles(size))} |",
        "|---|---:|---:|---:|",
        *(f"| {name} | {' | '.join(cells)} |" for name, cells in _rows(fans)),
        "",
        f"The parent of {size.children} children asked for: {counted}.",
    ]
    return "\n".join(lines) + "\n"


def _rows(fans: Sequence[Fan]) -> list[Row]:
    return [
        ("parents completed", [str(each.parents["Completed"]) for each in fans]),
        ("children completed", [str(each.children["Completed"]) for each in fans]),
        ("attempts that did not complete", [str(_lost(each)) for each in fans]),
        ("seconds until all are over", [f"{each.seconds:.0f}" for each in fans]),
        ("children at work at once, most", [str(each.most) for each in fans]),
        ("reads of runs by one parent, for each interval", [f"{each.reads:.2f}" for each in fans]),
        ("requests of one parent", [str(each.requests.total()) for each in fans]),
        ("requests to the API, all", [str(each.all_requests) for each in fans]),
        ("slowest child, from its start (s)", [f"{each.slowest[1]:.0f} ({each.slowest[0]})" for each in fans]),
        ("longest wait of a child for its start (s)", [f"{each.queued:.0f}" for each in fans]),
        *(
            (f"memory of {name} (MiB, most)", [f"{each.memory.get(who, 0):.0f}" for each in fans])
            for who, name in (("parent", "one parent"), ("worker", "the worker"), ("server", "the server"))
        ),
    ]


def _lost(fan: Fan) -> int:
    return fan.children.total() - fan.children["Completed"]


def objects(size: Size, fans: Sequence[Fan]) -> dict[str, Any]:
    """The same for programs."""
    told = [{"what": title, **vars(each), "reads": each.reads} for title, each in zip(titles(size), fans, strict=True)]
    return {"size": vars(size), "fans": told, "problems": problems(size, fans)}
