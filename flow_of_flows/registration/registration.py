"""`flows register`, step by step: check everything, read what is there, plan, and converge."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from prefect.workers.utilities import get_default_base_job_template_for_infrastructure_type

from flow_of_flows.errors import ConfigurationError
from flow_of_flows.prefect_api.client import PrefectApi, reached
from flow_of_flows.registration import config as request
from flow_of_flows.registration import current as observed
from flow_of_flows.registration import desired as wanted
from flow_of_flows.registration import prefect_yaml as declared
from flow_of_flows.registration.alerting import alerting, revival
from flow_of_flows.registration.apply import Convergence
from flow_of_flows.registration.desired import of_secrets
from flow_of_flows.registration.ownership import OwnershipClaim, settled
from flow_of_flows.registration.plan import Item, Plan, ResourceKind, lines, plan
from flow_of_flows.registration.schedules import with_switches
from flow_of_flows.settings import Settings

KUBERNETES = "kubernetes"


async def register(
    settings: Settings, *, only_plan: bool, seconds: float, say: Callable[[str], None], take_over: bool = False
) -> Plan:
    """Make the Prefect API match prefect.yaml and the registration file.

    Args:
        settings: where the files are.
        only_plan: say what would change, and change nothing.
        seconds: for how long to wait for the API, each time that it does not answer.
        say: takes each line of the plan.
        take_over: make another owner's objects of the same names this owner's.

    Raises:
        ConfigurationError: something in the files does not fit, another owner has some of it, or the API refuses it;
            nothing is changed then.
        PlatformError: the API does not do its part; what was changed is put back.
    """
    asked = request.read(settings)
    entries = declared.read(settings.deployments, image=asked.image)
    wanted.check_names(entries, asked)
    suffix = settings.deployments_suffix
    deployments = [
        wanted.deployment(entry, flow, asked, suffix=suffix) for entry, flow in wanted.loaded(entries).items()
    ]
    others = [revival(asked), *of_secrets(settings, say, owner=asked.owner)]
    async with reached(seconds=seconds) as api:
        others += await alerting(api, settings, asked)
        pool, there = await _pools(api, asked)
        template = pool.fields.get("base_job_template") or (there.fields["base_job_template"] if there else {})
        variables = {item.name: item.fields["job_variables"] for item in deployments}
        wanted.check_job_variables(variables, template, pool.name)
        everything = [*others, pool, *wanted.queues(asked), *deployments]
        claim, found = await _claimed(api, asked, everything, request.earlier_owners(settings, asked), there)
        found = [*([there] if there else []), *found]
        found = list(settled(everything, found, claim, take_over=take_over, where=api.url))
        changes = plan(*with_switches(everything, found))
        for line in (f"Prefect API {api.url}, work pool {pool.name}", *lines(changes)):
            say(line)
        if not only_plan:
            await Convergence(api).run(changes)
    return changes


async def _claimed(
    api: PrefectApi,
    asked: request.Request,
    everything: Sequence[Item],
    earlier: frozenset[str],
    there: Item | None,
) -> tuple[OwnershipClaim, list[Item]]:
    """Return who registers and whose the work pools are, and what the API has."""
    pool, owners = asked.work_pool.name, {asked.owner, *earlier}
    found = await observed.found(api, everything, pool=pool, owners=owners)
    deployed = (item for item in found if item.kind is ResourceKind.DEPLOYMENT and item.fields["owner"] is None)
    others = {str(name) for item in deployed if (name := item.fields["work_pool_name"])}
    pools = {pool: await observed.pool_owners(api, pool, there)}
    for name in sorted(others - {pool}):
        pools[name] = await observed.pool_owners(api, name, await observed.work_pool(api, name))
    is_marked = bool(there and there.fields["owner"])
    return OwnershipClaim(asked.owner, earlier, pool, pools, is_marked), found


async def _pools(api: PrefectApi, asked: request.Request) -> tuple[Item, Item | None]:
    """The pool as wanted and as found; a new pool without a template gets its type's own.

    Raises:
        ConfigurationError: there is one of another type, which cannot be changed.
    """
    pool, there = wanted.pool(asked), await observed.work_pool(api, asked.work_pool.name)
    if there is None:
        return (pool if asked.has_pool else replace(pool, fields=await _default_pool(asked))), None
    kind = pool.fields.get("type", there.fields["type"])
    if kind != there.fields["type"]:
        raise ConfigurationError(
            f"Work pool {pool.name} has the type {there.fields['type']}, not {kind}",
            location=api.url,
            hint="choose another name for the pool, or delete that one: the type of a pool cannot be changed",
        )
    return pool, there


async def _default_pool(asked: request.Request) -> dict[str, Any]:
    kind = asked.work_pool.type or KUBERNETES
    template = await get_default_base_job_template_for_infrastructure_type(kind)
    if template is None:
        raise ConfigurationError(
            f"Unknown type of work pool: {kind}",
            location=f"work pool {asked.work_pool.name}",
            hint="install the package that brings it (the extra kubernetes), or make the pool in the Prefect UI",
        )
    return {"type": kind, "base_job_template": template, "owner": asked.owner}
