"""Deletes the Jobs of flow runs and waits until their pods are gone: labels in, their number out.

The one door to the Kubernetes API. The chart runs it before it removes the worker, which would have done it otherwise.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from json import JSONDecodeError, loads

import aiohttp
from kubernetes_asyncio import client, config

from flows.errors import ConfigurationError, PlatformError

PAUSE_SECONDS = 1.0


async def teardown(namespace: str, selector: str, *, seconds: float) -> int:
    """Delete every Job with these labels, and wait for the end of its pods.

    Raises:
        ConfigurationError: there is no cluster to ask, or it does not allow this.
        PlatformError: something is left after that time.
    """
    async with _cluster(namespace) as api:
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


@asynccontextmanager
async def _cluster(namespace: str) -> AsyncIterator[client.ApiClient]:
    """The cluster that this pod is in, or that KUBECONFIG points at.

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
            where="service account of this pod, or KUBECONFIG",
            todo="run this in a pod with a service account token, or set KUBECONFIG",
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
    return PlatformError(f"The Kubernetes API does not answer: {error}", todo="see whether the cluster is up")


def _explained(error: client.ApiException, namespace: str) -> ConfigurationError | PlatformError:
    try:
        message = str(loads(error.body or "")["message"])
    except (JSONDecodeError, KeyError, TypeError):
        message = str(error.reason)
    if error.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return ConfigurationError(
            f"Kubernetes does not allow it: {message}",
            where=f"namespace {namespace}",
            todo="let the service account of this pod list and delete jobs and list pods there",
        )
    return PlatformError(f"Kubernetes answers {error.status}: {message}", where=f"namespace {namespace}")
