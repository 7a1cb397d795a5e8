"""The demonstration as its page has it: one install on a bare cluster, then the one command that the notes print."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.conditions import eventually
from tests.e2e.conftest import IMAGE
from tests.e2e.kube import Namespace, connect, emptied
from tests.e2e.release import CHART, Release, run_noted
from tests.e2e.volumes import default_storage

NAMESPACE = "flow-of-flows-demo"
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def namespace() -> Iterator[Namespace]:
    """A namespace of its own, in a cluster with a default storage class."""
    with default_storage(connect(NAMESPACE), claims=2), emptied(NAMESPACE) as found:
        yield found


def test_an_install_and_the_command_of_its_notes_end_with_a_completed_pipeline(namespace: Namespace) -> None:
    """Every run in a pod of its own, on DuckDB and state in the claim, which stays when the release goes."""
    release = Release("flows", namespace.name, CHART / "values-demo.yaml")
    code, printed = run_noted(release.install(IMAGE))
    assert code == 0, printed
    assert "6 of 6 steps completed" in printed
    pods = namespace.pods("app.kubernetes.io/component=job,prefect.io/deployment-name notin (sweep)")
    assert len(pods) == 10, [_flow(pod) for pod in pods]
    assert release.rows_on_claim("analytics.customers") == (0, "120\n")
    release.uninstall()
    eventually(lambda: not namespace.pods(), "no pod is left", within=60)
    claims = namespace.kubectl("get", "pvc", "-o", "name")
    assert claims == "persistentvolumeclaim/flows-flow-of-flows-warehouse\n"


def _flow(pod: dict[str, Any]) -> str:
    return str(pod["metadata"]["labels"].get("prefect.io/deployment-name"))
