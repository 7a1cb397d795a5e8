"""New lines of the steps' logs: a run as it is now in, the lines that were not there before out.

The API gives the whole log of a step with each answer, and only the end of a long one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from flow_of_flows.dbt_cloud.models import CloudRun, CloudStep

_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


@dataclass
class Lines:
    """What has been seen of each step's log, by its index."""

    seen: dict[int, list[str]] = field(default_factory=dict)

    def new(self, run: CloudRun) -> Iterator[tuple[CloudStep, str]]:
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
    """How many of the lines were there before; a log that was cut at its beginning begins within them."""
    longest = min(len(before), len(now))
    return next((size for size in range(longest, 0, -1) if before[-size:] == now[:size]), 0)
