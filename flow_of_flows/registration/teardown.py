"""Deletes the Jobs of flow runs and waits until their pods are gone: labels in, their number out.

The chart runs it once the release is deleted, and with it the worker, which would have done it.
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

    What a worker that is about to end still makes meanwhile is deleted, too.

    Raises:
        ConfigurationError: there is no cluster to ask, or it does not allow this.
        PlatformError: something is left after that time.
    """
    loop, deleted = asyncio.get_running_loop(), set[str]()
    deadline = loop.time() + seconds
    async with reached(namespace) as api:
        jobs, pods = client.BatchV1Api(api), client.CoreV1Api(api)
        while True:
            # Pods first: a pod that is gone by then has made every Job that it makes.
            running = _names(await pods.list_namespaced_pod(namespace, label_selector=selector))
            there = _names(await jobs.list_namespaced_job(namespace, label_selector=selector))
            for name in there:
                if name not in deleted:
                    await _delete(jobs, namespace, name)
                    deleted.add(name)
            if not there and not running:
                return len(deleted)
            if loop.time() + PAUSE_SECONDS > deadline:
                raise _left(
                    namespace, [*(f"job/{name}" for name in there), *(f"pod/{name}" for name in running)], seconds
                )
            await asyncio.sleep(PAUSE_SECONDS)


def _names(found: client.V1JobList | client.V1PodList) -> list[str]:
    return [item.metadata.name for item in found.items]


async def _delete(jobs: client.BatchV1Api, namespace: str, name: str) -> None:
    try:
        # Foreground: the Job is there until its pods are gone.
        await jobs.delete_namespaced_job(name, namespace, propagation_policy="Foreground")
    except client.ApiException as error:
        if error.status != HTTPStatus.NOT_FOUND:
            raise


def _left(namespace: str, names: list[str], seconds: float) -> PlatformError:
    return PlatformError(
        f"Still there after {seconds:g} s: {', '.join(names)}",
        location=f"namespace {namespace}",
        hint="see `kubectl describe` of these, and delete them by hand",
    )
