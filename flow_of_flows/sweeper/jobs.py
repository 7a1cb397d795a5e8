"""The sweeper's Kubernetes client: reads the Jobs and pods of flow runs in one namespace, and deletes Jobs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

from flow_of_flows.settings import Settings
from flow_of_flows.sweeper.snapshot import Cluster, KubernetesJob, KubernetesPod

LABEL = "prefect.io/flow-run-id"
RELEASE = "app.kubernetes.io/instance"
OWN_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
ENDED = {"Succeeded", "Failed"}


class ClusterClient(Protocol):
    """What the sweeper needs of a cluster."""

    async def read(self) -> Cluster:
        """Return the Jobs and pods of flow runs."""
        ...

    async def delete(self, job: KubernetesJob) -> bool:
        """Delete a Job with its pods; return whether it was still there."""
        ...


class Kubernetes:
    """One namespace of a cluster.

    Args:
        api: an open client.
        namespace: where the Jobs are.
    """

    def __init__(self, api: Any, namespace: str) -> None:
        from kubernetes_asyncio import client

        self._client = client
        self._api = api
        self._namespace = namespace

    async def read(self) -> Cluster:
        """Read Jobs first: a pod whose Job is not among them yet belongs to a run that has just begun."""
        jobs = await self._client.BatchV1Api(self._api).list_namespaced_job(self._namespace, label_selector=LABEL)
        pods = await self._client.CoreV1Api(self._api).list_namespaced_pod(self._namespace, label_selector=LABEL)
        now = datetime.now(UTC)
        return Cluster(
            self._namespace,
            tuple(job(entry) for entry in jobs.items if _run(entry)),
            tuple(pod(entry, now) for entry in pods.items if _run(entry)),
        )

    async def delete(self, job: KubernetesJob) -> bool:
        """Delete this very Job, not one that was created under its name since."""
        options = self._client.V1DeleteOptions(
            propagation_policy="Background", preconditions=self._client.V1Preconditions(uid=job.uid)
        )
        try:
            await self._client.BatchV1Api(self._api).delete_namespaced_job(job.name, self._namespace, body=options)
        except self._client.ApiException as error:
            if error.status in {HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT}:
                return False
            raise
        return True


def namespace(settings: Settings) -> str | None:
    """Return the namespace of the Jobs: the setting's, or this pod's; that of a person's kubeconfig is not used."""
    if settings.sweep.namespace:
        return settings.sweep.namespace
    try:
        return OWN_NAMESPACE.read_text().strip()
    except OSError:
        return None


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[ClusterClient | None]:
    """Open a client of the Jobs' cluster; None where there is no cluster.

    Raises:
        ConfigurationError: there is one, and it refuses.
        PlatformError: it does not answer.
    """
    found = namespace(settings)
    if found is None:
        yield None
        return
    # Imported only where there is a cluster: a laptop does without the extra.
    from flow_of_flows.kubernetes_api.jobs import connected

    async with connected(found) as api:
        yield Kubernetes(api, found)


def job(entry: Any) -> KubernetesJob:
    """Return a Job of the API as a value."""
    conditions = {c.type: c.reason or "" for c in entry.status.conditions or () if c.status == "True"}
    return KubernetesJob(
        name=entry.metadata.name,
        uid=entry.metadata.uid,
        run=UUID(entry.metadata.labels[LABEL]),
        created=entry.metadata.creation_timestamp,
        # A Job that is being deleted is as good as gone.
        is_active=not {"Complete", "Failed"} & set(conditions) and entry.metadata.deletion_timestamp is None,
        release=entry.metadata.labels.get(RELEASE),
        reason=conditions.get("Failed", ""),
    )


def pod(entry: Any, now: datetime) -> KubernetesPod:
    """Return a pod of the API as a value.

    Args:
        entry: as the API returned it.
        now: the time.
    """
    status = entry.status
    owners = [owner.name for owner in entry.metadata.owner_references or () if owner.kind == "Job"]
    containers = status.container_statuses or ()
    deleted = entry.metadata.deletion_timestamp
    reason, trouble = _trouble(status, containers)
    return KubernetesPod(
        name=entry.metadata.name,
        run=UUID(entry.metadata.labels[LABEL]),
        job=owners[0] if owners else "",
        # The time of deletion is the one at which the grace ends; the node has a minute more to say that it is done.
        is_live=status.phase not in ENDED and (deleted is None or now < deleted + timedelta(seconds=60)),
        is_started=any(c.state.running or c.state.terminated for c in containers if c.state),
        reason=reason,
        trouble=trouble,
        deleted=deleted,
    )


def _trouble(status: Any, containers: Any) -> tuple[str, str]:
    """Return reason and message of the pod, of a container that waits or has ended, or of the scheduler."""
    if status.reason:
        return status.reason, status.message or ""
    for container in containers:
        state = container.state
        waits = state and (state.waiting or state.terminated)
        if waits and waits.reason and waits.reason != "Completed":
            return waits.reason, waits.message or ""
    for condition in status.conditions or ():
        if condition.status == "False" and condition.reason == "Unschedulable":
            return condition.reason, condition.message or ""
        if condition.status == "True" and condition.type == "DisruptionTarget":
            return condition.reason or "", condition.message or ""
    return "", ""


def _run(entry: Any) -> bool:
    try:
        UUID(entry.metadata.labels[LABEL])
    except ValueError:
        return False
    return True
