"""`flows teardown` against a stand-in for the Kubernetes API: what it asks for, and what it says when refused."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.commands import Ended, flows, refused
from tests.fixtures.kubernetes_api import kubeconfig, written

WORDS = ("teardown", "--namespace", "shop", "--selector", "app=flows")
JOBS, PODS = "/apis/batch/v1/namespaces/shop/jobs", "/api/v1/namespaces/shop/pods"


@dataclass
class Cluster:
    """A cluster with some Jobs; a Job that is deleted takes its pod with it at the second look.

    Attributes:
        jobs: names of the Jobs.
        late: Jobs that a worker, about to end, makes after the first look.
        sticky: Jobs do not go away.
        refuses: the status of every answer, if not 200.
        deleted: query of each delete, by its path.
    """

    jobs: list[str] = field(default_factory=list)
    pods: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    sticky: bool = False
    refuses: int = 0
    deleted: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    selectors: set[str] = field(default_factory=set)

    def answer(self, method: str, url: str) -> tuple[int, dict[str, object]]:
        """Answer one request."""
        path, query = urlsplit(url).path, parse_qs(urlsplit(url).query)
        if self.refuses:
            return self.refuses, {"kind": "Status", "message": "jobs.batch is forbidden: User nobody cannot list"}
        if method == "DELETE":
            self.deleted[path] = query
            return 200, {"kind": "Status", "status": "Success"}
        self.selectors |= set(query["labelSelector"])
        names = self.jobs if path == JOBS else self.pods
        items = [{"metadata": {"name": name}, "spec": {"template": {}, "containers": []}} for name in names]
        if path == JOBS:
            stay = [name for name in names if self.sticky or f"{JOBS}/{name}" not in self.deleted]
            self.jobs, self.late = [*stay, *self.late], []
        if path == PODS and not self.jobs:
            self.pods = []
        return 200, {"kind": "List", "metadata": {}, "items": items}


def test_jobs_go_with_their_pods_and_are_waited_for(tmp_path: Path) -> None:
    """By label, in the foreground; done when Jobs and pods are gone."""
    cluster = Cluster(jobs=["a", "b"], pods=["a-x"])
    with kubeconfig(cluster, tmp_path) as file:
        ended = flows(*WORDS, KUBECONFIG=file)
    assert ended == Ended(0, "Removed 2 Jobs with their pods from shop.\n", "")
    assert cluster.deleted == {f"{JOBS}/{name}": {"propagationPolicy": ["Foreground"]} for name in ("a", "b")}
    assert cluster.selectors == {"app=flows"}
    assert (cluster.jobs, cluster.pods) == ([], [])


def test_a_job_that_a_worker_makes_as_it_ends_goes_too(tmp_path: Path) -> None:
    """`helm uninstall` without `--wait`: the worker's pod is still there at the first look."""
    cluster = Cluster(jobs=["a"], pods=["worker"], late=["b"])
    with kubeconfig(cluster, tmp_path) as file:
        assert flows(*WORDS, KUBECONFIG=file) == Ended(0, "Removed 2 Jobs with their pods from shop.\n", "")
    assert list(cluster.deleted) == [f"{JOBS}/a", f"{JOBS}/b"]


def test_nothing_to_remove_is_fine(tmp_path: Path) -> None:
    """A release that never ran anything."""
    with kubeconfig(Cluster(), tmp_path) as file:
        assert flows(*WORDS, KUBECONFIG=file) == Ended(0, "Removed 0 Jobs with their pods from shop.\n", "")


def test_what_stays_is_named(tmp_path: Path) -> None:
    """After the time that was given."""
    with kubeconfig(Cluster(jobs=["a"], pods=["a-x"], sticky=True), tmp_path) as file:
        assert flows(*WORDS, "--wait", "0.5", KUBECONFIG=file) == refused(
            3,
            "Still there after 0.5 s: job/a, pod/a-x. Where: namespace shop. "
            "Next: see `kubectl describe` of these, and delete them by hand.",
        )


@pytest.mark.parametrize("status", [401, 403])
def test_a_missing_right_is_told(tmp_path: Path, status: int) -> None:
    """In Kubernetes' own words, with what the service account needs."""
    with kubeconfig(Cluster(refuses=status), tmp_path) as file:
        assert flows(*WORDS, KUBECONFIG=file) == refused(
            2,
            "Kubernetes does not allow it: jobs.batch is forbidden: User nobody cannot list. Where: namespace shop. "
            "Next: let the service account of this pod list and delete jobs and list pods there.",
        )


def test_without_a_cluster_there_is_one_sentence(tmp_path: Path) -> None:
    """Neither a pod's service account nor a kubeconfig; and one that does not answer."""
    ended = flows(*WORDS, KUBECONFIG=str(tmp_path / "none"))
    assert (ended.code, ended.out) == (2, "")
    assert "error: There is no cluster to ask: " in ended.err
    ended = flows(*WORDS, KUBECONFIG=written(tmp_path, "http://127.0.0.1:9"))
    assert (ended.code, ended.out) == (3, "")
    assert ended.err.startswith("error: The Kubernetes API does not answer: Cannot connect to host 127.0.0.1:9 ")
