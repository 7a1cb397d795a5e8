"""Deletes the Jobs of flow runs and waits until their pods are gone.

The chart runs it after the release, and with it the worker, is deleted.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from kubernetes_asyncio import client

from flow_of_flows.errors import PlatformError
from flow_of_flows.kubernetes_api.client import reached

PAUSE_SECONDS = 1.0


async def teardown(namespace: str, selector: str, *, seconds: float) -> int:
    """Delete every Job with these labels, and wait until none of them and no pod is left.

    Jobs that a worker still creates before it ends are deleted as well.

    Args:
        namespace: where the Jobs are.
        selector: label selector of the Jobs and pods.
        seconds: how long to wait.

    Returns:
        How many Jobs were deleted.

    Raises:
        ConfigurationError: this is not a pod of a cluster, or the cluster does not allow it.
        PlatformError: a Job or a pod is left after that time.
    """
    loop, deleted = asyncio.get_running_loop(), set[str]()
    deadline = loop.time() + seconds
    async with reached(namespace) as api:
        jobs, pods = client.BatchV1Api(api), client.CoreV1Api(api)
        while True:
            # List pods first: a worker pod that is gone by then creates no more Jobs.
            pods_left = _names(await pods.list_namespaced_pod(namespace, label_selector=selector))
            jobs_left = _names(await jobs.list_namespaced_job(namespace, label_selector=selector))
            for name in jobs_left:
                if name not in deleted:
                    await _delete(jobs, namespace, name)
                    deleted.add(name)
            if not jobs_left and not pods_left:
                return len(deleted)
            if loop.time() + PAUSE_SECONDS > deadline:
                raise _not_deleted(
                    namespace, [*(f"job/{name}" for name in jobs_left), *(f"pod/{name}" for name in pods_left)], seconds
                )
            await asyncio.sleep(PAUSE_SECONDS)


def _names(listed: client.V1JobList | client.V1PodList) -> list[str]:
    return [item.metadata.name for item in listed.items]


async def _delete(jobs: client.BatchV1Api, namespace: str, name: str) -> None:
    try:
        # Foreground: the Job exists until its pods are gone.
        await jobs.delete_namespaced_job(name, namespace, propagation_policy="Foreground")
    except client.ApiException as error:
        if error.status != HTTPStatus.NOT_FOUND:
            raise


def _not_deleted(namespace: str, names: list[str], seconds: float) -> PlatformError:
    return PlatformError(
        f"Still there after {seconds:g} s: {', '.join(names)}",
        location=f"namespace {namespace}",
        hint="see `kubectl describe` of these, and delete them by hand",
    )
