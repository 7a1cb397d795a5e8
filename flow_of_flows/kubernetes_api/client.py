"""The way to a Kubernetes API: a namespace in, an open client out, and errors that are one sentence."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from json import JSONDecodeError, loads

import aiohttp
from kubernetes_asyncio import client, config

from flow_of_flows.errors import ConfigurationError, PlatformError


@asynccontextmanager
async def reached(namespace: str) -> AsyncIterator[client.ApiClient]:
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
