"""A team moves in: its own project on the base image, its own pipeline, and the platform upgraded under it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.kube import Namespace, connect, emptied
from tests.e2e.release import CHART, Release, run_noted
from tests.e2e.team import NAME, next_version
from tests.e2e.volumes import default_storage

pytestmark = pytest.mark.timeout(900)
NAMESPACE = "flow-of-flows-team"
PROJECT = Path(os.environ.get("E2E_TEAM", "build/team")) / NAME
IMAGE = os.environ.get("E2E_TEAM_IMAGE", f"{NAME}:1")
NEXT_IMAGE = os.environ.get("E2E_TEAM_NEXT_IMAGE", f"{NAME}:2")
VERSION = "import importlib.metadata; print(importlib.metadata.version('flow-of-flows'))"


@pytest.fixture(scope="module")
def namespace() -> Iterator[Namespace]:
    """A namespace of the team's own, in a cluster with a default storage class."""
    with default_storage(connect(NAMESPACE), claims=1), emptied(NAMESPACE) as found:
        yield found


@pytest.fixture(scope="module")
def release(namespace: Namespace) -> Release:
    """A release with the values that `flows init` wrote."""
    return Release(NAME, namespace.name, PROJECT / "values.yaml")


def pods(namespace: Namespace, image: str) -> list[str]:
    """The deployments whose runs had a pod of this image, the sweeper's left out."""
    jobs = "app.kubernetes.io/component=job,prefect.io/deployment-name notin (sweep)"
    return sorted(
        pod["metadata"]["labels"]["prefect.io/deployment-name"]
        for pod in namespace.pods(jobs)
        if pod["spec"]["containers"][0]["image"] == image
    )


def test_the_team_s_own_pipeline_completes_with_its_child_and_a_plain_flow(
    release: Release, namespace: Namespace
) -> None:
    """Installed with the project's values and image, started with the command of the notes; a pod for each run."""
    code, printed = run_noted(release.install(IMAGE))
    assert code == 0, printed
    assert "3 of 3 steps completed" in printed
    assert pods(namespace, IMAGE) == ["dbt-build", "main", "score", "temperatures"]
    assert release.rows_on_claim("analytics.city_temperatures") == (0, "3\n")


def test_the_platform_is_upgraded_under_the_project(release: Release, namespace: Namespace, tmp_path: Path) -> None:
    """Base image and chart of the next version, the same project: nothing in it changes."""
    version = next_version()
    package = ["helm", "package", str(CHART), "--version", version, "--app-version", version]
    subprocess.run([*package, "--destination", str(tmp_path)], check=True, capture_output=True)
    release.install(NEXT_IMAGE, chart=tmp_path / f"flow-of-flows-{version}.tgz")
    assert release.in_worker("python", "-c", VERSION) == (0, f"{version}\n")
    release.test()
    code, printed = release.in_worker("flows", "run", "main")
    assert code == 0, printed
    assert "3 of 3 steps completed" in printed
    assert pods(namespace, NEXT_IMAGE) == ["dbt-build", "main", "score", "smoke", "temperatures"]
    assert release.rows_on_claim("analytics.city_temperatures") == (0, "3\n")
    release.uninstall()
