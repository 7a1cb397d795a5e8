"""The rows of the matrix, by what is struck; importing them collects them."""

from tests.faults.rows import (
    cancelling,
    children,
    clocks,
    locks,
    nodes,
    parents,
    parts,
    pending,
    plain,
    schedules,
    sweeping,
    systems,
    transform,
    twice,
)

__all__ = [
    "cancelling",
    "children",
    "clocks",
    "locks",
    "nodes",
    "parents",
    "parts",
    "pending",
    "plain",
    "schedules",
    "sweeping",
    "systems",
    "transform",
    "twice",
]
