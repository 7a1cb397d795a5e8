"""Why a run that is due does not start: the API and the run in, a sentence out."""

from __future__ import annotations

from prefect.client.schemas.filters import WorkerFilter, WorkerFilterStatus
from prefect.client.schemas.objects import DeploymentStatus, FlowRun, WorkQueue
from prefect.exceptions import ObjectNotFound

from flow_of_flows.prefect_api.client import PrefectApi

ONLINE = WorkerFilter(status=WorkerFilterStatus(any_=["ONLINE"]))
WAITS = "the run waits"


async def reason(api: PrefectApi, run: FlowRun) -> str:
    """Return what keeps a scheduled run from being taken up; empty where nothing is known to."""
    if run.work_pool_name is None:
        return await _unserved(api, run)
    pool = await api.call(lambda: api.client.read_work_pool(run.work_pool_name or ""))
    if pool.is_paused:
        return f"Work pool {pool.name} is paused; {WAITS} until it is resumed."
    if not await api.call(lambda: api.client.read_workers_for_work_pool(pool.name, worker_filter=ONLINE)):
        return f"No worker of work pool {pool.name} is online; {WAITS} until one is."
    return _held_up(await _queue(api, run), pool.name)


async def _unserved(api: PrefectApi, run: FlowRun) -> str:
    if run.deployment_id is None:
        return ""
    deployment = run.deployment_id
    found = await api.call(lambda: api.client.read_deployment(deployment))
    if found.status is DeploymentStatus.READY:
        return ""
    return f"Deployment {found.name} has no work pool, and no process serves it; {WAITS} until one does."


async def _queue(api: PrefectApi, run: FlowRun) -> WorkQueue | None:
    if run.work_queue_id is None:
        return None
    queue = run.work_queue_id
    try:
        return await api.call(lambda: api.client.read_work_queue(queue))
    except ObjectNotFound:
        return None


def _held_up(queue: WorkQueue | None, pool: str) -> str:
    if queue is None:
        return ""
    if queue.is_paused:
        return f"Work queue {queue.name} of work pool {pool} is paused; {WAITS} until it is resumed."
    if queue.concurrency_limit is not None and (queue.active_slots or 0) >= queue.concurrency_limit:
        return f"All {queue.concurrency_limit} slots of work queue {queue.name} are taken; {WAITS} for one."
    return ""
