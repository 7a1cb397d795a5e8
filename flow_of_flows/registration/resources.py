"""Writes items to the Prefect API: one client for each kind of resource.

`write` creates or replaces, and may be called again. `remove` accepts that the resource may be gone already.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Protocol
from uuid import UUID

from prefect.blocks.core import Block
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import (
    BlockDocumentCreate,
    BlockDocumentUpdate,
    DeploymentCreate,
    DeploymentScheduleCreate,
    VariableUpdate,
    WorkPoolCreate,
    WorkPoolUpdate,
)
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkQueueFilter,
    WorkQueueFilterId,
)
from prefect.client.schemas.objects import TERMINAL_STATES
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectNotFound

from flow_of_flows.registration import ownership
from flow_of_flows.registration.plan import Item, ResourceKind

# An action names its block by id, and a block has one once it is written: until then `block type/name` stands for it.
BY_NAME = "block "
# Fields of a deployment that its labels hold.
MARKS = ("owner", "labels", "registered_schedules")
NOT_OVER = FlowRunFilterStateType(not_any_=sorted(TERMINAL_STATES))


class ResourceClient(Protocol):
    """Writes one kind of resource."""

    async def write(self, client: PrefectClient, item: Item) -> None:
        """Create the resource, or replace it.

        Args:
            client: client of the API.
            item: the desired item.
        """

    async def remove(self, client: PrefectClient, item: Item) -> None:
        """Delete the resource.

        Args:
            client: client of the API.
            item: the current item.
        """


async def _mark(client: PrefectClient, item: Item, of: UUID) -> None:
    """Write the mark of an object that has no field for it; delete it if the item has no owner."""
    owner = item.fields.get("owner")
    if owner is None:
        await _unmark(client, item)
        return
    variable = ownership.variable(item.kind, item.name, owner, of)
    if await client.read_variable_by_name(variable.name) is None:
        await client.create_variable(variable)
    else:
        await client.update_variable(VariableUpdate(name=variable.name, value=variable.value, tags=variable.tags))


async def _unmark(client: PrefectClient, item: Item) -> None:
    with suppress(ObjectNotFound):
        await client.delete_variable_by_name(ownership.variable_name(item.kind, item.name))


def _described(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields with description and owner as the one text that the API keeps."""
    others = {name: value for name, value in fields.items() if name not in ("description", "owner")}
    return {**others, "description": ownership.signed(fields.get("description"), fields.get("owner"))}


class Blocks:
    """Block documents, and the block types that they need."""

    async def write(self, client: PrefectClient, item: Item) -> None:
        """Create it, or replace its values."""
        slug, _, name = item.name.partition("/")
        data = dict(item.fields["data"])
        try:
            found = await client.read_block_document_by_name(name, slug, include_secrets=False)
        except ObjectNotFound:
            await Block.get_block_class_from_key(slug).aregister_type_and_schema(client=client)
            kind = await client.read_block_type_by_slug(slug)
            schema = await client.get_most_recent_block_schema_for_block_type(kind.id)
            if schema is None:
                raise
            document = BlockDocumentCreate(name=name, data=data, block_type_id=kind.id, block_schema_id=schema.id)
            found = await client.create_block_document(document)
        else:
            await client.update_block_document(found.id, BlockDocumentUpdate(data=data, merge_existing_data=False))
        await _mark(client, item, found.id)

    async def remove(self, client: PrefectClient, item: Item) -> None:
        """Delete it by its type and name, with its mark."""
        slug, _, name = item.name.partition("/")
        with suppress(ObjectNotFound):
            found = await client.read_block_document_by_name(name, slug, include_secrets=False)
            await client.delete_block_document(found.id)
        await _unmark(client, item)


class Pools:
    """The work pool with its base job template."""

    async def write(self, client: PrefectClient, item: Item) -> None:
        """Create it, or replace template, limit and description; whether it is paused stays as it is."""
        fields = _described(item.fields)
        if item.id is None:
            await client.create_work_pool(WorkPoolCreate(name=item.name, **fields), overwrite=True)
            return
        del fields["type"]
        await client.update_work_pool(item.name, WorkPoolUpdate(**fields))

    async def remove(self, client: PrefectClient, item: Item) -> None:
        """Delete it by its name."""
        with suppress(ObjectNotFound):
            await client.delete_work_pool(item.name)


class Queues:
    """Work queues of a pool, named `pool/queue`."""

    async def write(self, client: PrefectClient, item: Item) -> None:
        """Create it, or set its limit and priority; whether it is paused stays as it is."""
        pool, _, name = item.name.partition("/")
        try:
            found = await client.read_work_queue_by_name(name, pool)
        except ObjectNotFound:
            await client.create_work_queue(name, work_pool_name=pool, **_described(item.fields))
            return
        await client.update_work_queue(found.id, **_described(item.fields))

    async def remove(self, client: PrefectClient, item: Item) -> None:
        """Delete it, unless somebody has started a run in it meanwhile, which no worker would find."""
        pool, _, name = item.name.partition("/")
        with suppress(ObjectNotFound):
            found = await client.read_work_queue_by_name(name, pool)
            runs = await client.read_flow_runs(
                flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=NOT_OVER)),
                work_queue_filter=WorkQueueFilter(id=WorkQueueFilterId(any_=[found.id])),
                limit=1,
            )
            if not runs:
                await client.delete_work_queue_by_id(found.id)


class Deployments:
    """Deployments with their schedules."""

    async def write(self, client: PrefectClient, item: Item) -> None:
        """Create it or replace it, with all its schedules, under the id that it has; paused stays paused."""
        flow, _, name = item.name.partition("/")
        fields = {key: value for key, value in item.fields.items() if key not in MARKS}
        schedules = [DeploymentScheduleCreate.model_validate(one) for one in fields.pop("schedules")]
        flow_id = await client.create_flow_from_name(flow)
        created = DeploymentCreate(
            flow_id=flow_id, name=name, schedules=schedules, labels=ownership.to_labels(item.fields), **fields
        )
        # Prefect's own method leaves out the labels.
        body = created.model_dump(mode="json", include=created.model_fields_set)
        await client.request("POST", "/deployments/", json=body)

    async def remove(self, client: PrefectClient, item: Item) -> None:
        """Delete it by its name."""
        with suppress(ObjectNotFound):
            found = await client.read_deployment_by_name(item.name)
            await client.delete_deployment(found.id)


class Automations:
    """Automations; their names need not be unique, so that only one with the owner's mark is touched."""

    async def write(self, client: PrefectClient, item: Item) -> None:
        """Create it, or replace it."""
        automation = AutomationCore.model_validate(await self._with_blocks(client, item))
        for found in await self._found(client, item):
            return await client.update_automation(found, automation)
        await client.create_automation(automation)
        return None

    async def remove(self, client: PrefectClient, item: Item) -> None:
        """Delete it by its id, or by its name and mark."""
        for found in await self._found(client, item):
            await client.delete_automation(found)

    async def _with_blocks(self, client: PrefectClient, item: Item) -> dict[str, Any]:
        """Return the fields with the ids of blocks that were written after the plan was made."""
        actions = []
        for action in item.fields["actions"]:
            kind, _, name = str(action.get("block_document_id", "")).removeprefix(BY_NAME).partition("/")
            if name:
                block = await client.read_block_document_by_name(name, kind, include_secrets=False)
                actions.append({**action, "block_document_id": str(block.id)})
            else:
                actions.append(action)
        return {**_described(item.fields), "actions": actions}

    async def _found(self, client: PrefectClient, item: Item) -> list[UUID]:
        """Return the id of the automation that was read, or the ids of those with its name and owner."""
        if item.id is not None:
            return [item.id]
        named = await client.read_automations_by_name(item.name)
        return [one.id for one in named if ownership.unsigned(one.description)[1] == item.fields["owner"]]


RESOURCES: dict[ResourceKind, ResourceClient] = {
    ResourceKind.BLOCK: Blocks(),
    ResourceKind.POOL: Pools(),
    ResourceKind.QUEUE: Queues(),
    ResourceKind.DEPLOYMENT: Deployments(),
    ResourceKind.AUTOMATION: Automations(),
}
