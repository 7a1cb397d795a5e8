"""Syncs of Airbyte: a connection in, rows in the warehouse and their count out.

`client` has the token and is the only caller of the API, `job` holds what it answers, `errors` translates its errors,
and `sync` is the work of the child: one sync from its start to its end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flow_of_flows.child_report import ChildReport

__all__ = ["sync_connection"]


def sync_connection(limit_minutes: int | None = None) -> ChildReport:
    """See `flow_of_flows.airbyte.sync`, which is imported here because its client is large."""
    from flow_of_flows.airbyte import sync

    return sync.sync_connection(limit_minutes)
