"""The current state of a Prefect API, as items. Only reads."""

from __future__ import annotations

import functools
from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags
from prefect.client.schemas.objects import WorkPool
from prefect.client.schemas.responses import DeploymentResponse

from flow_of_flows.prefect_api.client import MANY, PrefectApi
from flow_of_flows.registration import alerting, ownership
from flow_of_flows.registration.desired import SCHEDULE, TAG
from flow_of_flows.registration.plan import Item, ResourceKind
from flow_of_flows.registration.prefect_yaml import AS_SET


async def read(api: PrefectApi, desired: Sequence[Item], *, pool: str, owners: Collection[str]) -> list[Item]:
    """Return the current state of the desired items, and of what may be the owner's and is no longer desired.

    Args:
        api: the API to read.
        desired: the desired items; automations of these names are returned whoever registered them.
        pool: the registration's work pool: deployments in it with our tag and without a mark are returned.
        owners: names of who registers: everything with their marks is returned.
    """
    names = {kind: [item.name for item in desired if item.kind is kind] for kind in ResourceKind}
    items: list[Item | None] = [await _block(api, name) for name in names[ResourceKind.BLOCK]]
    items += [await _queue(api, name) for name in names[ResourceKind.QUEUE]]
    items += await _deployments(api, names[ResourceKind.DEPLOYMENT], pool, owners)
    items += await _automations(api, names[ResourceKind.AUTOMATION], owners)
    return [item for item in items if item]


async def work_pool(api: PrefectApi, name: str) -> Item | None:
    """Return the work pool of that name; None if there is none.

    Args:
        api: the API to read.
        name: name of the work pool.
    """
    pool = await api.find(lambda: api.client.read_work_pool(name))
    return _pool(pool) if pool else None


def _pool(pool: WorkPool) -> Item:
    fields = pool.model_dump(mode="json", include={"type", "base_job_template", "concurrency_limit"})
    notes = _stays("is_paused") if pool.is_paused else ()
    return Item(ResourceKind.POOL, pool.name, fields | _described(pool.description), pool.id, notes=notes)


def _described(description: str | None) -> dict[str, Any]:
    text, owner = ownership.unsigned(description)
    return {"description": text, "owner": owner}


async def _owner(api: PrefectApi, kind: ResourceKind, name: str, of: UUID) -> str | None:
    """Return the owner of an object without a field for its mark."""
    variable = await api.call(lambda: api.client.read_variable_by_name(ownership.variable_name(kind, name)))
    return ownership.owner_in(variable.value, of) if variable else None


async def pool_owners(api: PrefectApi, name: str, pool: Item | None) -> frozenset[str]:
    """Return the owners of a work pool: by the pool's mark, else by the marks of the automations made for it.

    Args:
        api: the API to read.
        name: name of the work pool.
        pool: the work pool as the API has it; None if there is none.
    """
    if pool and pool.fields["owner"]:
        return frozenset({pool.fields["owner"]})
    named = await api.call(lambda: api.client.read_automations_by_name(alerting.automation_name(name)))
    marked = (ownership.unsigned(automation.description)[1] for automation in named)
    return frozenset(owner for owner in marked if owner)


async def _block(api: PrefectApi, name: str) -> Item | None:
    kind, _, own = name.partition("/")
    # With its secrets: to see whether they changed, and to put them back.
    block = await api.find(lambda: api.client.read_block_document_by_name(own, kind, include_secrets=True))
    if block is None:
        return None
    owner = await _owner(api, ResourceKind.BLOCK, name, block.id)
    return Item(ResourceKind.BLOCK, name, {"data": block.data, "owner": owner}, block.id)


async def _queue(api: PrefectApi, name: str) -> Item | None:
    pool, _, own = name.partition("/")
    queue = await api.find(lambda: api.client.read_work_queue_by_name(own, pool))
    if queue is None:
        return None
    fields = queue.model_dump(include={"concurrency_limit", "priority"})
    notes = _stays("is_paused") if queue.is_paused else ()
    return Item(ResourceKind.QUEUE, name, fields | _described(queue.description), queue.id, notes=notes)


async def _deployments(api: PrefectApi, names: Sequence[str], pool: str, owners: Collection[str]) -> list[Item]:
    """Return the deployments that are desired, whoever created them, and those that may be the owner's."""
    flows: dict[UUID, str] = {}
    items: list[Item | None] = [await _named(api, name) for name in names]
    with_tag = DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG]))
    tagged = await api.all(
        lambda offset: api.client.read_deployments(deployment_filter=with_tag, limit=MANY, offset=offset)
    )
    for deployment in tagged:
        if not _may_be_of(deployment, pool, owners):
            continue
        if deployment.flow_id not in flows:
            flow = await api.call(functools.partial(api.client.read_flow, deployment.flow_id))
            flows[deployment.flow_id] = flow.name
        name = f"{flows[deployment.flow_id]}/{deployment.name}"
        if name not in names:
            items.append(_deployment(name, deployment))
    return [item for item in items if item]


def _may_be_of(deployment: DeploymentResponse, pool: str, owners: Collection[str]) -> bool:
    owner = deployment.labels.get(ownership.LABEL)
    return owner in owners if owner else deployment.work_pool_name == pool


async def _named(api: PrefectApi, name: str) -> Item | None:
    deployment = await api.find(lambda: api.client.read_deployment_by_name(name))
    return _deployment(name, deployment) if deployment else None


def _deployment(name: str, deployment: DeploymentResponse) -> Item:
    limit = deployment.global_concurrency_limit
    fields: dict[str, Any] = {
        "version": deployment.version,
        "description": deployment.description,
        "entrypoint": deployment.entrypoint,
        "path": deployment.path,
        "tags": sorted(deployment.tags),
        "parameters": deployment.parameters,
        "parameter_openapi_schema": deployment.parameter_openapi_schema,
        "enforce_parameter_schema": deployment.enforce_parameter_schema,
        "concurrency_limit": limit.limit if limit else None,
        "schedules": [schedule.model_dump(mode="json", include=SCHEDULE) for schedule in deployment.schedules],
        "pull_steps": deployment.pull_steps or [],
        "work_pool_name": deployment.work_pool_name,
        "work_queue_name": deployment.work_queue_name,
        "job_variables": deployment.job_variables,
        "paused": deployment.paused,
        **ownership.from_labels(deployment.labels),
    }
    notes = _stays("paused") if deployment.paused else ()
    return Item(ResourceKind.DEPLOYMENT, name, fields, deployment.id, notes=notes)


def _stays(field: str) -> tuple[str, ...]:
    return (f"{field}: stays true, {AS_SET}",)


async def _automations(api: PrefectApi, names: Sequence[str], owners: Collection[str]) -> list[Item]:
    """Return the automations with a mark that are desired or the owner's."""
    registered = await api.all(lambda offset: api.client.read_automations(limit=MANY, offset=offset))
    items = [
        Item(
            ResourceKind.AUTOMATION,
            automation.name,
            alerting.current(automation),
            automation.id,
        )
        for automation in registered
    ]
    return [item for item in items if item.fields["owner"] and (item.name in names or item.fields["owner"] in owners)]
