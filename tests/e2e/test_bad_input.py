"""Messages about mistakes, where a person looks first: helm's output, the run's log, `flows doctor`."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conditions import eventually
from tests.e2e.conftest import IMAGE
from tests.e2e.kube import Namespace
from tests.e2e.release import Release
from tests.fixtures.runs import Runs

pytestmark = pytest.mark.timeout(900)
# No listener: a Service address that nothing has.
NOWHERE = "http://10.96.255.254:4200/api"


def refused(namespace: Namespace, folder: Path, values: dict[str, Any]) -> str:
    """What helm says of an install that fails."""
    file = folder / "values.yaml"
    file.write_text(json.dumps(values))
    with pytest.raises(RuntimeError) as failure:
        Release("refused", namespace.name, file).install(IMAGE)
    return str(failure.value)


def left_of(namespace: Namespace, release: str) -> list[str]:
    """Names of objects of a release."""
    kinds = "all,configmaps,serviceaccounts,roles,rolebindings,networkpolicies"
    return namespace.kubectl("get", kinds, "-l", f"app.kubernetes.io/instance={release}", "-o", "name").split()


def without_pods(names: list[str]) -> list[str]:
    """Names of objects that are no pods."""
    return [name for name in names if not name.startswith("pod/")]


def doctor(namespace: Namespace, *environment: str) -> tuple[int, str]:
    """Exit code and output of `flows doctor` in the worker, as the chart's notes say it; lines joined."""
    command = ["kubectl", "-n", namespace.name, "exec", "deploy/flows-flow-of-flows-worker", "--"]
    variables = ["env", "COLUMNS=300", *environment]
    done = subprocess.run([*command, *variables, "flows", "doctor"], capture_output=True, text=True, check=False)
    return done.returncode, re.sub(r"\s+", " ", done.stdout)


def test_a_secret_that_does_not_exist_is_named_before_anything_is_installed(
    namespace: Namespace, tmp_path: Path
) -> None:
    """By helm, with the command that makes it."""
    said = refused(namespace, tmp_path, {"prefect": {"auth": {"existingSecret": "nobody"}}})
    assert (
        "prefect.auth.existingSecret: there is no Secret nobody in namespace flow-of-flows-e2e. Create it first: "
        "kubectl --namespace flow-of-flows-e2e create secret generic nobody --from-file=auth-string"
    ) in said
    assert left_of(namespace, "refused") == []


def test_an_api_that_does_not_answer_is_named_by_helm_and_nothing_stays(namespace: Namespace, tmp_path: Path) -> None:
    """The hook's own sentence; but for the failed hook, kept a day for its log, the release is gone by itself."""
    said = refused(
        namespace,
        tmp_path,
        {
            "server": {"enabled": False},
            "prefect": {"apiUrl": NOWHERE},
            "registration": {"timeoutSeconds": 10},
        },
    )
    assert "The Prefect API did not answer for 10 s" in said
    assert NOWHERE in said
    hook = ["job.batch/refused-flow-of-flows-register"]
    eventually(lambda: without_pods(left_of(namespace, "refused")) == hook, "the release is gone", within=90)
    (job,) = namespace.jobs("app.kubernetes.io/instance=refused")
    assert job["spec"]["ttlSecondsAfterFinished"] == 86400
    namespace.kubectl("delete", *hook)


def test_a_pod_that_cannot_start_says_why_in_its_run_s_log_and_ends_when_cancelled(
    prefect: Runs, namespace: Namespace
) -> None:
    """An image that is nowhere, and a request that no node has; `flows doctor` names both."""
    image = prefect.start_with("smoke", {"image": "flow-of-flows:nowhere"})
    size = prefect.start_with("smoke", {"cpu_request": "999"})
    eventually(
        lambda: any("Image pull failed for container 'prefect-job'" in line for line in prefect.log(image)),
        "the log names the image",
        within=120,
    )
    eventually(
        lambda: any("Insufficient cpu" in line for line in prefect.log(size)), "the log names the size", within=120
    )
    names = {run: prefect.client.read_flow_run(run).name for run in (image, size)}
    code, said = eventually(lambda: _stuck(namespace), "the doctor sees both", within=150)
    assert code == 3
    assert f"{names[image]} (InfrastructurePending: ImagePullError)" in said
    assert f"{names[size]} (InfrastructurePending: Unschedulable.InsufficientResources)" in said
    for run in (image, size):
        prefect.cancel(run)
    assert [prefect.end_of(run).state_name for run in (image, size)] == ["Cancelled", "Cancelled"]
    eventually(lambda: namespace.pods_of(image) + namespace.pods_of(size) == [], "their pods are gone", within=60)


def _stuck(namespace: Namespace) -> tuple[int, str] | None:
    code, said = doctor(namespace)
    return (code, said) if "2 wait: " in said else None


def test_a_pool_of_another_name_is_named_by_the_doctor(prefect: Runs, namespace: Namespace) -> None:
    """With the names that there are."""
    assert prefect.client.read_work_pool("flows").type == "kubernetes"
    code, said = doctor(namespace, "FLOWS_WORK_POOL=flwos")
    assert code == 2
    assert "There is no work pool flwos" in said
    assert "correct FLOWS_WORK_POOL (there are flows), or run `flows register`" in said
