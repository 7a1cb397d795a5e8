"""A child that says when its first line runs, and then waits; for tests.benchmarks.pod_start."""

from __future__ import annotations

from pathlib import Path

from flow_of_flows.child_flow import child
from flow_of_flows.child_report import ChildReport


@child("held")
def held(began: str, go: str) -> ChildReport:
    """Say so, and wait.

    Args:
        began: a named pipe; gets a line at once.
        go: a named pipe; this child ends when it has been written to.
    """
    Path(began).write_text("begun")
    Path(go).read_text()
    return ChildReport(summary="held")
