"""The warehouse before dbt starts: a target in, one clear error where it does not answer. For a build and a plan."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from flow_of_flows.dbt import duckdb_files
from flow_of_flows.settings import TargetName
from flow_of_flows.warehouse.profiles import Output
from flow_of_flows.warehouse.reading import query
from flow_of_flows.warehouse.targets import DbtTarget, DuckDBTarget


@contextmanager
def reachable(target: DbtTarget) -> Iterator[None]:
    """The warehouse, found to answer: one message instead of one per node.

    Raises:
        PlatformError: it does not.
    """
    if isinstance(target, DuckDBTarget):
        with duckdb_files.ready(target):
            yield
        return
    if isinstance(target, Output):
        # Only dbt knows how to connect with it; a DuckDB file is free again afterwards.
        try:
            yield
        finally:
            if target.adapter == TargetName.DUCKDB:
                duckdb_files.release()
        return
    query(target, "select 1")
    yield
