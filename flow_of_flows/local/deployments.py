"""Registers the deployments of prefect.yaml with an embedded server: a file in, deployment ids out.

Work pools and schedules are left out: children are forked here, and nothing runs unasked on a laptop.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from prefect import Flow
from prefect.client.orchestration import PrefectClient

from flow_of_flows.project import current_project
from flow_of_flows.registration.prefect_yaml import Deployment, read

__all__ = ["Deployment", "read", "register"]


async def register(
    client: PrefectClient, flows: Mapping[Deployment, Flow[..., Any]], *, suffix: str = ""
) -> dict[UUID, Deployment]:
    """Create what is missing and update what differs: one read when nothing does.

    Args:
        client: of the embedded server.
        flows: the deployments of prefect.yaml with their flows.
        suffix: end of the name of every deployment, as the steps of pipelines have it.
    """
    known = {(found.name, found.entrypoint): found for found in await client.read_deployments(limit=200)}
    registered: dict[UUID, Deployment] = {}
    for deployment, flow in flows.items():
        wanted = _request(deployment, flow) | {"name": f"{deployment.name}{suffix}"}
        found = known.get((wanted["name"], deployment.entrypoint))
        if found and all(getattr(found, name) == value for name, value in wanted.items()):
            registered[found.id] = deployment
            continue
        flow_id = await client.create_flow_from_name(flow.name)
        registered[await client.create_deployment(flow_id=flow_id, **wanted)] = deployment
    return registered


def _request(deployment: Deployment, flow: Flow[..., Any]) -> dict[str, Any]:
    """What the embedded server is asked to keep of a deployment."""
    return {
        "entrypoint": deployment.entrypoint,
        "tags": sorted(deployment.tags),
        "parameters": deployment.parameters,
        "description": deployment.description or flow.description,
        "parameter_openapi_schema": flow.parameters.model_dump(),
        "enforce_parameter_schema": True,
        "concurrency_limit": deployment.concurrency_limit,
        "path": str(current_project().folder),
    }
