"""The way to a Kubernetes API, and the end of its Jobs: deletes those of flow runs, and waits for their pods.

The chart runs it after the release, and with it the worker, is deleted.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from json import JSONDecodeError, loads

import aiohttp
from kubernetes_asyncio import client, config

from flow_of_flows.errors import ConfigurationError, PlatformError

PAUSE_SECONDS = 1.0


@asynccontextmanager
async def connected(namespace: str) -> AsyncIterator[client.ApiClient]:
    """Open a client of the cluster that this pod is in, or that KUBECONFIG points at.

    Raises:
        ConfigurationError: there is none, or it refuses.
        PlatformError: it does not answer.
    """
    try:
        await _configure()
        async with client.ApiClient() as api:
            yield api
    except (config.ConfigException, OSError) as error:
        if isinstance(error, aiohttp.ClientError):
            raise _unreachable(error) from error
        raise ConfigurationError(
            f"There is no cluster to ask: {error}",
            location="service account of this pod, or KUBECONFIG",
            hint="run this in a pod with a service account token, or set KUBECONFIG",
        ) from error
    except client.ApiException as error:
        raise _explained(error, namespace) from error
    except aiohttp.ClientError as error:
        raise _unreachable(error) from error


async def _configure() -> None:
    try:
        config.load_incluster_config()  # type: ignore[no-untyped-call]
    except config.ConfigException:
        await config.load_kube_config()


def _unreachable(error: aiohttp.ClientError) -> PlatformError:
    return PlatformError(f"The Kubernetes API does not answer: {error}", hint="see whether the cluster is up")


def _explained(error: client.ApiException, namespace: str) -> ConfigurationError | PlatformError:
    try:
        message = str(loads(error.body or "")["message"])
    except (JSONDecodeError, KeyError, TypeError):
        message = str(error.reason)
    if error.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return ConfigurationError(
            f"Kubernetes does not allow it: {message}",
            location=f"namespace {namespace}",
            hint="let the service account of this pod list and delete jobs and list pods there",
        )
    return PlatformError(f"Kubernetes answers {error.status}: {message}", location=f"namespace {namespace}")


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
    async with connected(namespace) as api:
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
