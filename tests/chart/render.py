"""The chart as `helm template` renders it: values in, objects or helm's refusal out."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
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
    "networkPolicy": {"serverFrom": [{"namespaceSelector": {"matchLabels": {"name": "ingress"}}}]},
}


class RefusedError(Exception):
    """What helm says of values that it does not take."""


def render(values: Object | str | None = None, *files: Path, options: Sequence[str] = (), release: str = "") -> str:
    """Return the YAML of all objects.

    Args:
        values: values, or the text of a values file.
        files: more values files.
        options: more arguments of helm, such as `--set`.
        release: namespace and name, `data/flows` unless given.

    Raises:
        RefusedError: helm did not render.
    """
    namespace, name = (release or "data/flows").split("/")
    command = ["helm", "template", name, str(CHART), "--namespace", namespace, "--values", "-", *options]
    for file in files:
        command += ["--values", str(file)]
    text = values if isinstance(values, str) else json.dumps(values or {})
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RefusedError(done.stderr)
    return done.stdout


def objects(
    values: Object | str | None = None, *files: Path, options: Sequence[str] = (), release: str = ""
) -> dict[str, Object]:
    """Return the objects by `Kind/name`, the release's name left out; arguments as in `render`."""
    rendered = render(values, *files, options=options, release=release)
    prefix = f"{(release or 'data/flows').split('/')[1]}-flow-of-flows"
    return {
        f"{each['kind']}/{each['metadata']['name'].removeprefix(f'{prefix}-').removesuffix(f'-{prefix}')}": each
        for each in yaml.safe_load_all(rendered)
        if each
    }


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
