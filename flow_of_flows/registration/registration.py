"""`flows register`, step by step: check everything, read the current state, plan, and apply or roll back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
from prefect.exceptions import PrefectException, PrefectHTTPStatusError
from prefect.workers.utilities import get_default_base_job_template_for_infrastructure_type

from flow_of_flows.errors import ConfigurationError, FlowsError, PlatformError
from flow_of_flows.prefect_api.client import KUBERNETES, PrefectApi, connected
from flow_of_flows.registration import config, current, desired, prefect_yaml, step_deployments
from flow_of_flows.registration.alerting import alerting, restart_automation
from flow_of_flows.registration.config import Request
from flow_of_flows.registration.desired import of_secrets
from flow_of_flows.registration.ownership import OwnershipClaim, settled
from flow_of_flows.registration.plan import Action, Item, Plan, ResourceChange, ResourceKind, lines, plan
from flow_of_flows.registration.prefect_yaml import with_switches
from flow_of_flows.registration.resources import RESOURCES
from flow_of_flows.retrying import detail
from flow_of_flows.settings import Settings

logger = logging.getLogger(__name__)
CLIENT_ERROR, SERVER_ERROR = 400, 500
# Per resource: a process that receives SIGTERM has half a minute for all of them.
ROLLBACK_SECONDS = 5.0
FAILURES = (PrefectException, httpx.HTTPError, FlowsError)


@dataclass
class PlanApplication:
    """The application of one plan, with what a rollback needs.

    Attributes:
        started: changes that were made, or whose result is unknown; a rollback undoes the last one first.
    """

    api: PrefectApi
    started: list[ResourceChange] = field(default_factory=list)

    async def run(self, changes: Plan) -> None:
        """Apply every change, in order.

        Raises:
            FlowsError: a change fails; the changes before it are rolled back, and the message says so.
        """
        for change in changes:
            if change.action is Action.UNCHANGED:
                continue
            self.started.append(change)
            try:
                await self._apply(change, self.api)
            except FAILURES as error:
                if change.action is not Action.CREATE and _is_rejection(error):
                    # The API rejected the change: there is nothing to roll back. (A creation is undone all the same.)
                    self.started.pop()
                raise self._failure(change, error, await self._roll_back()) from error
            except asyncio.CancelledError:
                # The process must stop, for example at the deadline of its Job. The rollback must finish.
                await asyncio.shield(self._roll_back())
                raise

    async def _apply(self, change: ResourceChange, api: PrefectApi) -> None:
        resource = RESOURCES[change.kind]
        if change.after is not None:
            after = change.after
            await api.call(lambda: resource.write(api.client, after))
        elif change.before is not None:
            before = change.before
            await api.call(lambda: resource.remove(api.client, before))

    async def _roll_back(self) -> tuple[str, ...]:
        """Undo the started changes, last first, and return the names of those that could not be undone."""
        failed, brief = [], PrefectApi(self.api.client, seconds=ROLLBACK_SECONDS)
        for change in reversed(self.started):
            try:
                await self._apply(
                    ResourceChange(change.action, change.kind, change.name, change.after, change.before), brief
                )
            except FAILURES as error:
                logger.warning("%s %s is not put back: %s", change.kind, change.name, _message(error))
                failed.append(f"{change.kind} {change.name}")
        return tuple(failed)

    def _failure(self, change: ResourceChange, error: Exception, failed: tuple[str, ...]) -> FlowsError:
        rollback = (
            f"Not put back: {', '.join(failed)}"
            if failed
            else "What was changed before it is put back, and the former release goes on working"
        )
        family = ConfigurationError if _is_wrong_input(error) else PlatformError
        return family(
            f"Registration stopped at {change.action} {change.kind} {change.name}: "
            f"{_message(error).rstrip('.')}. {rollback}",
            location=self.api.url,
            hint="mend the cause, then register again",
        )


def _message(error: Exception) -> str:
    if isinstance(error, FlowsError):
        return error.message
    return detail(error)


def _is_rejection(error: BaseException | None) -> bool:
    while error is not None and not isinstance(error, PrefectHTTPStatusError):
        error = error.__cause__
    return error is not None


def _is_wrong_input(error: Exception) -> bool:
    if isinstance(error, PrefectHTTPStatusError):
        return CLIENT_ERROR <= error.response.status_code < SERVER_ERROR
    return isinstance(error, ConfigurationError)


async def register(
    settings: Settings, *, only_plan: bool, seconds: float, say: Callable[[str], None], take_over: bool = False
) -> Plan:
    """Make the Prefect API match prefect.yaml and the registration file.

    Args:
        settings: where the files are.
        only_plan: print what would change, and change nothing.
        seconds: how long to wait for the API each time it does not answer.
        say: takes each line of the plan.
        take_over: make another owner's objects of the same names this owner's.

    Raises:
        ConfigurationError: something in the files does not fit, another owner has some of it, or the API refuses it;
            nothing changes then.
        PlatformError: the API fails; the changes are rolled back.
    """
    request = config.read(settings)
    entries = prefect_yaml.read(settings.deployments, image=request.image)
    desired.check_names(entries, request)
    suffix = settings.deployments_suffix
    flows = desired.loaded(entries)
    deployments = [desired.deployment(entry, flow, request, suffix=suffix) for entry, flow in flows.items()]
    others = [restart_automation(request), *of_secrets(settings, say, owner=request.owner)]
    async with connected(seconds=seconds) as api:
        others += await alerting(api, settings, request)
        pool, current_pool = await _pools(api, request)
        template = pool.fields.get("base_job_template") or (
            current_pool.fields["base_job_template"] if current_pool else {}
        )
        variables = {item.name: item.fields["job_variables"] for item in deployments}
        desired.check_job_variables(variables, template, pool.name)
        desired_items = [*others, pool, *desired.queues(request), *deployments]
        claim, current_items = await _claimed(
            api, request, desired_items, config.earlier_owners(settings, request), current_pool
        )
        current_items = [*([current_pool] if current_pool else []), *current_items]
        current_items = list(settled(desired_items, current_items, claim, take_over=take_over, where=api.url))
        changes = plan(*with_switches(desired_items, current_items))
        named = step_deployments.named_in(flows.values(), settings)
        # Not refused: another team may register its deployment later.
        for error in await step_deployments.missing(api, named, (item.name for item in deployments)):
            say(f"Warning: {error}")
        missing = desired.missing_sweeper(entries, request)
        for line in (f"Prefect API {api.url}, work pool {pool.name}", *lines(changes), *missing):
            say(line)
        if not only_plan:
            await PlanApplication(api).run(changes)
    return changes


async def _claimed(
    api: PrefectApi,
    request: Request,
    desired_items: Sequence[Item],
    earlier: frozenset[str],
    current_pool: Item | None,
) -> tuple[OwnershipClaim, list[Item]]:
    """Return who registers and who owns the work pools, and the current items."""
    pool, owners = request.work_pool.name, {request.owner, *earlier}
    current_items = await current.read(api, desired_items, pool=pool, owners=owners)
    deployed = (item for item in current_items if item.kind is ResourceKind.DEPLOYMENT and item.fields["owner"] is None)
    others = {str(name) for item in deployed if (name := item.fields["work_pool_name"])}
    pools = {pool: await current.pool_owners(api, pool, current_pool)}
    for name in sorted(others - {pool}):
        pools[name] = await current.pool_owners(api, name, await current.work_pool(api, name))
    is_marked = bool(current_pool and current_pool.fields["owner"])
    return OwnershipClaim(request.owner, earlier, pool, pools, is_marked), current_items


async def _pools(api: PrefectApi, request: Request) -> tuple[Item, Item | None]:
    """Return the desired and the current work pool; a new pool without a template gets the default of its type.

    Raises:
        ConfigurationError: the pool has another type, which cannot be changed.
    """
    pool, current_pool = desired.pool(request), await current.work_pool(api, request.work_pool.name)
    if current_pool is None:
        return (pool if request.has_pool else replace(pool, fields=await _default_pool(request))), None
    kind = pool.fields.get("type", current_pool.fields["type"])
    if kind != current_pool.fields["type"]:
        raise ConfigurationError(
            f"Work pool {pool.name} has the type {current_pool.fields['type']}, not {kind}",
            location=api.url,
            hint="choose another name for the pool, or delete that one: the type of a pool cannot be changed",
        )
    return pool, current_pool


async def _default_pool(request: Request) -> dict[str, Any]:
    kind = request.work_pool.type or KUBERNETES
    template = await get_default_base_job_template_for_infrastructure_type(kind)
    if template is None:
        raise ConfigurationError(
            f"Unknown type of work pool: {kind}",
            location=f"work pool {request.work_pool.name}",
            hint="install the package that brings it (the extra kubernetes), or make the pool in the Prefect UI",
        )
    return {"type": kind, "base_job_template": template, "owner": request.owner}
