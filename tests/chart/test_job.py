"""The Job of a flow run, as the worker itself makes it of the chart's base job template."""

from __future__ import annotations

import asyncio
from operator import itemgetter
from typing import Any
from uuid import uuid4

import kubernetes_validate
import pytest
from jsonschema import Draft7Validator
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.context import SettingsContext, get_settings_context
from prefect.settings import Settings
from prefect_kubernetes.worker import KubernetesWorkerJobConfiguration

from tests.chart.render import EVERYTHING, KUBERNETES, Object, objects, pods, registration, variables


def manifest(values: Object, **variables: Any) -> Object:
    """The Job for job variables of a run."""
    template = registration(values)["workPool"]["baseJobTemplate"]
    configuration = asyncio.run(
        KubernetesWorkerJobConfiguration.from_template_and_values(
            base_job_template=template,
            values={**variables, "name": "keen-owl"},
            # Nothing is asked of it; without one Prefect would start a server.
            client=PrefectClient("http://127.0.0.1:9/api"),
        )
    )
    configuration._populate_env_in_manifest()  # noqa: SLF001 - as the worker does for a flow run
    configuration._populate_command_if_not_present()  # noqa: SLF001
    job: Object = configuration.job_manifest
    return job


def test_the_job_of_a_run_that_asks_for_nothing_is_whole() -> None:
    """Compared whole, and valid but for the two fields in the pod that the worker's validation insists on."""
    job = manifest({})
    spec = job["spec"]["template"]["spec"]
    assert (spec.pop("completions"), spec.pop("parallelism")) == (1, 1)
    assert spec.pop("tolerations") == []
    assert spec.pop("affinity") == {}
    assert spec.pop("nodeSelector") == {}
    labels = {"app.kubernetes.io/instance": "flows", "app.kubernetes.io/component": "job"}
    assert job == {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"generateName": "keen-owl-", "namespace": "data", "labels": labels, "annotations": {}},
        "spec": {
            "backoffLimit": 0,
            "podReplacementPolicy": "Failed",
            "ttlSecondsAfterFinished": 7200,
            "activeDeadlineSeconds": 43200,
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "restartPolicy": "Never",
                    "serviceAccountName": "flows-flow-of-flows-job",
                    "automountServiceAccountToken": False,
                    "enableServiceLinks": False,
                    "securityContext": {
                        "runAsNonRoot": True,
                        "runAsUser": 10001,
                        "runAsGroup": 10001,
                        "fsGroup": 10001,
                        "fsGroupChangePolicy": "OnRootMismatch",
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "terminationGracePeriodSeconds": 60,
                    "containers": [
                        {
                            "name": "prefect-job",
                            "image": "flow-of-flows:0.1.0",
                            "imagePullPolicy": "IfNotPresent",
                            "args": ["python", "-m", "flow_of_flows.pod"],
                            "env": [
                                {"name": "FLOWS_POD_DEADLINE_SECONDS", "value": " 43200"},
                                {"name": "FLOWS_ENVIRONMENT", "value": "development"},
                                {"name": "FLOWS_WORK_POOL", "value": "flows"},
                                {
                                    "name": "FLOWS_COMMAND_PREFIX",
                                    "value": "kubectl --namespace data exec -it deploy/flows-flow-of-flows-worker --",
                                },
                                {"name": "FLOWS_SWEEP_RELEASE", "value": "flows"},
                                {"name": "FLOWS_AWS_REGION", "value": "eu-west-1"},
                            ],
                            "resources": {
                                "requests": {"cpu": "250m", "memory": "512Mi"},
                                "limits": {"memory": "1Gi"},
                            },
                            "securityContext": {
                                "allowPrivilegeEscalation": False,
                                "readOnlyRootFilesystem": True,
                                "runAsNonRoot": True,
                                "capabilities": {"drop": ["ALL"]},
                            },
                            "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
                        }
                    ],
                    "volumes": [{"name": "tmp", "emptyDir": {}}],
                },
            },
        },
    }
    kubernetes_validate.validate(job, KUBERNETES, strict=True)


def test_every_job_variable_arrives_where_it_belongs() -> None:
    """Resources, placement, deadlines; variables of the run come before those of the pool."""
    job = manifest(
        EVERYTHING,
        image="other:1",
        cpu_request="1",
        cpu_limit="2",
        memory_request="2Gi",
        memory_limit="4Gi",
        node_selector={"lifecycle": "spot"},
        tolerations=[{"key": "spot", "operator": "Exists"}],
        priority_class_name="high",
        active_deadline_seconds=600,
        finished_job_ttl=4000,
        termination_grace_period_seconds=30,
        env={"A": "b"},
        command="prefect flow-run execute",
    )
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["image"] == "other:1"
    assert container["args"] == ["prefect", "flow-run", "execute"]
    assert container["env"][0] == {"name": "A", "value": "b"}
    assert container["env"][-1]["valueFrom"] == {"secretKeyRef": {"name": "token", "key": "token"}}
    assert container["resources"] == {
        "requests": {"cpu": "1", "memory": "2Gi"},
        "limits": {"cpu": "2", "memory": "4Gi"},
    }
    assert pod["nodeSelector"] == {"lifecycle": "spot"}
    assert pod["tolerations"] == [{"key": "spot", "operator": "Exists"}]
    assert pod["priorityClassName"] == "high"
    assert pod["terminationGracePeriodSeconds"] == 30
    assert job["spec"]["activeDeadlineSeconds"] == 600
    assert job["spec"]["ttlSecondsAfterFinished"] == 4000


def test_resources_of_every_name_reach_the_job_and_a_run_overrides_the_usual_ones() -> None:
    """As text, though some are given as numbers; what has no job variable is the same for all runs."""
    asked = {"cpu": 1, "memory": 1073741824, "ephemeral-storage": "4Gi"}
    values = {"jobs": {"resources": {"requests": asked, "limits": {**asked, "nvidia.com/gpu": 1}}}}
    (container,) = manifest(values)["spec"]["template"]["spec"]["containers"]
    usual = {"cpu": "1", "memory": "1073741824", "ephemeral-storage": "4Gi"}
    assert container["resources"] == {"requests": usual, "limits": {**usual, "nvidia.com/gpu": "1"}}
    (container,) = manifest(values, memory_limit="2Gi", ephemeral_storage_limit="8Gi")["spec"]["template"]["spec"][
        "containers"
    ]
    own = {"memory": "2Gi", "ephemeral-storage": "8Gi"}
    assert container["resources"] == {"requests": usual, "limits": {**usual, **own, "nvidia.com/gpu": "1"}}


def test_large_numbers_reach_the_job_as_whole_numbers() -> None:
    """The API refuses 2592000.0 and 2.592e+06 where it wants seconds."""
    job = manifest({"jobs": {"ttlSecondsAfterFinished": 2592000, "activeDeadlineSeconds": 1209600}})
    times = job["spec"]["ttlSecondsAfterFinished"], job["spec"]["activeDeadlineSeconds"]
    assert times == (2592000, 1209600)
    assert [type(each) for each in times] == [int, int]
    kubernetes_validate.validate(_without_worker_s_fields(job), KUBERNETES, strict=True)


def test_words_that_yaml_reads_as_something_else_reach_the_job_as_text() -> None:
    """In names, labels, annotations, selectors and variables; Prefect and its worker change none."""
    words = {"a": "0123", "b": "1e3", "c": "yes", "d": "null", "e": "2024-01-01 10:00:00Z", "f": "1:30", "g": "="}
    job = manifest(
        {
            "jobs": {
                "labels": {"l": "0123"},
                "annotations": words,
                "nodeSelector": words,
                "env": [{"name": name, "value": word} for name, word in words.items()],
                "priorityClassName": "1e3",
                "serviceAccount": {"name": "0123"},
            }
        }
    )
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    given = {entry["name"]: entry["value"] for entry in container["env"] if entry["name"] in words}
    assert (given, job["metadata"]["annotations"], pod["nodeSelector"]) == (words, words, words)
    assert job["metadata"]["labels"]["l"] == "0123"
    assert (pod["priorityClassName"], pod["serviceAccountName"]) == ("1e3", "0123")


def test_a_volume_or_mount_of_the_values_takes_the_place_of_the_chart_s() -> None:
    """By the volume's name and the mount's path; two of one name would be refused by the API."""
    memory = {"name": "tmp", "emptyDir": {"medium": "Memory"}}
    pod = manifest({"jobs": {"volumes": [memory], "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}]}})["spec"][
        "template"
    ]["spec"]
    assert pod["volumes"] == [memory]
    assert pod["containers"][0]["volumeMounts"] == [{"name": "tmp", "mountPath": "/tmp"}]


def _without_worker_s_fields(job: Object) -> Object:
    """A Job without the two fields in its pod that only the worker's validation knows."""
    del job["spec"]["template"]["spec"]["completions"]
    del job["spec"]["template"]["spec"]["parallelism"]
    return job


def test_a_job_variable_that_does_not_exist_does_not_fit_the_schema() -> None:
    """The server refuses it when a run or a deployment brings it."""
    schema = registration()["workPool"]["baseJobTemplate"]["variables"]
    Draft7Validator.check_schema(schema)
    (error,) = Draft7Validator(schema).iter_errors({"memory": "1Gi"})
    assert "'memory' was unexpected" in error.message


def test_a_job_without_a_deadline_tells_its_pod_so() -> None:
    """As text that the pod reads as none."""
    job = manifest({}, active_deadline_seconds=None)
    assert job["spec"].get("activeDeadlineSeconds") is None
    (deadline,) = (
        each["value"]
        for each in job["spec"]["template"]["spec"]["containers"][0]["env"]
        if each["name"] == "FLOWS_POD_DEADLINE_SECONDS"
    )
    assert deadline == " None"


def test_only_the_sweep_s_pod_has_a_token_and_the_account_that_may_see_jobs() -> None:
    """By the job variables of its deployment; a run of another has neither."""
    given = registration()["jobVariables"]["byDeployment"]
    assert given == {
        "sweep": {"service_account_name": "flows-flow-of-flows-sweeper", "automount_service_account_token": True}
    }
    pod = manifest({}, **given["sweep"])["spec"]["template"]["spec"]
    assert (pod["serviceAccountName"], pod["automountServiceAccountToken"]) == ("flows-flow-of-flows-sweeper", True)


KUBERNETES_WORKER = "PREFECT_INTEGRATIONS_KUBERNETES_WORKER"
HEADERS = {"name": "PREFECT_CLIENT_CUSTOM_HEADERS", "valueFrom": {"secretKeyRef": {"name": "edge", "key": "headers"}}}
OTHER_HEADERS = {**HEADERS, "valueFrom": {"secretKeyRef": {"name": "jobs-edge", "key": "headers"}}}
LEVEL = {"name": "PREFECT_LOGGING_LEVEL", "valueFrom": {"configMapKeyRef": {"name": "logging", "key": "level"}}}
KEY: Object = {"name": "PREFECT_API_KEY", "valueFrom": {"secretKeyRef": {"name": "cloud", "key": "key"}}}
OWN_LEVEL = {"name": "PREFECT_LOGGING_LEVEL", "value": "DEBUG"}


def prepared(monkeypatch: pytest.MonkeyPatch, values: Object, **variables: Any) -> list[Object]:
    """Return Prefect's variables in the Job that a worker with these settings makes for a flow run."""
    settings = {"PREFECT_API_KEY": "pnu_canary", "PREFECT_LOGGING_LEVEL": "INFO"}
    for name, value in {**settings, "PREFECT_CLIENT_CUSTOM_HEADERS": '{"X-Edge": "canary"}'}.items():
        monkeypatch.setenv(name, value)
    template = registration(values)["workPool"]["baseJobTemplate"]
    assert set(variables) <= set(template["variables"]["properties"])
    with SettingsContext(profile=get_settings_context().profile, settings=Settings()):
        configuration = asyncio.run(
            KubernetesWorkerJobConfiguration.from_template_and_values(
                base_job_template=template, values=variables, client=PrefectClient("http://127.0.0.1:9/api")
            )
        )
        configuration.prepare_for_flow_run(FlowRun(id=uuid4(), name="keen-owl", flow_id=uuid4()))
    (container,) = configuration.job_manifest["spec"]["template"]["spec"]["containers"]
    names = [entry["name"] for entry in container["env"]]
    assert len(names) == len(set(names))
    given = {*settings, "PREFECT_CLIENT_CUSTOM_HEADERS"}
    return sorted((entry for entry in container["env"] if entry["name"] in given), key=itemgetter("name"))


@pytest.mark.parametrize(
    ("worker", "jobs", "expected"),
    [
        # The worker's references are those of job pods, too.
        ([KEY, HEADERS, LEVEL], [], [KEY, HEADERS, LEVEL]),
        # What jobs.env says wins over what the worker would copy, by reference or not.
        ([KEY, HEADERS, LEVEL], [OTHER_HEADERS, OWN_LEVEL], [KEY, OTHER_HEADERS, OWN_LEVEL]),
        ([], [KEY, HEADERS, LEVEL], [KEY, HEADERS, LEVEL]),
    ],
)
def test_settings_that_are_given_by_reference_stay_references_in_job_pods(
    monkeypatch: pytest.MonkeyPatch, worker: list[Object], jobs: list[Object], expected: list[Object]
) -> None:
    """The worker copies its own settings as plain text, and a copy would win over the template's entry."""
    found = prepared(monkeypatch, {"worker": {"env": worker}, "jobs": {"env": jobs}})
    assert found == expected
    assert "canary" not in str(found)


def test_a_variable_of_a_deployment_wins_over_those_of_the_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also over one that is not copied from the worker."""
    values: Object = {"worker": {"env": [KEY, HEADERS]}, "jobs": {"env": [OWN_LEVEL]}}
    found = prepared(monkeypatch, values, env={"PREFECT_LOGGING_LEVEL": "ERROR"})
    assert found == [KEY, HEADERS, {"name": "PREFECT_LOGGING_LEVEL", "value": "ERROR"}]


@pytest.mark.parametrize("part", ["jobs", "worker"])
def test_a_credential_of_jobs_or_worker_is_not_replaced_by_the_release_s_own(part: str) -> None:
    """The worker would replace the reference in the Job by the one of prefect.apiKey and prefect.auth."""
    auth: Object = {"name": "PREFECT_API_AUTH_STRING", "valueFrom": {"secretKeyRef": {"name": "a", "key": "b"}}}
    named = {"apiKey": {"existingSecret": "own"}, "auth": {"existingSecret": "own"}}
    for given in ([KEY], [auth], [KEY, auth]):
        worker = pods(objects({"prefect": named, part: {"env": given}}))["Deployment/worker"]
        replaced = {
            name
            for name in ("API_KEY", "API_AUTH_STRING")
            if f"{KUBERNETES_WORKER}_{name}_SECRET_NAME" in variables(worker)
        }
        kept = {entry["name"].removeprefix("PREFECT_") for entry in given}
        assert replaced == {"API_KEY", "API_AUTH_STRING"} - kept
