"""New lines of the steps' logs: a run as it is now in, the lines that were not there before out. Called by `follow`.

The API gives the whole log of a step with each answer, and only the end of a long one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from flows.transform.cloud.answers import Run, Step

_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
# So many lines are enough to find the place where a log that was cut at its beginning goes on.
OVERLAP = 5


@dataclass
class Lines:
    """What has been seen of each step's log, by its index."""

    seen: dict[int, list[str]] = field(default_factory=dict)

    def new(self, run: Run) -> Iterator[tuple[Step, str]]:
        """The new lines, by step; an unfinished last line waits until it is finished, or its step is."""
        for step in run.steps:
            lines = _COLOURS.sub("", step.logs).splitlines()
            if lines and not step.logs.endswith("\n") and not step.status.is_final:
                lines.pop()
            before = self.seen.get(step.index, [])
            for line in lines[_known(before, lines) :]:
                if line.strip():
                    yield step, line.rstrip()
            if lines:
                self.seen[step.index] = lines


def _known(before: list[str], now: list[str]) -> int:
    """How many of the lines were there before."""
    if now[: len(before)] == before:
        return len(before)
    end = before[-OVERLAP:]
    for place in range(len(now) - len(end), -1, -1):
        if now[place : place + len(end)] == end:
            return place + len(end)
    return 0
