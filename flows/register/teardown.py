"""Deletes the Jobs of flow runs and waits until their pods are gone: labels in, their number out.

The chart runs it before it removes the worker, which would have done it otherwise.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from kubernetes_asyncio import client

from flows.cluster import reached
from flows.errors import PlatformError

PAUSE_SECONDS = 1.0


async def teardown(namespace: str, selector: str, *, seconds: float) -> int:
    """Delete every Job with these labels, and wait for the end of its pods.

    Raises:
        ConfigurationError: there is no cluster to ask, or it does not allow this.
        PlatformError: something is left after that time.
    """
    async with reached(namespace) as api:
        jobs = client.BatchV1Api(api)
        names = await _jobs(jobs, namespace, selector)
        for name in names:
            await _delete(jobs, namespace, name)
        await _until_gone(api, namespace, selector, seconds)
        return len(names)


async def _jobs(jobs: client.BatchV1Api, namespace: str, selector: str) -> list[str]:
    return [job.metadata.name for job in (await jobs.list_namespaced_job(namespace, label_selector=selector)).items]


async def _delete(jobs: client.BatchV1Api, namespace: str, name: str) -> None:
    try:
        # Foreground: the Job is there until its pods are gone.
        await jobs.delete_namespaced_job(name, namespace, propagation_policy="Foreground")
    except client.ApiException as error:
        if error.status != HTTPStatus.NOT_FOUND:
            raise


async def _until_gone(api: client.ApiClient, namespace: str, selector: str, seconds: float) -> None:
    loop, pods = asyncio.get_running_loop(), client.CoreV1Api(api)
    deadline = loop.time() + seconds
    while True:
        left = [f"job/{name}" for name in await _jobs(client.BatchV1Api(api), namespace, selector)]
        found = await pods.list_namespaced_pod(namespace, label_selector=selector)
        left += [f"pod/{pod.metadata.name}" for pod in found.items]
        if not left:
            return
        if loop.time() + PAUSE_SECONDS > deadline:
            raise PlatformError(
                f"Still there after {seconds:g} s: {', '.join(left)}",
                where=f"namespace {namespace}",
                todo="see `kubectl describe` of these, and delete them by hand",
            )
        await asyncio.sleep(PAUSE_SECONDS)
