"""A release of the chart on a real cluster, with a Postgres in the cluster: made once, removed at the end.

Images are taken as they are: `E2E_IMAGE`, `E2E_NEXT_IMAGE` (the same or a later one under another tag) and
`E2E_POSTGRES_IMAGE` have to be where the nodes find them (loaded, or in a registry).
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException
from urllib3.exceptions import HTTPError

from tests.e2e.database import database, secret
from tests.e2e.kube import Namespace, emptied
from tests.e2e.release import Release, connected, values
from tests.fixtures.runs import Runs

NAMESPACE = "flow-of-flows-e2e"
IMAGE = os.environ.get("E2E_IMAGE", "flow-of-flows:0.1.0")
NEXT_IMAGE = os.environ.get("E2E_NEXT_IMAGE", "flow-of-flows:0.1.0-next")
NEEDS = (
    "make e2e needs helm and kubectl on PATH, and a cluster that KUBECONFIG points at (kind, minikube, EKS, …) whose "
    "nodes find the images; see the README, 'On a cluster of your own'"
)


@pytest.fixture(scope="session")
def namespace() -> Iterator[Namespace]:
    """An empty namespace that enforces Pod Security "restricted"."""
    if missing := [tool for tool in ("helm", "kubectl") if not shutil.which(tool)]:
        pytest.exit(f"{' and '.join(missing)} not found. {NEEDS}", returncode=2)
    with ExitStack() as stack:
        try:
            found = stack.enter_context(emptied(NAMESPACE))
        except (ConfigException, HTTPError) as error:
            pytest.exit(f"No cluster: {error}. {NEEDS}", returncode=2)
        except ApiException as error:
            pytest.exit(f"The namespace {NAMESPACE} cannot be made: {error.reason}", returncode=2)
        yield found


@pytest.fixture(scope="session")
def canaries() -> dict[str, str]:
    """Secrets of this session by the name of their Kubernetes Secret; none may be seen anywhere else."""
    return {name: f"canary{secrets.token_hex(12)}" for name in ("e2e-postgres", "e2e-auth")}


@pytest.fixture(scope="session")
def postgres(namespace: Namespace, canaries: dict[str, str]) -> Iterator[dict[str, Any]]:
    """A Postgres in the cluster with the databases `warehouse` and `prefect`; how to reach it from here."""
    password = canaries["e2e-postgres"]
    namespace.apply(
        secret("e2e-auth", **{"auth-string": f"admin:{canaries['e2e-auth']}"}),
        secret("e2e-server", url=f"postgresql://postgres:{password}@postgres:5432/prefect"),
    )
    with database(namespace, "e2e-postgres", password) as where:
        yield where


@pytest.fixture(scope="session")
def release(namespace: Namespace, postgres: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Release:
    """The chart, installed with the first image."""
    assert postgres
    file = tmp_path_factory.mktemp("release") / "values.yaml"
    file.write_text(values({"auth": "e2e-auth", "postgres": "e2e-postgres"}, "e2e-server"))
    installed = Release("flows", namespace.name, file)
    installed.install(IMAGE)
    return installed


@pytest.fixture
def prefect(release: Release, namespace: Namespace, canaries: dict[str, str]) -> Iterator[Runs]:
    """The server of the installed release."""
    assert release.name == "flows"
    with connected(namespace, f"admin:{canaries['e2e-auth']}") as runs:
        yield runs
