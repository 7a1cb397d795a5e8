"""Every value that the schema takes reaches the objects it is for; the table is complete by the schema itself."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import yaml

from tests.chart.render import CHART, Object, objects, pods
from tests.chart.test_refusals import REMOVED

SERVER, WORKER, REGISTRATION = "Deployment/server", "Deployment/worker", "ConfigMap/registration"
DUCKDB_CLAIM = "PersistentVolumeClaim/warehouse"
REGISTER, TEARDOWN, SMOKE = "Job/register", "Job/teardown", "Pod/smoke"
CLIENTS = {WORKER, REGISTER, TEARDOWN, SMOKE}
PODS = CLIENTS | {SERVER}
# Values that only make sense together, each with what they need beside them.
TOGETHER: dict[str, Object] = {
    "postgres": {"warehouse": {"target": "postgres"}},
    "volume": {"server": {"persistence": {"enabled": True}}, "warehouse": {"target": "duckdb"}},
    "claim": {"server": {"persistence": {"enabled": True}}},
    "duckdb": {"warehouse": {"target": "duckdb", "duckdb": {"persistence": {"enabled": True}}}},
    "cloud": {"server": {"enabled": False}, "warehouse": {"target": "snowflake"}},
    "own": {"server": {"enabled": False}},
}


class Leaf(NamedTuple):
    """A value, the text that shows it, and the objects that carry that text.

    Attributes:
        group: the key of `TOGETHER` it is rendered with.
    """

    value: Any
    text: str
    objects: set[str]
    group: str = "postgres"


LEAVES: dict[str, Leaf] = {
    "image.repository": Leaf("registry.example.com/image", "registry.example.com/image:", PODS | {REGISTRATION}),
    "image.tag": Leaf("9.8.7", "image:9.8.7", PODS | {REGISTRATION}),
    "image.digest": Leaf(f"sha256:{'7' * 64}", f"@sha256:{'7' * 64}", CLIENTS | {REGISTRATION}, "cloud"),
    "image.pullPolicy": Leaf("Never", '"Never"', PODS | {REGISTRATION}),
    "image.pullSecrets": Leaf([{"name": "puller"}], '"puller"', PODS | {REGISTRATION}),
    "workPool.name": Leaf("pond", "pond", {WORKER, REGISTRATION, REGISTER}),
    "workPool.concurrencyLimit": Leaf(1234567, '"concurrencyLimit": 1234567', {REGISTRATION}),
    "deployments.suffix": Leaf("-blue", '"-blue"', {REGISTRATION, REGISTER, WORKER}),
    "prefect.apiUrl": Leaf("https://p.example.com/api/", '"https://p.example.com/api"', CLIENTS, "own"),
    "prefect.uiUrl": Leaf("https://ui.example.com/", '"https://ui.example.com"', CLIENTS),
    "prefect.cloud.accountId": Leaf("account-7", "/accounts/account-7/", CLIENTS, "cloud"),
    "prefect.cloud.workspaceId": Leaf("workspace-7", "/workspaces/workspace-7", CLIENTS, "cloud"),
    "prefect.auth.existingSecret": Leaf("auth-secret", "auth-secret", PODS),
    "prefect.auth.key": Leaf("auth-key", "auth-key", PODS),
    "prefect.apiKey.existingSecret": Leaf("key-secret", "key-secret", CLIENTS, "cloud"),
    "prefect.apiKey.key": Leaf("key-key", "key-key", CLIENTS, "cloud"),
    "server.database.existingSecret": Leaf("runs-secret", "runs-secret", {SERVER}),
    "server.database.key": Leaf("runs-key", "runs-key", {SERVER}),
    "server.persistence.existingClaim": Leaf("runs-claim", "runs-claim", {SERVER}, "claim"),
    "server.persistence.size": Leaf(7516192768, '"storage": "7516192768"', {"PersistentVolumeClaim/server"}, "volume"),
    "server.persistence.storageClass": Leaf("fast", '"fast"', {"PersistentVolumeClaim/server"}, "volume"),
    "server.cancellingTimeoutSeconds": Leaf(1212121, '"1212121"', {SERVER}, "volume"),
    "server.nodeSelector": Leaf({"a": "server-node"}, "server-node", {SERVER}),
    "server.tolerations": Leaf([{"key": "t", "tolerationSeconds": 1234567}], "1234567", {SERVER}, "claim"),
    "server.affinity": Leaf({"nodeAffinity": {"x": "server-affinity"}}, "server-affinity", {SERVER}),
    "server.podAnnotations": Leaf({"a": "server-annotation"}, "server-annotation", {SERVER}),
    "server.env": Leaf([{"name": "A", "value": 7654321}], '"7654321"', {SERVER}),
    "server.volumes": Leaf([{"name": "server-volume", "emptyDir": {}}], "server-volume", {SERVER}),
    "server.volumeMounts": Leaf([{"name": "server-volume", "mountPath": "/tls"}], '"/tls"', {SERVER}),
    "worker.replicas": Leaf(2000000, '"replicas": 2000000', {WORKER}),
    "worker.pollSeconds": Leaf(1.25, '"1.25"', {WORKER}),
    "worker.nodeSelector": Leaf({"a": "worker-node"}, "worker-node", {WORKER}),
    "worker.tolerations": Leaf([{"key": "worker-taint"}], "worker-taint", {WORKER}),
    "worker.affinity": Leaf({"nodeAffinity": {"x": "worker-affinity"}}, "worker-affinity", {WORKER}),
    "worker.topologySpreadConstraints": Leaf([{"topologyKey": "rack"}], '"rack"', {WORKER}),
    "worker.priorityClassName": Leaf("worker-class", "worker-class", {WORKER}),
    "worker.podDisruptionBudget.maxUnavailable": Leaf("40%", '"40%"', {"PodDisruptionBudget/worker"}),
    "worker.serviceAccount.name": Leaf(
        "worker-account", '"worker-account"', {WORKER, "ServiceAccount/worker-account", "RoleBinding/worker"}
    ),
    "worker.serviceAccount.annotations": Leaf({"a": "worker-role"}, "worker-role", {"ServiceAccount/worker-account"}),
    "worker.terminationGracePeriodSeconds": Leaf(0, '"terminationGracePeriodSeconds": 0', {WORKER}),
    "worker.podAnnotations": Leaf({"a": "worker-annotation"}, "worker-annotation", {WORKER}),
    "worker.podLabels": Leaf({"a": "worker-label"}, "worker-label", {WORKER}),
    "worker.env": Leaf([{"name": "A", "value": True}], '"A", "value": "true"', {WORKER}),
    "jobs.serviceAccount.name": Leaf(
        "job-account", '"job-account"', {REGISTRATION, REGISTER, "ServiceAccount/job-account"}
    ),
    "jobs.serviceAccount.annotations": Leaf({"a": "job-role"}, "job-role", {"ServiceAccount/job-account"}),
    "jobs.tmpSizeLimit": Leaf(10737418240, '"default": "10737418240"', {REGISTRATION}),
    "jobs.nodeSelector": Leaf({"a": "job-node"}, "job-node", {REGISTRATION}),
    "jobs.tolerations": Leaf([{"key": "job-taint"}], "job-taint", {REGISTRATION}),
    "jobs.affinity": Leaf({"nodeAffinity": {"x": "job-affinity"}}, "job-affinity", {REGISTRATION}),
    "jobs.priorityClassName": Leaf("job-class", "job-class", {REGISTRATION}),
    "jobs.env": Leaf([{"name": "A", "value": "job-variable"}], '"A", "value": "job-variable"', {REGISTRATION}),
    "jobs.envFrom": Leaf([{"secretRef": {"name": "job-secret"}}], "job-secret", {REGISTRATION}),
    "jobs.volumes": Leaf([{"name": "job-volume", "emptyDir": {}}], "job-volume", {REGISTRATION}),
    "jobs.volumeMounts": Leaf([{"name": "job-volume", "mountPath": "/job"}], '"/job"', {REGISTRATION}),
    "jobs.ttlSecondsAfterFinished": Leaf(2592000, '"default": 2592000', {REGISTRATION}),
    "jobs.activeDeadlineSeconds": Leaf(1209600, '"default": 1209600', {REGISTRATION}),
    "jobs.terminationGracePeriodSeconds": Leaf(1234567, '"default": 1234567', {REGISTRATION}, "own"),
    "jobs.annotations": Leaf({"a": "job-annotation"}, "job-annotation", {REGISTRATION}),
    "jobs.labels": Leaf({"a": "job-label"}, "job-label", {REGISTRATION}),
    "jobs.pipelines": Leaf({"env": {"A": 1234567}}, '"A": "1234567"', {REGISTRATION}, "volume"),
    "jobs.children": Leaf({"cpu_limit": 1.5}, '"cpu_limit": "1.5"', {REGISTRATION}),
    "jobs.retryNodes": Leaf({"node_selector": {"a": "retry-node"}}, "retry-node", {REGISTRATION, REGISTER}),
    "jobs.deployments": Leaf({"x": {"memory_limit": 4294967296}}, '"memory_limit": "4294967296"', {REGISTRATION}),
    "environment": Leaf("production", '"production"', {REGISTRATION, REGISTER}),
    "schedules.active": Leaf(False, '"schedules": false', {REGISTRATION}),  # noqa: FBT003 - a value
    "credentials.region": Leaf("ap-south-1", "ap-south-1", {REGISTRATION, REGISTER}),
    "credentials.names": Leaf({"github": "hub/token"}, "hub/token", {REGISTRATION, REGISTER}),
    "credentials.mounted": Leaf({"dbt/snow": "snow"}, '"secretName": "snow"', {REGISTRATION, REGISTER}),
    "dbt.secrets": Leaf(
        {"A": {"secret": "dwh", "field": "key", "file": True}},
        json.dumps(json.dumps({"A": {"field": "key", "file": True, "secret": "dwh"}}, separators=(",", ":"))),
        {REGISTRATION, REGISTER},
    ),
    "warehouse.target": Leaf("postgres", '"DBT_TARGET", "value": "postgres"', {REGISTRATION}),
    "warehouse.schema": Leaf("marts", '"marts"', {REGISTRATION}),
    "warehouse.threads": Leaf(61, '"61"', {REGISTRATION}),
    "warehouse.postgres.host": Leaf("db.example.com", "db.example.com", {REGISTRATION}),
    "warehouse.postgres.port": Leaf(61234, '"61234"', {REGISTRATION}),
    "warehouse.postgres.user": Leaf("db-user", "db-user", {REGISTRATION}),
    "warehouse.postgres.database": Leaf("db-name", "db-name", {REGISTRATION}),
    "warehouse.postgres.existingSecret": Leaf("db-secret", "db-secret", {REGISTRATION}),
    "warehouse.postgres.key": Leaf("db-key", "db-key", {REGISTRATION}),
    "warehouse.duckdb.existingClaim": Leaf("duck-claim", "duck-claim", {REGISTRATION}, "volume"),
    "warehouse.duckdb.persistence.size": Leaf("9Gi", '"storage": "9Gi"', {DUCKDB_CLAIM}, "duckdb"),
    "warehouse.duckdb.persistence.storageClass": Leaf("fast", '"fast"', {DUCKDB_CLAIM}, "duckdb"),
    "warehouse.duckdb.persistence.accessMode": Leaf("ReadWriteMany", '"ReadWriteMany"', {DUCKDB_CLAIM}, "duckdb"),
    "stateStore.s3": Leaf("s3://artifacts/x/", '"s3://artifacts/x"', {REGISTRATION}, "cloud"),
    "stateStore.existingClaim": Leaf("state-claim", "state-claim", {REGISTRATION}),
    "settings": Leaf({"FLOWS_STATE_HISTORY": 1000000}, '"1000000"', {REGISTRATION, REGISTER, WORKER}),
    "registration.timeoutSeconds": Leaf(3333, "--wait=3333", {REGISTER}),
    "registration.owner": Leaf("eu-7/flows", '"eu-7/flows"', {REGISTRATION}),
    "registration.takeOver": Leaf(value=True, text="--take-over", objects={REGISTER}),
    "registration.env": Leaf([{"name": "A", "value": "register-variable"}], "register-variable", {REGISTER}),
    "registration.envFrom": Leaf([{"secretRef": {"name": "register-secret"}}], "register-secret", {REGISTER}),
    "registration.volumes": Leaf([{"name": "register-volume", "emptyDir": {}}], "register-volume", {REGISTER}),
    "registration.volumeMounts": Leaf([{"name": "register-volume", "mountPath": "/reg"}], '"/reg"', {REGISTER}),
    "networkPolicy.serverFrom": Leaf([{"podSelector": {"a": "front"}}], '"front"', {"NetworkPolicy/server"}),
    "networkPolicy.jobsExcept": Leaf(
        ["10.9.8.7/32"],
        "10.9.8.7/32",
        {f"NetworkPolicy/{name}" for name in ("worker", "job", "registration", "test", "teardown", "server")},
    ),
}
# Values that are on or off: what else is set, and which objects that takes away.
SWITCHES: dict[str, tuple[Object, set[str]]] = {
    "server.enabled": (
        {"prefect": {"apiUrl": "https://p.example.com/api"}},
        {"Deployment/server", "Service/server", "NetworkPolicy/server", "PersistentVolumeClaim/server"},
    ),
    "server.persistence.enabled": ({}, {"PersistentVolumeClaim/server"}),
    "warehouse.duckdb.persistence.enabled": ({}, {DUCKDB_CLAIM}),
    "worker.podDisruptionBudget.enabled": ({}, {"PodDisruptionBudget/worker"}),
    "worker.serviceAccount.create": ({}, {"ServiceAccount/worker"}),
    "jobs.serviceAccount.create": ({}, {"ServiceAccount/job"}),
    "sweeper.enabled": ({}, {"ServiceAccount/sweeper", "Role/sweeper", "RoleBinding/sweeper"}),
    "registration.enabled": ({}, {"ConfigMap/registration", "Job/register"}),
    "networkPolicy.enabled": (
        {},
        {f"NetworkPolicy/{name}" for name in ("worker", "job", "registration", "test", "teardown", "server")},
    ),
    "tests.enabled": ({}, {"Pod/smoke"}),
}
AMOUNTS = {"cpu": 0.5, "memory": 1073741824, "ephemeral-storage": "8Gi", "nvidia.com/gpu": 2, "hugepages-2Mi": "4Mi"}
TEXTS = {**AMOUNTS, "cpu": "0.5", "memory": "1073741824", "nvidia.com/gpu": "2"}
RESOURCES = {
    "server": {"Deployment/server"},
    "worker": {"Deployment/worker"},
    "registration": {"Job/register", "Job/teardown", "Pod/smoke"},
}


def schema_leaves(schema: Object, at: str = "") -> Iterator[str]:
    """Paths of the values that the schema takes; a list, a free map and resources are one value each."""
    for name, entry in schema["properties"].items():
        path = f"{at}.{name}".removeprefix(".")
        if "properties" in entry:
            yield from schema_leaves(entry, path)
        else:
            yield path


def at(path: str, value: Any) -> Object:
    """Values with one value at a path."""
    for key in reversed(path.split(".")):
        value = {key: value}
    return dict(value)


def merged(first: Object, second: Object) -> Object:
    """Two trees of values in one."""
    both = {**first, **second}
    for key in first.keys() & second.keys():
        if isinstance(first[key], dict) and isinstance(second[key], dict):
            both[key] = merged(first[key], second[key])
    return both


@functools.cache
def rendered(group: str) -> dict[str, str]:
    """The objects of a group's values as JSON."""
    values = TOGETHER[group]
    for path, leaf in LEAVES.items():
        if leaf.group == group:
            values = merged(values, at(path, leaf.value))
    return {name: json.dumps(read(each)) for name, each in objects(values).items()}


def read(each: Object) -> Object:
    """An object; of the registration what its text says."""
    if each["kind"] == "ConfigMap":
        return {**each, "data": yaml.safe_load(each["data"]["registration.yaml"])}
    return each


def test_the_tables_hold_every_value_of_the_schema() -> None:
    """A value that is added to the schema has to be shown to arrive."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    resources = {f"{part}.resources" for part in (*RESOURCES, "jobs")}
    # Helm passes `global` to every chart; this one has no part that reads it.
    refused = {f"registration.{name}" for name, _ in REMOVED}
    # The notes have it, which helm renders with a cluster only: see tests/e2e/test_demo.py.
    noted = {"mainPipeline"}
    assert {*LEAVES, *SWITCHES, *resources, *refused, *noted, "global"} == set(schema_leaves(schema))


@pytest.mark.parametrize("path", LEAVES)
def test_a_value_reaches_just_the_objects_it_is_for(path: str) -> None:
    """With its text as it was written, whatever YAML and Helm make of numbers."""
    leaf = LEAVES[path]
    found = rendered(leaf.group)
    assert {name for name, text in found.items() if leaf.text in text} == leaf.objects


@pytest.mark.parametrize("path", SWITCHES)
def test_a_switch_that_is_off_takes_its_objects_away_and_no_others(path: str) -> None:
    """From a render with everything on."""
    others, gone = SWITCHES[path]
    duckdb = {"persistence": {"enabled": True, "accessMode": "ReadWriteMany"}}
    on: Object = {
        "server": {"persistence": {"enabled": True}},
        "worker": {"replicas": 2},
        "warehouse": {"duckdb": duckdb},
    }
    off = merged(merged(on, others), at(path, False))  # noqa: FBT003 - a value
    assert set(objects(on)) - set(objects(off)) == gone


@pytest.mark.parametrize("part", RESOURCES)
def test_every_resource_of_a_part_reaches_its_pods(part: str) -> None:
    """Amounts as text, however they were given, and resources of devices too."""
    both = {"requests": AMOUNTS, "limits": AMOUNTS}
    found = pods(objects({part: {"resources": both}}))
    for name in RESOURCES[part]:
        (container,) = found[name]["containers"]
        assert container["resources"] == {"requests": TEXTS, "limits": TEXTS}
