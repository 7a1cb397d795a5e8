"""The sweeper's door to Kubernetes, against an API that answers as the real one does."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import pytest

from flow_of_flows.kubernetes_api.jobs import connected
from flow_of_flows.settings import Settings
from flow_of_flows.settings.operations import SweepSettings
from flow_of_flows.sweeper import jobs as cluster
from flow_of_flows.sweeper.jobs import Kubernetes
from flow_of_flows.sweeper.snapshot import Cluster, KubernetesJob, KubernetesPod
from tests.fixtures.kubernetes_api import kubeconfig

RUN = uuid4()
LABELS = {"prefect.io/flow-run-id": str(RUN), "app.kubernetes.io/instance": "flows"}
# Read from KUBECONFIG when the library is imported.
DEFAULT = "kubernetes_asyncio.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION"
CREATED = "2026-11-25T06:00:00Z"


@dataclass
class Answers:
    """Two lists and deletes, as the API gives them.

    Attributes:
        status: of a delete.
        asked: method, path and query of each request.
    """

    jobs: list[dict[str, Any]] = field(default_factory=list)
    pods: list[dict[str, Any]] = field(default_factory=list)
    status: int = 200
    asked: list[tuple[str, str, dict[str, list[str]]]] = field(default_factory=list)

    def answer(self, method: str, url: str) -> tuple[int, dict[str, object]]:
        """Answer one request."""
        parts = urlsplit(url)
        self.asked.append((method, parts.path, parse_qs(parts.query)))
        if method == "DELETE":
            return self.status, {"kind": "Status", "message": "the UID in the precondition does not match"}
        items = self.jobs if parts.path.endswith("/jobs") else self.pods
        return 200, {"kind": "List", "metadata": {}, "items": items}


def job(name: str, *, conditions: list[dict[str, str]] | None = None, **metadata: Any) -> dict[str, Any]:
    """A Job in the API's words."""
    meta = {"name": name, "uid": f"uid-{name}", "labels": LABELS, "creationTimestamp": CREATED, **metadata}
    return {"metadata": meta, "spec": {"template": {}}, "status": {"conditions": conditions}}


def pod(name: str, status: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    """A pod in the API's words, owned by a Job."""
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": "a", "uid": "uid-a"}
    meta = {"name": name, "labels": LABELS, "ownerReferences": [owner], **metadata}
    return {"metadata": meta, "spec": {"containers": []}, "status": status}


def container(state: dict[str, Any]) -> list[dict[str, Any]]:
    """The status of a pod's only container."""
    return [{"name": "c", "image": "i", "imageID": "", "ready": False, "restartCount": 0, "state": state}]


def read(answers: Answers, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """What the door makes of an API."""

    async def once() -> Cluster:
        async with connected("data") as api:
            return await Kubernetes(api, "data").read()

    with kubeconfig(answers, folder) as file:
        monkeypatch.setattr(DEFAULT, file)
        return asyncio.run(once())


def test_jobs_and_pods_of_flow_runs_are_read_by_their_label(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes on, what is over and why; a Job whose label is not the id of a run does not count."""
    failed = [{"type": "Failed", "status": "True", "reason": "DeadlineExceeded"}]
    answers = Answers(
        jobs=[
            job("a"),
            job("b", conditions=failed),
            job("c", conditions=[{"type": "Complete", "status": "True"}]),
            job("d", deletionTimestamp=CREATED),
            job("e", labels={"prefect.io/flow-run-id": "none"}),
        ]
    )
    seen = read(answers, tmp_path, monkeypatch)
    created = datetime(2026, 11, 25, 6, tzinfo=UTC)
    assert seen.jobs == (
        KubernetesJob("a", "uid-a", RUN, created, is_active=True, release="flows"),
        KubernetesJob("b", "uid-b", RUN, created, is_active=False, release="flows", reason="DeadlineExceeded"),
        KubernetesJob("c", "uid-c", RUN, created, is_active=False, release="flows"),
        KubernetesJob("d", "uid-d", RUN, created, is_active=False, release="flows"),
    )
    label = {"labelSelector": ["prefect.io/flow-run-id"]}
    assert answers.asked == [
        ("GET", "/apis/batch/v1/namespaces/data/jobs", label),
        ("GET", "/api/v1/namespaces/data/pods", label),
    ]


def test_a_pod_says_whether_it_lives_and_what_troubles_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From its phase, its containers, the scheduler's words and its deletion."""
    now = datetime.now(UTC)
    unschedulable = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}
    deleted, long_deleted = (now - timedelta(seconds=s) for s in (1, 90))
    answers = Answers(
        pods=[
            pod("works", {"phase": "Running", "containerStatuses": container({"running": {}})}),
            pod("pulls", {"phase": "Pending", "containerStatuses": container({"waiting": {"reason": "ErrImagePull"}})}),
            pod("waits", {"phase": "Pending", "conditions": [unschedulable]}),
            pod(
                "oom",
                {
                    "phase": "Failed",
                    "containerStatuses": container({"terminated": {"exitCode": 137, "reason": "OOMKilled"}}),
                },
            ),
            pod("evicted", {"phase": "Failed", "reason": "Evicted", "message": "low on memory"}),
            pod("stops", {"phase": "Running"}, deletionTimestamp=deleted.isoformat()),
            pod("lost", {"phase": "Running"}, deletionTimestamp=long_deleted.isoformat()),
        ]
    )
    seen = read(answers, tmp_path, monkeypatch)
    assert seen.pods == (
        KubernetesPod("works", RUN, "a", is_live=True, is_started=True),
        KubernetesPod("pulls", RUN, "a", is_live=True, reason="ErrImagePull"),
        KubernetesPod("waits", RUN, "a", is_live=True, reason="Unschedulable", trouble="0/1 nodes"),
        KubernetesPod("oom", RUN, "a", is_live=False, is_started=True, reason="OOMKilled"),
        KubernetesPod("evicted", RUN, "a", is_live=False, reason="Evicted", trouble="low on memory"),
        KubernetesPod("stops", RUN, "a", is_live=True, deleted=deleted),
        KubernetesPod("lost", RUN, "a", is_live=False, deleted=long_deleted),
    )


@pytest.mark.parametrize(("status", "done"), [(200, True), (404, False), (409, False)])
def test_a_job_is_deleted_once_and_only_the_very_one(
    status: int,
    done: bool,  # noqa: FBT001 - a case of the table
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another sweep may have been there before, or another Job has the name by now."""
    answers = Answers(status=status)

    async def once() -> bool:
        async with connected("data") as api:
            return await Kubernetes(api, "data").delete(KubernetesJob("a", "u", RUN, datetime.now(UTC), is_active=True))

    with kubeconfig(answers, tmp_path) as file:
        monkeypatch.setattr(DEFAULT, file)
        assert asyncio.run(once()) is done
    assert [asked[:2] for asked in answers.asked] == [("DELETE", "/apis/batch/v1/namespaces/data/jobs/a")]


def test_a_person_s_kubeconfig_is_not_taken_for_the_cluster_of_the_jobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may point anywhere, and where no pod is seen every run would be lost: the namespace has to be said."""

    async def once(settings: Settings) -> bool:
        async with cluster.opened(settings) as door:
            return door is not None

    with kubeconfig(Answers(), tmp_path) as file:
        monkeypatch.setattr(DEFAULT, file)
        assert asyncio.run(once(Settings())) is False
        assert asyncio.run(once(Settings(sweep=SweepSettings(namespace="data")))) is True
