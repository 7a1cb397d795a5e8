"""A Postgres in a namespace of the cluster: applied, waited for, reached through a port of this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg2

from tests.e2e.kube import Namespace

IMAGE = os.environ.get("E2E_POSTGRES_IMAGE", "flow-of-flows-e2e-postgres:15")
IS_READY = "/usr/lib/postgresql/15/bin/pg_isready"
NAMES = ("warehouse", "prefect")
# So that a way to the server that stands still ends in a failure instead of an endless wait.
CONNECT_SECONDS = 20
Object = dict[str, Any]


def secret(name: str, **values: str) -> Object:
    """A Kubernetes Secret."""
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": values}


@contextmanager
def database(namespace: Namespace, name: str, password: str) -> Iterator[Object]:
    """A server with the databases `warehouse` and `prefect`; how to reach the first from here.

    Args:
        namespace: where it is made; it goes with the namespace.
        name: of the Secret of its password.
        password: of the user `postgres`.
    """
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "postgres"},
        "spec": {"selector": {"app": "postgres"}, "ports": [{"port": 5432}]},
    }
    namespace.apply(secret(name, password=password), _pod(name), service)
    namespace.kubectl("wait", "--for=condition=Ready", "pod/postgres", "--timeout=120s")
    with namespace.forwarded("postgres", 5432) as port:
        where: Object = {
            "host": "127.0.0.1",
            "port": port,
            "user": "postgres",
            "password": password,
            "connect_timeout": CONNECT_SECONDS,
        }
        for each in NAMES:
            rows(where | {"dbname": "postgres"}, f"create database {each}")
        yield where | {"dbname": NAMES[0]}


def _pod(name: str) -> Object:
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
                    "image": IMAGE,
                    "env": [
                        {
                            "name": "POSTGRES_PASSWORD",
                            "valueFrom": {"secretKeyRef": {"name": name, "key": "password"}},
                        },
                        {"name": "PGDATA", "value": "/data/pgdata"},
                    ],
                    # It listens before it takes a connection. The question is a process: asked at the start alone.
                    "startupProbe": {
                        "exec": {"command": [IS_READY, "--host=127.0.0.1", "--quiet"]},
                        "periodSeconds": 1,
                        "failureThreshold": 120,
                    },
                    "readinessProbe": {"tcpSocket": {"port": 5432}, "periodSeconds": 1},
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                    "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                }
            ],
            "volumes": [{"name": "data", "emptyDir": {}}],
        },
    }


def rows(where: Object, query: str, *values: object) -> list[tuple[Any, ...]]:
    """What a database answers to one statement, which is committed."""
    with closing(psycopg2.connect(**where)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(query, values or None)
            return list(cursor.fetchall()) if cursor.description else []
