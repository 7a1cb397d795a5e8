"""The chart as `helm template` renders it: values in, objects or helm's refusal out."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parent.parent.parent / "helm"
Object = dict[str, Any]
# Values that use every part of the chart at once.
EVERYTHING: Object = {
    "image": {"pullSecrets": [{"name": "registry"}]},
    "prefect": {"auth": {"existingSecret": "auth"}},
    "server": {"persistence": {"enabled": True, "storageClass": "gp3"}, "env": [{"name": "A", "value": "b"}]},
    "worker": {
        "replicas": 2,
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "x", "operator": "Exists"}],
        "priorityClassName": "high",
        "podLabels": {"team": "data"},
        "podAnnotations": {"note": "worker"},
        "serviceAccount": {"annotations": {"a": "b"}},
    },
    "jobs": {
        "env": [{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "token", "key": "token"}}}],
        "envFrom": [{"secretRef": {"name": "more"}}],
        "volumes": [{"name": "scratch", "emptyDir": {}}],
        "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}],
        "pipelines": {"node_selector": {"lifecycle": "on-demand"}},
        "deployments": {"dbt-build": {"memory_limit": "4Gi"}},
    },
    "warehouse": {
        "target": "postgres",
        "schema": "marts",
        "threads": 16,
        "postgres": {"host": "db", "user": "loader", "database": "shop", "existingSecret": "warehouse"},
    },
    "stateStore": {"existingClaim": "state"},
    "environment": "production",
    "schedules": {"active": False},
    "credentials": {
        "region": "eu-central-1",
        "names": {"github": "data/github"},
        "mounted": {"airbyte/api-credentials": "airbyte"},
    },
    "settings": {"FLOWS_RATES_SOURCE": "snapshot"},
    "registration": {"concurrencyLimits": {"warehouse": 4}},
    "networkPolicy": {"serverFrom": [{"namespaceSelector": {"matchLabels": {"name": "ingress"}}}]},
}


class RefusedError(Exception):
    """What helm says of values that it does not take."""


def render(values: Object | None = None, *files: Path) -> str:
    """The YAML of all objects.

    Raises:
        RefusedError: helm did not render.
    """
    command = ["helm", "template", "flows", str(CHART), "--namespace", "data", "--values", "-"]
    for file in files:
        command += ["--values", str(file)]
    done = subprocess.run(command, input=json.dumps(values or {}), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RefusedError(done.stderr)
    return done.stdout


def objects(values: Object | None = None, *files: Path) -> dict[str, Object]:
    """Objects by `Kind/name`, the release's name left out."""
    found = [each for each in yaml.safe_load_all(render(values, *files)) if each]
    return {f"{each['kind']}/{each['metadata']['name'].removeprefix('flows-flow-of-flows-')}": each for each in found}


def registration(values: Object | None = None) -> Object:
    """What the registration hook is given."""
    return dict(yaml.safe_load(objects(values)["ConfigMap/registration"]["data"]["registration.yaml"]))


def pods(found: dict[str, Object]) -> dict[str, Object]:
    """The pod specs of objects, by the same names; that of flow runs is among them as `Job/flow-run`."""
    specs: dict[str, Object] = {}
    for name, each in found.items():
        if each["kind"] == "Pod":
            specs[name] = each["spec"]
        elif each["kind"] in {"Deployment", "Job"}:
            specs[name] = each["spec"]["template"]["spec"]
        elif name == "ConfigMap/registration":
            template = yaml.safe_load(each["data"]["registration.yaml"])["workPool"]["baseJobTemplate"]
            specs["Job/flow-run"] = template["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]
    return specs


def variables(pod: Object) -> dict[str, Any]:
    """Environment of a pod's only container: values, or where they come from."""
    (container,) = pod["containers"]
    return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in container["env"]}


KUBERNETES = "1.34"
