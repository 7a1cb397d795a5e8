"""What `flows doctor` looks at on a Prefect API: pool, worker, template, deployments, runs that wait. Reads only.

Each check takes the API and the settings, and says what it found or raises what is wrong and how to mend it.
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
from flow_of_flows.registration import config as request
from flow_of_flows.registration import desired as wanted
from flow_of_flows.registration import prefect_yaml as declared
from flow_of_flows.settings import Settings
from flow_of_flows.summary.terminal import REGISTER

Check = Callable[[PrefectApi, Settings], Awaitable[str]]
DIAGNOSIS = "kubernetes.diagnosis"
WAITING = ["Late", "Pending", "InfrastructurePending"]
# A pod that is well takes about 5 s.
PATIENCE = timedelta(seconds=60)
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
    """The pool and its queues are there, and hand out runs; nothing keeps children from starting for ever."""
    found = await _pool(api, settings)
    if found.is_paused:
        raise ConfigurationError(
            f"Work pool {found.name} is paused", location=api.url, hint=f"`prefect work-pool resume {found.name}`"
        )
    if found.concurrency_limit is not None:
        raise ConfigurationError(
            f"Work pool {found.name} runs at most {found.concurrency_limit} at once, pipelines included: "
            "when that many wait for children, no child can start",
            location=api.url,
            hint=f"`prefect work-pool clear-concurrency-limit {found.name}`; the limit belongs to its queue "
            f"{wanted.CHILDREN} (workPool.concurrencyLimit of the chart)",
        )
    queues = await _queues(api, settings)
    for queue in queues:
        if queue.is_paused:
            raise ConfigurationError(
                f"Work queue {queue.name} of work pool {found.name} is paused",
                location=api.url,
                hint=f"`prefect work-queue resume {queue.name} --pool {found.name}`",
            )
    limits = [f", at most {one.concurrency_limit} of queue {one.name} at once" for one in queues if _is_limited(one)]
    return f"{found.name}, type {found.type}{''.join(limits)}"


async def _queues(api: PrefectApi, settings: Settings) -> list[WorkQueue]:
    return await api.all(
        lambda offset: api.client.read_work_queues(work_pool_name=settings.work_pool, limit=MANY, offset=offset)
    )


def _is_limited(queue: WorkQueue) -> bool:
    return queue.concurrency_limit is not None


async def worker(api: PrefectApi, settings: Settings) -> str:
    """Somebody takes the runs of the pool."""
    found = await _pool(api, settings)
    workers = await api.online_workers(found.name)
    if not workers:
        raise PlatformError(
            f"No worker of work pool {found.name} is online",
            location=api.url,
            hint="see `kubectl get pods -l app.kubernetes.io/component=worker` and the log of that pod",
        )
    return f"online: {', '.join(sorted(one.name for one in workers))}"


async def template(api: PrefectApi, settings: Settings) -> str:
    """The pool's template takes the job variables of every deployment."""
    found = await _pool(api, settings)
    asked = request.read(settings)
    entries = declared.read(settings.deployments, image=asked.image)
    given = {entry.name: wanted.job_variables(entry, asked) for entry in entries}
    wanted.check_job_variables(given, found.base_job_template, found.name)
    return f"takes the job variables of all {len(entries)} deployments"


async def deployments(api: PrefectApi, settings: Settings) -> str:
    """Everything in prefect.yaml is registered, and with one image."""
    tagged = DeploymentFilter(tags=DeploymentFilterTags(all_=[wanted.TAG]))
    in_pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[settings.work_pool]))
    found = await api.all(
        lambda offset: api.client.read_deployments(
            deployment_filter=tagged, work_pool_filter=in_pool, limit=MANY, offset=offset
        )
    )
    names = {settings.deployment_name(entry.name) for entry in declared.read(settings.deployments)}
    missing = names - {one.name for one in found}
    if missing:
        raise ConfigurationError(f"Not registered: {', '.join(sorted(missing))}", location=api.url, hint=REGISTER)
    images = Counter(str(one.job_variables.get("image", "the work pool's own image")) for one in found)
    return "; ".join(f"{count} with {image}" for image, count in sorted(images.items()))


async def waiting(api: PrefectApi, settings: Settings) -> str:
    """No run waits for a worker or for its pod, or why it does."""
    state = FlowRunFilterState(name=FlowRunFilterStateName(any_=WAITING))
    in_pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[settings.work_pool]))
    found = await api.call(
        lambda: api.client.read_flow_runs(
            flow_run_filter=FlowRunFilter(state=state), work_pool_filter=in_pool, limit=MANY
        )
    )
    full = {queue.name for queue in await _queues(api, settings) if is_full(queue)}
    queued = [run for run in found if run.state_name == "Late" and run.work_queue_name in full]
    stuck = [run for run in found if _is_stuck(run) and run not in queued]
    if not stuck:
        slots = f"; {len(queued)} wait for a slot of {', '.join(sorted(full))}" if queued else ""
        return f"none late or stuck{slots}"
    told = [await _why(api, run) for run in stuck[:SHOWN_RUNS]]
    more = f", and {len(stuck) - SHOWN_RUNS} more" if len(stuck) > SHOWN_RUNS else ""
    raise PlatformError(
        f"{len(stuck)} wait: {', '.join(told)}{more}",
        location=f"work pool {settings.work_pool}",
        hint="see the log of such a run, and `kubectl describe pod -l prefect.io/flow-run-id=ID`",
    )


def _is_stuck(run: FlowRun) -> bool:
    since = run.state.timestamp if run.state else None
    return run.state_name == "Late" or (since is not None and datetime.now(UTC) - since > PATIENCE)


async def _why(api: PrefectApi, run: FlowRun) -> str:
    resource = EventAnyResourceFilter(id=[f"prefect.flow-run.{run.id}"])
    day = EventOccurredFilter(since=datetime.now(UTC) - timedelta(days=1))
    page = await api.call(lambda: api.client.read_events(EventFilter(any_resource=resource, occurred=day), limit=50))
    causes = {event.resource.get(DIAGNOSIS) for event in page.events if event.event.startswith("prefect.kubernetes.")}
    told = ", ".join(sorted(cause for cause in causes if cause))
    return f"{run.name} ({run.state_name}{': ' + told if told else ''})"


CHECKS: dict[str, Check] = {
    "work pool": pool,
    "worker": worker,
    "template": template,
    "deployments": deployments,
    "waiting runs": waiting,
}
