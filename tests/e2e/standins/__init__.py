"""The stand-ins of other systems as objects of the cluster: names and secrets in, pods, Services and Secrets out. Pure.

Each is a server of tests/fixtures or moto's, from the image that `make e2e-images` builds.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

IMAGE = os.environ.get("E2E_STANDINS_IMAGE", "flow-of-flows-e2e-standins:1")
Object = dict[str, Any]
PORTS = {"aws": 5000, "airbyte": 8001, "alerts": 8443}
AWS_COMMAND = ["python", "-m", "moto.server", "-H", "0.0.0.0", "-p", str(PORTS["aws"])]


def servers(database: Sequence[Object]) -> list[Object]:
    """Pod and Service of each: AWS, Airbyte, and Slack with PagerDuty.

    Args:
        database: variables of the Postgres that Airbyte delivers to.
    """
    return [
        *server("aws", AWS_COMMAND, PORTS["aws"]),
        *server(
            "airbyte",
            ["python", "-m", "tests.fixtures.airbyte", "--host", "0.0.0.0", "--port", str(PORTS["airbyte"])],
            PORTS["airbyte"],
            env=[{"name": "DBT_TARGET", "value": "postgres"}, *database],
        ),
        *server(
            "alerts",
            ["python", "-m", "tests.fixtures.slack_pagerduty", str(PORTS["alerts"]), "/tls/tls.crt", "/tls/tls.key"],
            PORTS["alerts"],
            tls="alerts-tls",
        ),
    ]


def server(name: str, command: list[str], port: int, *, env: Sequence[Object] = (), tls: str = "") -> list[Object]:
    """Pod and Service of one stand-in."""
    labels = {"app": f"standin-{name}"}
    container: Object = {
        "name": name,
        "image": IMAGE,
        "command": command,
        "env": list(env),
        "readinessProbe": {"tcpSocket": {"port": port}, "periodSeconds": 1},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }
    volumes: list[Object] = [{"name": "tmp", "emptyDir": {}}]
    if tls:
        container["volumeMounts"].append({"name": "tls", "mountPath": "/tls", "readOnly": True})
        volumes.append({"name": "tls", "secret": {"secretName": tls}})
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"standin-{name}", "labels": labels},
        "spec": {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 10001,
                "fsGroup": 10001,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
            "volumes": volumes,
        },
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": labels, "ports": [{"port": port}]},
    }
    return [pod, service]
