"""A release of the chart that may be broken: its namespace, its Postgres, its stand-ins, its Prefect API.

Made once for all rows of a lane, with short timings, and removed at the end.
"""

from __future__ import annotations

import json
import secrets
import tempfile
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kubernetes.client.exceptions import ApiException

from tests.conditions import eventually
from tests.e2e.aws import BUCKET, client, fill
from tests.e2e.database import database, rows, secret
from tests.e2e.kube import RESTRICTED, Namespace, connect
from tests.e2e.release import Release, connected
from tests.e2e.standins import AWS_COMMAND, PORTS, server, servers
from tests.faults.patient import Patient
from tests.fixtures.runs import Runs
from tests.fixtures.slack_pagerduty import certified

LIMIT = "faults"
# Of rows that look at it while others run.
CANCELLED = "faults-cancelled"
AUDIT = Path(__file__).parent / "audit.sql"
# Moto takes any key.
AWS = [
    {"name": "AWS_ACCESS_KEY_ID", "value": "tests"},
    {"name": "AWS_SECRET_ACCESS_KEY", "value": "tests"},
    {"name": "AWS_ENDPOINT_URL_S3", "value": f"http://aws:{PORTS['aws']}"},
    {"name": "AWS_ENDPOINT_URL_SECRETS_MANAGER", "value": f"http://secrets-manager:{PORTS['aws']}"},
]
# Where Airbyte delivers to.
DATABASE: list[dict[str, Any]] = [
    {"name": "PGHOST", "value": "postgres"},
    {"name": "PGUSER", "value": "postgres"},
    {"name": "PGDATABASE", "value": "warehouse"},
    {"name": "PGPASSWORD", "valueFrom": {"secretKeyRef": {"name": "postgres", "key": "password"}}},
]
# A disk of 8 MiB in every job pod.
SMALL_DISK = "/small"
# All of it has to fit on one node with two processors, twice or three times.
SMALL = {"requests": {"cpu": "10m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}}
SHARED = (
    "jaffle-shop",
    "staging",
    "daily-pipeline",
    "raw-customers",
    "raw-orders",
    "raw-payments",
    "exchange-rates",
    "currencies",
    "hubspot",
    "dbt-build",
    "sweep",
)
# What takes minutes otherwise (seconds).
IMPATIENT = {
    "FLOWS_POD_LEASE_SECONDS": 15,
    "FLOWS_SWEEP_NEVER_STARTED_SECONDS": 10,
    "FLOWS_SWEEP_GONE_SECONDS": 5,
    "FLOWS_SWEEP_CANCELLING_SECONDS": 10,
    "FLOWS_SWEEP_LEFTOVER_SECONDS": 10,
}


@dataclass(frozen=True)
class Site:
    """One release.

    Attributes:
        warehouse: how to reach its warehouse from here.
    """

    namespace: Namespace
    prefect: Runs
    warehouse: dict[str, Any]
    loaded: set[str] = field(default_factory=set)
    loading: threading.Lock = field(default_factory=threading.Lock)

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """What the warehouse answers."""
        return rows(self.warehouse, query, *values)

    def server_sql(self, query: str, database: str = "postgres") -> None:
        """Something done to another database of the same Postgres, as its administrator."""
        rows(self.warehouse | {"dbname": database}, query)

    def published(self) -> str:
        """The log of what was published to the state store; empty before anything was."""
        with self.namespace.forwarded("aws", PORTS["aws"]) as port:
            store = client("s3", port)
            try:
                answer = store.get_object(Bucket=BUCKET, Key="artifacts/publications.json")
            except store.exceptions.NoSuchKey:
                return ""
            return str(answer["Body"].read().decode())

    def shop(self) -> None:
        """Load the raw tables that dbt reads, once."""
        with self.loading:
            if "shop" not in self.loaded:
                run = self.prefect.run("jaffle-shop", only=["staging", "exchange-rates", "currencies"])
                if run.state_name != "Completed":
                    raise RuntimeError(f"the raw tables could not be loaded: {run.state}")
                self.loaded.add("shop")


def values() -> dict[str, Any]:
    """The chart's values: as in production where it matters, and impatient."""
    return {
        "environment": "production",
        "worker": {"pollSeconds": 1, "resources": SMALL},
        "server": {"database": {"existingSecret": "prefect-database", "key": "url"}, "resources": SMALL},
        "schedules": {"active": False},
        "warehouse": {
            "target": "postgres",
            "postgres": {
                "host": "postgres",
                "user": "postgres",
                "database": "warehouse",
                "existingSecret": "postgres",
            },
        },
        "stateStore": {"s3": f"s3://{BUCKET}"},
        "settings": {
            **IMPATIENT,
            "FLOWS_RATES_SOURCE": "snapshot",
            "FLOWS_CURRENCIES_SOURCE": "snapshot",
            "FLOWS_ALERTS_PAGERDUTY": True,
            "FLOWS_ALERTS_PAGERDUTY_URL": f"https://alerts:{PORTS['alerts']}",
        },
        "jobs": {
            "deployments": {name: {"cpu_request": "10m"} for name in SHARED},
            "env": [*AWS, {"name": "SSL_CERT_FILE", "value": "/alerts-tls/tls.crt"}],
            "volumes": [
                {"name": "alerts-tls", "secret": {"secretName": "alerts-certificate"}},
                {"name": "small", "emptyDir": {"medium": "Memory", "sizeLimit": "8Mi"}},
            ],
            "volumeMounts": [
                {"name": "alerts-tls", "mountPath": "/alerts-tls", "readOnly": True},
                {"name": "small", "mountPath": SMALL_DISK},
            ],
        },
        "registration": {"env": AWS, "resources": SMALL},
    }


@contextmanager
def site(name: str, image: str, changes: Mapping[str, Any] | None = None) -> Iterator[Site]:
    """A namespace with the release and all that it talks to.

    Args:
        name: of the namespace.
        image: with the flows of tests/faults/pods.
        changes: of the chart's values, over those of every site.
    """
    namespace = connect(name)
    eventually(lambda: _gone(namespace), f"the namespace {name} of an earlier run is gone", within=120)
    namespace.core.create_namespace({"metadata": {"name": name, "labels": RESTRICTED}})
    try:
        password = secrets.token_hex(12)
        url = f"postgresql+asyncpg://postgres:{password}@prefect-database:5432/prefect"
        namespace.apply(secret("prefect-database", url=url), service("prefect-database", {"app": "postgres"}, 5432))
        with ThreadPoolExecutor() as beside:
            standing = beside.submit(_stand_ins, namespace)
            with database(namespace, "postgres", password) as warehouse:
                standing.result()
                _install(namespace, image, changes or {})
                with connected(namespace, None, through=Patient) as prefect:
                    made = Site(namespace, prefect, warehouse)
                    made.rows(AUDIT.read_text())
                    for limit in (LIMIT, CANCELLED):
                        prefect.client.upsert_global_concurrency_limit_by_name(limit, 5)
                    yield made
    finally:
        namespace.core.delete_namespace(name)
        eventually(lambda: _gone(namespace), f"the namespace {name} is gone", within=300)


def service(name: str, selector: dict[str, str], port: int) -> dict[str, Any]:
    """A Service of one port."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": selector, "ports": [{"port": port}]},
    }


def _install(namespace: Namespace, image: str, changes: Mapping[str, Any]) -> None:
    wanted = values()
    for key, change in changes.items():
        wanted[key] = wanted.get(key, {}) | change
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "values.yaml"
        file.write_text(json.dumps(wanted))
        Release("flows", namespace.name, file).install(image)


def _stand_ins(namespace: Namespace) -> None:
    """S3, Secrets Manager, Slack and PagerDuty, with what they have to know."""
    with tempfile.TemporaryDirectory() as folder:
        public, private = (file.read_text() for file in certified(Path(folder), "DNS:alerts"))
    namespace.apply(
        secret("alerts-tls", **{"tls.crt": public, "tls.key": private}),
        secret("alerts-certificate", **{"tls.crt": public}),
        *servers(DATABASE),
        # A second server of AWS, so that either can be away alone.
        *server("secrets-manager", AWS_COMMAND, PORTS["aws"]),
    )
    names = [f"pod/standin-{name}" for name in (*PORTS, "secrets-manager")]
    namespace.kubectl("wait", "--for=condition=Ready", *names, "--timeout=120s")
    for name in ("aws", "secrets-manager"):
        with namespace.forwarded(name, PORTS["aws"]) as port:
            fill(port)


def _gone(namespace: Namespace) -> bool:
    try:
        namespace.core.read_namespace(namespace.name)
    except ApiException as error:
        return bool(error.status == 404)
    return False
