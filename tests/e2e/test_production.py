"""daily-pipeline and weekly-full-refresh as production runs them: AWS by web identity, Airbyte, Slack, PagerDuty.

The systems are stand-ins in pods; job pods have no key of AWS, only a projected token as IRSA gives them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.conditions import eventually
from tests.e2e.aws import BUCKET, client, fill
from tests.e2e.conftest import IMAGE
from tests.e2e.database import rows, secret
from tests.e2e.kube import Namespace
from tests.e2e.release import Release, connected
from tests.e2e.standins import PORTS, servers
from tests.fixtures import airbyte
from tests.fixtures.runs import Runs, ended
from tests.fixtures.slack_pagerduty import ROUTING_KEY, WEBHOOK, certified

pytestmark = pytest.mark.timeout(900)
TOKEN = "/var/run/secrets/eks.amazonaws.com/serviceaccount"
CANARIES = (airbyte.SECRET, WEBHOOK.rpartition("/")[2], ROUTING_KEY)
# What EKS's webhook would put into the pods of a service account with a role, of the account that moto assumes.
IRSA: list[dict[str, Any]] = [
    {"name": "AWS_ROLE_ARN", "value": "arn:aws:iam::123456789012:role/flow-of-flows-jobs"},
    {"name": "AWS_WEB_IDENTITY_TOKEN_FILE", "value": f"{TOKEN}/token"},
    {"name": "AWS_ENDPOINT_URL", "value": f"http://aws:{PORTS['aws']}"},
]
TOKEN_VOLUME = {
    "name": "aws-token",
    "projected": {"sources": [{"serviceAccountToken": {"audience": "sts.amazonaws.com", "path": "token"}}]},
}
TOKEN_MOUNT = {"name": "aws-token", "mountPath": TOKEN, "readOnly": True}
DATABASE: list[dict[str, Any]] = [
    {"name": "PGHOST", "value": "postgres"},
    {"name": "PGUSER", "value": "postgres"},
    {"name": "PGDATABASE", "value": "production"},
    {"name": "PGPASSWORD", "valueFrom": {"secretKeyRef": {"name": "e2e-postgres", "key": "password"}}},
]


def values() -> dict[str, Any]:
    """Values of production, as far as a cluster without AWS has them."""
    return {
        "environment": "production",
        "workPool": {"name": "production"},
        "worker": {"pollSeconds": 1},
        "warehouse": {
            "target": "postgres",
            "postgres": {
                "host": "postgres",
                "user": "postgres",
                "database": "production",
                "existingSecret": "e2e-postgres",
            },
        },
        "stateStore": {"s3": f"s3://{BUCKET}"},
        "settings": {
            "FLOWS_RATES_SOURCE": "snapshot",
            "FLOWS_CURRENCIES_SOURCE": "snapshot",
            "FLOWS_AIRBYTE_ENABLED": True,
            "FLOWS_AIRBYTE_PLAIN_HTTP": True,
            "FLOWS_ALERTS_PAGERDUTY": True,
            "FLOWS_ALERTS_PAGERDUTY_URL": f"https://alerts:{PORTS['alerts']}",
        },
        "jobs": {
            "env": [*IRSA, {"name": "SSL_CERT_FILE", "value": "/alerts-tls/tls.crt"}],
            "volumes": [TOKEN_VOLUME, {"name": "alerts-tls", "secret": {"secretName": "alerts-certificate"}}],
            "volumeMounts": [TOKEN_MOUNT, {"name": "alerts-tls", "mountPath": "/alerts-tls", "readOnly": True}],
        },
        "registration": {"env": IRSA, "volumes": [TOKEN_VOLUME], "volumeMounts": [TOKEN_MOUNT]},
    }


@pytest.fixture(scope="module")
def systems(namespace: Namespace, postgres: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The stand-ins, with what each of them has to know; gone afterwards."""
    files = certified(tmp_path_factory.mktemp("tls"), "DNS:alerts")
    public, private = (file.read_text() for file in files)
    rows(postgres, "create database production")
    made = [
        secret("alerts-tls", **{"tls.crt": public, "tls.key": private}),
        secret("alerts-certificate", **{"tls.crt": public}),
        *servers(DATABASE),
    ]
    namespace.apply(*made)
    names = [f"standin-{name}" for name in PORTS]
    namespace.kubectl("wait", "--for=condition=Ready", *(f"pod/{name}" for name in names), "--timeout=120s")
    yield
    namespace.kubectl("delete", "--wait", *(f"{each['kind']}/{each['metadata']['name']}".lower() for each in made))


@pytest.fixture(scope="module")
def cloud(systems: None, namespace: Namespace) -> Iterator[Any]:
    """A client of the stand-in's S3, whose Secrets Manager has the secrets of this release."""
    assert systems is None
    with namespace.forwarded("aws", PORTS["aws"]) as port:
        fill(port)
        yield client("s3", port)


@pytest.fixture(scope="module")
def production(cloud: Any, namespace: Namespace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """The release of production; uninstalled afterwards."""
    assert cloud.list_buckets()["Buckets"]
    file = tmp_path_factory.mktemp("production") / "values.yaml"
    file.write_text(json.dumps(values()))
    release = Release("production", namespace.name, file)
    release.install(IMAGE)
    with connected(namespace, None, "production") as runs:
        yield runs
    release.uninstall()
    eventually(lambda: not namespace.jobs("app.kubernetes.io/instance=production"), "no Job is left", within=60)


@pytest.fixture
def told(namespace: Namespace, production: Runs) -> Iterator[httpx.Client]:
    """Return what Slack and PagerDuty received: GET /received."""
    assert production.api
    with (
        namespace.forwarded("alerts", PORTS["alerts"]) as port,
        # Its certificate is that of the Service.
        httpx.Client(base_url=f"https://127.0.0.1:{port}", verify=False) as client,
    ):
        yield client


@pytest.fixture
def warehouse(postgres: dict[str, Any]) -> dict[str, Any]:
    """How to reach the database of production."""
    return postgres | {"dbname": "production"}


def test_a_job_pod_reaches_every_system_with_its_own_identity(production: Runs) -> None:
    """The smoke run with the doctor's checks: state store, Airbyte, alerts, warehouse."""
    run = production.run("smoke", checks=True)
    report = production.report(run.id)
    assert report.problems == ()
    assert ended(run) == ("Completed", "it works")
    facts = report.facts
    assert f"s3://{BUCKET}" in str(facts["state store"])
    assert {"Airbyte", "alerts", "target", "dbt project"} <= set(facts)


def test_the_daily_pipeline_loads_builds_publishes_and_draws(
    production: Runs, cloud: Any, warehouse: dict[str, Any]
) -> None:
    """Every step in its own pod; HubSpot's deals in their mart, dbt's state in the bucket."""
    assert ended(production.run("currencies"))[0] == "Completed"
    run = production.run("daily-pipeline")
    assert ended(run) == ("Completed", "6 of 6 steps completed")
    assert set(production.states(run.id)) == {
        "exchange-rates/1",
        "hubspot/1",
        "staging/1",
        "dbt-build/1",
        "dashboard-customers/1",
        "dashboard-sales/1",
    }
    assert rows(warehouse, "select count(*) > 0 from analytics.deals") == [(True,)]
    kept = {entry["Key"] for entry in cloud.list_objects_v2(Bucket=BUCKET)["Contents"]}
    assert {"artifacts/manifest.json", "artifacts/run_results.json", "artifacts/sources.json"} <= kept


def test_the_weekly_refresh_builds_from_scratch(production: Runs) -> None:
    """Currencies, then dbt with full refresh."""
    run = production.run("weekly-full-refresh")
    assert ended(run) == ("Completed", "2 of 2 steps completed")
    assert production.children(run.id)["dbt-build", 1].parameters["full_refresh"] is True


def test_a_failure_is_told_once_and_its_recovery_resolves_it(
    production: Runs, warehouse: dict[str, Any], told: httpx.Client
) -> None:
    """Slack names the model, PagerDuty has one incident; the Retry button mends both."""
    rows(warehouse, "alter table jaffle_shop.raw_payments rename column amount to lost")
    run = production.run("daily-pipeline")
    assert "dbt-build (dbt-nodes-failed)" in ended(run)[1]
    received = told.get("/received").json()
    (message,) = [one for one in received["slack"] if "stg_payments" in json.dumps(one)]
    assert str(run.id) in json.dumps(message)
    assert list(received["incidents"]) == ["flow-of-flows/production/daily-pipeline"]
    rows(warehouse, "alter table jaffle_shop.raw_payments rename column lost to amount")
    assert ended(production.retry(run.id))[0] == "Completed"
    after = told.get("/received").json()
    assert after["incidents"] == {}
    assert len(after["slack"]) == len(received["slack"]) + 1


def test_no_secret_of_another_system_is_seen_anywhere(production: Runs, namespace: Namespace) -> None:
    """Pod specs, Jobs, ConfigMaps, events, logs of every pod, and what the Prefect API tells of runs."""
    seen = namespace.everything()
    seen |= {f"log of {pod['metadata']['name']}": namespace.log(pod["metadata"]["name"]) for pod in namespace.pods()}
    # The stand-in says its own credentials when it starts.
    del seen["log of standin-airbyte"]
    for kind in ("flow_runs", "logs", "artifacts", "deployments", "work_pools", "block_documents"):
        seen[kind] = httpx.post(f"{production.api}/{kind}/filter", json={}).raise_for_status().text
    found = {where: canary for where, text in seen.items() for canary in CANARIES if canary in text}
    assert found == {}
