"""The checks of `flows doctor` on a Prefect API: pool, worker, template, deployments and waiting runs. Only reads.

Each check takes the API and the settings. It returns what it found, or raises what is wrong and how to fix it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterTags,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateName,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, WorkPool, WorkQueue
from prefect.events.filters import EventAnyResourceFilter, EventFilter, EventOccurredFilter
from prefect.exceptions import ObjectNotFound

from flow_of_flows.errors import ConfigurationError, PlatformError
from flow_of_flows.prefect_api.client import MANY, PrefectApi, is_full
from flow_of_flows.registration import config, desired, prefect_yaml, step_deployments
from flow_of_flows.settings import Settings
from flow_of_flows.summary.terminal import REGISTER

Check = Callable[[PrefectApi, Settings], Awaitable[str]]
DIAGNOSIS = "kubernetes.diagnosis"
WAITING = ["Late", "Pending", "InfrastructurePending"]
# A healthy pod starts in about 5 s.
STUCK_AFTER = timedelta(seconds=60)
SHOWN_RUNS = 3


async def _pool(api: PrefectApi, settings: Settings) -> WorkPool:
    try:
        return await api.call(lambda: api.client.read_work_pool(settings.work_pool))
    except ObjectNotFound as error:
        pools = sorted(pool.name for pool in await api.call(lambda: api.client.read_work_pools(limit=MANY)))
        raise ConfigurationError(
            f"There is no work pool {settings.work_pool}",
            location=api.url,
            hint=f"correct FLOWS_WORK_POOL (there are {', '.join(pools) or 'none'}), or {REGISTER}",
        ) from error


async def pool(api: PrefectApi, settings: Settings) -> str:
    """Check that the pool and its queues exist and are not paused, and that no limit can block all children."""
    work_pool = await _pool(api, settings)
    if work_pool.is_paused:
        raise ConfigurationError(
            f"Work pool {work_pool.name} is paused",
            location=api.url,
            hint=f"`prefect work-pool resume {work_pool.name}`",
        )
    if work_pool.concurrency_limit is not None:
        raise ConfigurationError(
            f"Work pool {work_pool.name} runs at most {work_pool.concurrency_limit} at once, pipelines included: "
            "when that many wait for children, no child can start",
            location=api.url,
            hint=f"`prefect work-pool clear-concurrency-limit {work_pool.name}`; the limit belongs to its queue "
            f"{desired.CHILDREN} (workPool.concurrencyLimit of the chart)",
        )
    queues = await _queues(api, settings)
    for queue in queues:
        if queue.is_paused:
            raise ConfigurationError(
                f"Work queue {queue.name} of work pool {work_pool.name} is paused",
                location=api.url,
                hint=f"`prefect work-queue resume {queue.name} --pool {work_pool.name}`",
            )
    limits = [
        f", at most {each.concurrency_limit} of queue {each.name} at once" for each in queues if _is_limited(each)
    ]
    return f"{work_pool.name}, type {work_pool.type}{''.join(limits)}"


async def _queues(api: PrefectApi, settings: Settings) -> list[WorkQueue]:
    return await api.all(
        lambda offset: api.client.read_work_queues(work_pool_name=settings.work_pool, limit=MANY, offset=offset)
    )


def _is_limited(queue: WorkQueue) -> bool:
    return queue.concurrency_limit is not None


async def worker(api: PrefectApi, settings: Settings) -> str:
    """Check that a worker of the pool is online."""
    work_pool = await _pool(api, settings)
    workers = await api.online_workers(work_pool.name)
    if not workers:
        raise PlatformError(
            f"No worker of work pool {work_pool.name} is online",
            location=api.url,
            hint="see `kubectl get pods -l app.kubernetes.io/component=worker` and the log of that pod",
        )
    return f"online: {', '.join(sorted(each.name for each in workers))}"


async def template(api: PrefectApi, settings: Settings) -> str:
    """Check that the pool's template takes the job variables of every deployment."""
    work_pool = await _pool(api, settings)
    request = config.read(settings)
    entries = prefect_yaml.read(settings.deployments, image=request.image)
    job_variables = {entry.name: desired.job_variables(entry, request) for entry in entries}
    desired.check_job_variables(job_variables, work_pool.base_job_template, work_pool.name)
    return f"takes the job variables of all {len(entries)} deployments"


async def deployments(api: PrefectApi, settings: Settings) -> str:
    """Check that every deployment in prefect.yaml is registered, and count the images."""
    tagged = DeploymentFilter(tags=DeploymentFilterTags(all_=[desired.TAG]))
    in_pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[settings.work_pool]))
    registered = await api.all(
        lambda offset: api.client.read_deployments(
            deployment_filter=tagged, work_pool_filter=in_pool, limit=MANY, offset=offset
        )
    )
    names = {settings.deployment_name(entry.name) for entry in prefect_yaml.read(settings.deployments)}
    missing = names - {entry.name for entry in registered}
    if missing:
        raise ConfigurationError(f"Not registered: {', '.join(sorted(missing))}", location=api.url, hint=REGISTER)
    images = Counter(str(entry.job_variables.get("image", "the work pool's own image")) for entry in registered)
    return "; ".join(f"{count} with {image}" for image, count in sorted(images.items()))


async def steps(api: PrefectApi, settings: Settings) -> str:
    """Check that the deployment of every step is in prefect.yaml or on the API."""
    flows = {entry: entry.flow() for entry in prefect_yaml.read(settings.deployments)}
    named = step_deployments.named_in(flows.values(), settings)
    errors = await step_deployments.missing(api, named, step_deployments.declared_in(flows, settings))
    if errors:
        more = f" ({len(errors) - 1} more like it)" if len(errors) > 1 else ""
        raise ConfigurationError(f"{errors[0].message}{more}", location=errors[0].location, hint=errors[0].hint)
    return f"{len({each.deployment for each in named})} deployments are named by steps, and all exist"


async def waiting(api: PrefectApi, settings: Settings) -> str:
    """Check that no run waits for a worker or for its pod."""
    state = FlowRunFilterState(name=FlowRunFilterStateName(any_=WAITING))
    in_pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[settings.work_pool]))
    runs = await api.call(
        lambda: api.client.read_flow_runs(
            flow_run_filter=FlowRunFilter(state=state), work_pool_filter=in_pool, limit=MANY
        )
    )
    full = {queue.name for queue in await _queues(api, settings) if is_full(queue)}
    queued = [run for run in runs if run.state_name == "Late" and run.work_queue_name in full]
    stuck = [run for run in runs if _is_stuck(run) and run not in queued]
    if not stuck:
        slots = f"; {len(queued)} wait for a slot of {', '.join(sorted(full))}" if queued else ""
        return f"none late or stuck{slots}"
    reasons = [await _why(api, run) for run in stuck[:SHOWN_RUNS]]
    more = f", and {len(stuck) - SHOWN_RUNS} more" if len(stuck) > SHOWN_RUNS else ""
    raise PlatformError(
        f"{len(stuck)} wait: {', '.join(reasons)}{more}",
        location=f"work pool {settings.work_pool}",
        hint="see the log of such a run, and `kubectl describe pod -l prefect.io/flow-run-id=ID`",
    )


def _is_stuck(run: FlowRun) -> bool:
    since = run.state.timestamp if run.state else None
    return run.state_name == "Late" or (since is not None and datetime.now(UTC) - since > STUCK_AFTER)


async def _why(api: PrefectApi, run: FlowRun) -> str:
    resource = EventAnyResourceFilter(id=[f"prefect.flow-run.{run.id}"])
    day = EventOccurredFilter(since=datetime.now(UTC) - timedelta(days=1))
    page = await api.call(lambda: api.client.read_events(EventFilter(any_resource=resource, occurred=day), limit=50))
    causes = {event.resource.get(DIAGNOSIS) for event in page.events if event.event.startswith("prefect.kubernetes.")}
    named = ", ".join(sorted(cause for cause in causes if cause))
    return f"{run.name} ({run.state_name}{': ' + named if named else ''})"


CHECKS: dict[str, Check] = {
    "work pool": pool,
    "worker": worker,
    "template": template,
    "registration": deployments,
    "steps": steps,
    "waiting runs": waiting,
}
