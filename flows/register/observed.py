"""What a Prefect API has, as items: reads only. Called by `flows.register.registration`."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar
from uuid import UUID

from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags
from prefect.client.schemas.objects import WorkPool
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound

from flows.register import automations
from flows.register.plan import Item, Kind
from flows.register.reach import MANY, Api
from flows.register.wanted import SCHEDULE, TAG

T = TypeVar("T")


async def found(api: Api, wanted: Sequence[Item], *, pool: str, mark: str) -> list[Item]:
    """What is there of what is wanted, and what is ours though nothing wants it any more."""
    names = {kind: [item.name for item in wanted if item.kind is kind] for kind in Kind}
    items: list[Item | None] = [await _limit(api, name) for name in names[Kind.LIMIT]]
    items += [await _block(api, name) for name in names[Kind.BLOCK]]
    items += [await _queue(api, name) for name in names[Kind.QUEUE]]
    items += await _deployments(api, names[Kind.DEPLOYMENT], pool)
    items += await _automations(api, names[Kind.AUTOMATION], mark)
    return [item for item in items if item]


async def work_pool(api: Api, name: str) -> Item | None:
    """The work pool of that name."""
    pool = await _or_none(api, lambda: api.client.read_work_pool(name))
    return _pool(pool) if pool else None


def _pool(pool: WorkPool) -> Item:
    fields = pool.model_dump(mode="json", include={"type", "base_job_template", "concurrency_limit"})
    return Item(Kind.POOL, pool.name, fields, pool.id)


async def _limit(api: Api, name: str) -> Item | None:
    limit = await _or_none(api, lambda: api.client.read_global_concurrency_limit_by_name(name))
    return Item(Kind.LIMIT, name, {"limit": limit.limit}, limit.id) if limit else None


async def _block(api: Api, name: str) -> Item | None:
    kind, _, own = name.partition("/")
    # With its secrets: to see whether they changed, and to put them back.
    block = await _or_none(api, lambda: api.client.read_block_document_by_name(own, kind, include_secrets=True))
    return Item(Kind.BLOCK, name, {"data": block.data}, block.id) if block else None


async def _queue(api: Api, name: str) -> Item | None:
    pool, _, own = name.partition("/")
    queue = await _or_none(api, lambda: api.client.read_work_queue_by_name(own, pool))
    fields = queue.model_dump(include={"concurrency_limit", "priority"}) if queue else {}
    return Item(Kind.QUEUE, name, fields, queue.id) if queue else None


async def _deployments(api: Api, names: Sequence[str], pool: str) -> list[Item]:
    """Those that are wanted, whoever made them, and those with our tag in our pool."""
    flows: dict[UUID, str] = {}
    items: list[Item | None] = [await _named(api, name) for name in names]
    tagged = DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG]))
    ours = await api.all(
        lambda offset: api.client.read_deployments(deployment_filter=tagged, limit=MANY, offset=offset)
    )
    for deployment in (one for one in ours if one.work_pool_name == pool):
        if deployment.flow_id not in flows:
            flow = await api.call(functools.partial(api.client.read_flow, deployment.flow_id))
            flows[deployment.flow_id] = flow.name
        name = f"{flows[deployment.flow_id]}/{deployment.name}"
        if name not in names:
            items.append(_deployment(name, deployment, ours=True))
    return [item for item in items if item]


async def _named(api: Api, name: str) -> Item | None:
    deployment = await _or_none(api, lambda: api.client.read_deployment_by_name(name))
    return _deployment(name, deployment) if deployment else None


def _deployment(name: str, deployment: DeploymentResponse, *, ours: bool = False) -> Item:
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
    }
    return Item(Kind.DEPLOYMENT, name, fields, deployment.id, ours)


async def _automations(api: Api, names: Sequence[str], mark: str) -> list[Item]:
    """Only ours: another's automation of the same name is not touched."""
    found = await api.all(lambda offset: api.client.read_automations(limit=MANY, offset=offset))
    return [
        Item(
            Kind.AUTOMATION,
            automation.name,
            automations.fields(automation),
            automation.id,
            ours=automation.name not in names,
        )
        for automation in found
        if automation.description.endswith(mark)
    ]


async def _or_none(api: Api, call: Callable[[], Awaitable[T]]) -> T | None:
    try:
        return await api.call(call)
    except ObjectNotFound:
        return None
