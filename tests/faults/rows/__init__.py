"""The rows of the matrix, by what is struck; importing them collects them."""

from tests.faults.rows import cancelling, children, parents, pending, twice

__all__ = ["cancelling", "children", "parents", "pending", "twice"]
