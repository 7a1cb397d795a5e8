"""The hubspot child: Airbyte loads HubSpot's contacts, companies and deals into the warehouse."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from flow_of_flows import ChildReport, child
from flow_of_flows.airbyte import sync_connection


@child("hubspot")
def hubspot(limit_minutes: Annotated[int | None, Field(ge=1, le=24 * 60)] = None) -> ChildReport:
    """Sync HubSpot's contacts, companies and deals with Airbyte.

    Args:
        limit_minutes: Longest wait for the sync, which is cancelled after it; unset: FLOWS_AIRBYTE_LIMIT_MINUTES.
    """
    return sync_connection(limit_minutes)
