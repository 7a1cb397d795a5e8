"""A release of the chart on a real cluster, with a Postgres in the cluster: made once, removed at the end.

Images are taken as they are: `E2E_IMAGE`, `E2E_NEXT_IMAGE` (the same or a later one under another tag) and
`E2E_POSTGRES_IMAGE` have to be where the nodes find them (loaded, or in a registry).
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import psycopg2
import pytest
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException
from prefect.client.orchestration import SyncPrefectClient
from urllib3.exceptions import HTTPError

from tests.conditions import eventually
from tests.e2e.kube import Namespace, connect
from tests.e2e.release import Release, values
from tests.fixtures.runs import Runs

NAMESPACE = "flow-of-flows-e2e"
IMAGE = os.environ.get("E2E_IMAGE", "flow-of-flows:0.1.0")
NEXT_IMAGE = os.environ.get("E2E_NEXT_IMAGE", "flow-of-flows:0.1.0-next")
POSTGRES_IMAGE = os.environ.get("E2E_POSTGRES_IMAGE", "flow-of-flows-e2e-postgres:15")
NEEDS = (
    "make e2e needs helm and kubectl on PATH, and a cluster that KUBECONFIG points at (kind, minikube, EKS, …) whose "
    "nodes find the images; see the README, 'On a cluster of your own'"
)
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}


@pytest.fixture(scope="session")
def namespace() -> Iterator[Namespace]:
    """An empty namespace that enforces Pod Security "restricted"."""
    if missing := [tool for tool in ("helm", "kubectl") if not shutil.which(tool)]:
        pytest.exit(f"{' and '.join(missing)} not found. {NEEDS}", returncode=2)
    try:
        found = connect(NAMESPACE)
        found.core.create_namespace({"metadata": {"name": NAMESPACE, "labels": RESTRICTED}})
    except (ConfigException, HTTPError) as error:
        pytest.exit(f"No cluster: {error}. {NEEDS}", returncode=2)
    except ApiException as error:
        pytest.exit(f"The namespace {NAMESPACE} cannot be made: {error.reason}", returncode=2)
    yield found
    found.core.delete_namespace(NAMESPACE)
    eventually(lambda: _gone(found), "the namespace is gone", within=180)


def _gone(namespace: Namespace) -> bool:
    return all(found.metadata.name != NAMESPACE for found in namespace.core.list_namespace().items)


@pytest.fixture(scope="session")
def canaries() -> dict[str, str]:
    """Secrets of this session by the name of their Kubernetes Secret; none may be seen anywhere else."""
    return {name: f"canary{secrets.token_hex(12)}" for name in ("e2e-postgres", "e2e-auth")}


@pytest.fixture(scope="session")
def postgres(namespace: Namespace, canaries: dict[str, str]) -> Iterator[dict[str, Any]]:
    """A Postgres in the cluster with the databases `warehouse` and `prefect`; how to reach it from here."""
    password = canaries["e2e-postgres"]
    namespace.apply(
        _secret("e2e-postgres", password=password),
        _secret("e2e-auth", **{"auth-string": f"admin:{canaries['e2e-auth']}"}),
        _secret("e2e-server", url=f"postgresql+asyncpg://postgres:{password}@postgres:5432/prefect"),
        _postgres_pod(),
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "postgres"},
            "spec": {"selector": {"app": "postgres"}, "ports": [{"port": 5432}]},
        },
    )
    namespace.kubectl("wait", "--for=condition=Ready", "pod/postgres", "--timeout=120s")
    with namespace.forwarded("postgres", 5432) as port:
        where: dict[str, Any] = {"host": "127.0.0.1", "port": port, "user": "postgres", "password": password}
        connection = psycopg2.connect(**where, dbname="postgres")
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("create database warehouse")
            cursor.execute("create database prefect")
        connection.close()
        yield where | {"dbname": "warehouse"}


def _secret(name: str, **values: str) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": values}


def _postgres_pod() -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "postgres", "labels": {"app": "postgres"}},
        "spec": {
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 10001,
                "fsGroup": 10001,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "postgres",
                    "image": POSTGRES_IMAGE,
                    "env": [
                        {
                            "name": "POSTGRES_PASSWORD",
                            "valueFrom": {"secretKeyRef": {"name": "e2e-postgres", "key": "password"}},
                        },
                        {"name": "PGDATA", "value": "/data/pgdata"},
                    ],
                    "readinessProbe": {"tcpSocket": {"port": 5432}, "periodSeconds": 1},
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                    "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                }
            ],
            "volumes": [{"name": "data", "emptyDir": {}}],
        },
    }


@pytest.fixture(scope="session")
def release(namespace: Namespace, postgres: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Release:
    """The chart, installed with the first image."""
    assert postgres
    file = tmp_path_factory.mktemp("release") / "values.yaml"
    file.write_text(values({"auth": "e2e-auth", "postgres": "e2e-postgres"}, "e2e-server"))
    installed = Release("flows", namespace.name, file)
    installed.install(IMAGE)
    return installed


@contextmanager
def connected(namespace: Namespace, auth: str) -> Iterator[Runs]:
    """The release's own Prefect server, through a port of this machine."""
    with (
        namespace.forwarded("flows-flow-of-flows-server", 4200) as port,
        SyncPrefectClient(
            f"http://127.0.0.1:{port}/api",
            auth_string=auth,
            # While kubectl is started again.
            httpx_settings={"transport": httpx.HTTPTransport(retries=5)},
        ) as client,
    ):
        yield Runs(api=f"http://127.0.0.1:{port}/api", client=client, patience=400)


@pytest.fixture
def prefect(release: Release, namespace: Namespace, canaries: dict[str, str]) -> Iterator[Runs]:
    """The server of the installed release."""
    assert release.name == "flows"
    with connected(namespace, f"admin:{canaries['e2e-auth']}") as runs:
        yield runs
