"""The warehouse before dbt starts: a target in, one clear error where it does not answer. For a build and a plan."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from flows.transform import duckdb_files
from flows.warehouse.reading import query
from flows.warehouse.targets import DuckDB, Target


@contextmanager
def reachable(target: Target) -> Iterator[None]:
    """The warehouse, found to answer: one message instead of one per node.

    Raises:
        PlatformError: it does not.
    """
    if isinstance(target, DuckDB):
        with duckdb_files.ready(target):
            yield
        return
    query(target, "select 1")
    yield
