"""What the chart renders: the default compared whole, and each toggle by what it changes."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.chart.render import CHART, EVERYTHING, KUBERNETES, objects, pods, registration, render, variables
from tests.fixtures.http_server import Request, Response, responding

GOLDEN = Path(__file__).parent / "default.yaml"
# What a message of a run puts before a command.
COMMAND_PREFIX = "kubectl --namespace data exec -it deploy/flows-flow-of-flows-worker --"
EKS = CHART / "values-eks.yaml"
DEMO = CHART / "values-demo.yaml"


def test_the_default_render_is_the_one_that_was_looked_at() -> None:
    """After a change that is meant: `REGENERATE=1 pytest tests/chart`, and read the difference."""
    rendered = render()
    if os.environ.get("REGENERATE"):
        GOLDEN.write_text(rendered)
    assert rendered == GOLDEN.read_text()


def test_helm_lint_has_nothing_to_say() -> None:
    """Strictly, with the values of production, too."""
    for values in ([], ["--values", str(EKS)], ["--values", str(DEMO)]):
        done = subprocess.run(
            ["helm", "lint", "--strict", str(CHART), *values], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["default", "everything"])
def test_every_object_is_valid_by_the_api_s_schema(values: dict[str, Any]) -> None:
    """Strictly: an unknown field is an error."""
    for each in objects(values).values():
        kubernetes_validate.validate(each, KUBERNETES, strict=True)


def test_every_object_of_the_demo_values_is_valid() -> None:
    """Two claims of the chart's own, and nothing that has to be there first."""
    found = objects({}, DEMO)
    for each in found.values():
        kubernetes_validate.validate(each, KUBERNETES, strict=True)
    claims = {name for name in found if name.startswith("PersistentVolumeClaim/")}
    assert claims == {"PersistentVolumeClaim/server", "PersistentVolumeClaim/warehouse"}


def test_every_object_of_the_eks_values_is_valid() -> None:
    """And the image is named by its digest everywhere."""
    found = objects({}, EKS)
    for each in found.values():
        kubernetes_validate.validate(each, KUBERNETES, strict=True)
    ours = {name: spec["containers"][0]["image"] for name, spec in pods(found).items() if name != "Job/flow-run"}
    assert set(ours.values()) == {f"111122223333.dkr.ecr.eu-west-1.amazonaws.com/flow-of-flows@sha256:{'0' * 64}"}


@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["default", "everything"])
def test_every_pod_meets_pod_security_restricted_with_a_read_only_root(values: dict[str, Any]) -> None:
    """Only the worker and the hook that removes Jobs have a token; a run's pod by its deployment."""
    found = pods(objects(values))
    assert set(found) == {
        "Deployment/server",
        "Deployment/worker",
        "Job/flow-run",
        "Job/register",
        "Job/teardown",
        "Pod/smoke",
    }
    for spec in found.values():
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        (container,) = spec["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "capabilities": {"drop": ["ALL"]},
        }
    with_token = {name for name, spec in found.items() if spec["automountServiceAccountToken"] is True}
    assert found["Job/flow-run"]["automountServiceAccountToken"] == "{{ automount_service_account_token }}"
    assert with_token == {"Deployment/worker", "Job/teardown"}


def test_a_suffix_of_the_deployments_reaches_registration_job_pods_and_the_test() -> None:
    """The steps of pipelines read it in their pods; without one, nothing is set."""
    found = pods(objects({"deployments": {"suffix": "-dev"}}))
    for name in ("Job/register", "Job/flow-run"):
        assert variables(found[name])["FLOWS_DEPLOYMENTS_SUFFIX"] == "-dev"
    assert found["Pod/smoke"]["containers"][0]["args"][2:6] == [
        "flow_of_flows.prefect_command",
        "deployment",
        "run",
        "smoke/smoke-dev",
    ]
    assert "FLOWS_DEPLOYMENTS_SUFFIX" not in variables(pods(objects())["Job/flow-run"])


def test_the_owner_is_the_release_unless_it_is_named_and_takes_over_only_where_it_is_set_to() -> None:
    """The mark of everything that the release registers."""
    assert registration()["owner"] == "data/flows"
    assert registration({"registration": {"owner": "eu-1/flows"}})["owner"] == "eu-1/flows"
    args = pods(objects({"registration": {"takeOver": True}}))["Job/register"]["containers"][0]["args"]
    assert args == ["flows", "register", "--wait=180", "--take-over"]
    assert "--take-over" not in pods(objects())["Job/register"]["containers"][0]["args"]


def test_values_of_an_older_chart_render_what_the_defaults_do() -> None:
    """Helm's `--reuse-values` brings no value that the newer chart has added."""
    added = [
        "mainPipeline",
        "warehouse.duckdb.persistence",
        "deployments",
        "server.volumes",
        "server.volumeMounts",
        "registration.owner",
        "registration.takeOver",
    ]
    options = [word for value in added for word in ("--set", f"{value}=null")]
    assert render(options=options) == render()


def test_the_smoke_test_drops_the_line_break_that_ends_a_secret() -> None:
    """As a file has it that an editor wrote; the rest of the value stays."""
    (container,) = pods(objects())["Pod/smoke"]["containers"]
    seen: set[str | None] = set()

    def respond(asked: Request) -> Response:
        seen.add(asked.headers.get("Authorization"))
        return Response(404, b"{}", {"content-type": "application/json"})

    with responding(respond) as url:
        given = {**os.environ, "PREFECT_API_URL": f"{url}/api", "PREFECT_API_AUTH_STRING": "admin: p w\n"}
        command = [sys.executable, *container["args"][1:]]
        done = subprocess.run(command, env=given, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert seen == {f"Basic {base64.b64encode(b'admin: p w').decode()}"}


def test_the_worker_s_role_has_just_the_verbs_it_uses() -> None:
    """Jobs are made and deleted; pods and their logs only read."""
    assert objects()["Role/worker"]["rules"] == [
        {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["create", "get", "list", "watch", "delete"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
    ]


def test_the_sweeper_s_role_has_just_the_verbs_it_uses() -> None:
    """Jobs are listed and deleted; pods only listed. It is bound to the account of the sweep's pod alone."""
    found = objects()
    assert found["Role/sweeper"]["rules"] == [
        {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["list", "delete"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
    ]
    assert found["RoleBinding/sweeper"]["subjects"] == [
        {"kind": "ServiceAccount", "name": "flows-flow-of-flows-sweeper", "namespace": "data"}
    ]


def test_a_sweeper_that_is_off_has_no_account_and_an_inactive_schedule() -> None:
    """Its deployment stays, for a person to run."""
    off = {"sweeper": {"enabled": False}}
    assert set(objects()) - set(objects(off)) == {"ServiceAccount/sweeper", "Role/sweeper", "RoleBinding/sweeper"}
    assert (registration()["inactive"], registration(off)["inactive"]) == ([], ["sweep"])
    assert registration(off)["jobVariables"]["byDeployment"] == {}


def test_basic_auth_is_a_reference_in_every_pod() -> None:
    """The server checks it, all others send it, and the worker hands the reference on to job pods."""
    found = pods(objects({"prefect": {"auth": {"existingSecret": "auth"}}}))
    reference = {"secretKeyRef": {"name": "auth", "key": "auth-string"}}
    assert variables(found["Deployment/server"])["PREFECT_SERVER_API_AUTH_STRING"] == reference
    for name in ("Deployment/worker", "Job/register", "Pod/smoke"):
        assert variables(found[name])["PREFECT_API_AUTH_STRING"] == reference
    prefix = "PREFECT_INTEGRATIONS_KUBERNETES_WORKER_API_AUTH_STRING_SECRET_"
    assert variables(found["Deployment/worker"])[f"{prefix}NAME"] == "auth"
    assert variables(found["Deployment/worker"])[f"{prefix}KEY"] == "auth-string"


def test_prefect_cloud_is_addressed_by_its_workspace_and_a_key_by_reference() -> None:
    """No embedded server is installed."""
    cloud = {"cloud": {"accountId": "acc", "workspaceId": "ws"}, "apiKey": {"existingSecret": "cloud"}}
    found = objects({"server": {"enabled": False}, "prefect": cloud})
    assert "Deployment/server" not in found
    assert "Service/server" not in found
    assert "NetworkPolicy/server" not in found
    worker = variables(found["Deployment/worker"]["spec"]["template"]["spec"])
    assert worker["PREFECT_API_URL"] == "https://api.prefect.cloud/api/accounts/acc/workspaces/ws"
    assert worker["PREFECT_API_KEY"] == {"secretKeyRef": {"name": "cloud", "key": "api-key"}}


def test_a_postgres_warehouse_reaches_job_pods_with_its_password_by_reference() -> None:
    """In the variables that dbt and libpq read."""
    job = variables(pods(objects(EVERYTHING))["Job/flow-run"])
    assert job == {
        "FLOWS_POD_DEADLINE_SECONDS": " {{ active_deadline_seconds }}",
        "FLOWS_ENVIRONMENT": "production",
        "FLOWS_WORK_POOL": "flows",
        "FLOWS_COMMAND_PREFIX": COMMAND_PREFIX,
        "FLOWS_SWEEP_RELEASE": "flows",
        "FLOWS_AWS_REGION": "eu-central-1",
        "FLOWS_SECRETS_FOLDER": "/var/run/flow-of-flows/secrets",
        "FLOWS_SECRETS_GITHUB": "data/github",
        "FLOWS_TARGET_SCHEMA": "marts",
        "FLOWS_THREADS": "16",
        "DBT_TARGET": "postgres",
        "PGHOST": "db",
        "PGPORT": "5432",
        "PGUSER": "loader",
        "PGDATABASE": "shop",
        "PGPASSWORD": {"secretKeyRef": {"name": "warehouse", "key": "password"}},
        "FLOWS_STATE_STORE": "/var/lib/flow-of-flows-state",
        "FLOWS_RATES_SOURCE": "snapshot",
        "TOKEN": {"secretKeyRef": {"name": "token", "key": "token"}},
    }


def test_mounted_secrets_are_where_the_flows_look_in_job_pods_and_registration() -> None:
    """Read-only, readable by the pod's group, under the name that the secret has in Secrets Manager."""
    found = pods(objects(EVERYTHING))
    for name in ("Job/flow-run", "Job/register"):
        (container,) = found[name]["containers"]
        assert {
            "name": "secret-airbyte",
            "mountPath": "/var/run/flow-of-flows/secrets/airbyte-api-credentials",
            "readOnly": True,
        } in container["volumeMounts"]
        assert {"name": "secret-airbyte", "secret": {"secretName": "airbyte", "defaultMode": 0o440}} in found[name][
            "volumes"
        ]
    for name in ("Deployment/worker", "Deployment/server", "Pod/smoke"):
        assert not [volume for volume in found[name]["volumes"] if "secret" in volume]


def test_the_state_store_is_a_bucket_that_job_pods_reach_with_their_own_identity() -> None:
    """And registration runs under the same account, for it makes blocks of secrets."""
    found = pods(objects({"stateStore": {"s3": "s3://your-org-dbt-artifacts"}}))
    assert variables(found["Job/flow-run"])["FLOWS_STATE_STORE"] == "s3://your-org-dbt-artifacts"
    assert found["Job/register"]["serviceAccountName"] == "flows-flow-of-flows-job"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (
            {},
            {
                "FLOWS_WAREHOUSE_FOLDER": "/var/lib/flow-of-flows/warehouse",
                "FLOWS_STATE_STORE": "/var/lib/flow-of-flows/state",
            },
        ),
        (
            {"stateStore": {"s3": "s3://artifacts"}},
            {
                "FLOWS_WAREHOUSE_FOLDER": "/var/lib/flow-of-flows/warehouse",
                "FLOWS_STATE_STORE": "s3://artifacts",
            },
        ),
        ({"settings": {"FLOWS_HOME": "/mine"}}, {"FLOWS_HOME": "/mine"}),
        ({"jobs": {"env": [{"name": "FLOWS_HOME", "value": "/mine"}]}}, {"FLOWS_HOME": "/mine"}),
    ],
)
def test_a_duckdb_claim_holds_the_warehouse_and_the_state_but_no_workspaces(
    values: dict[str, Any], expected: dict[str, str]
) -> None:
    """At the places where earlier versions of the chart, which moved FLOWS_HOME, left both."""
    duckdb = {"target": "duckdb", "duckdb": {"existingClaim": "duck"}}
    job = variables(pods(objects({**values, "warehouse": duckdb}))["Job/flow-run"])
    folders = ("FLOWS_HOME", "FLOWS_WAREHOUSE_FOLDER", "FLOWS_STATE_STORE")
    assert {name: job[name] for name in folders if name in job} == expected


def test_the_chart_creates_the_claim_of_the_duckdb_files_where_it_is_enabled() -> None:
    """Job pods write to it; the worker mounts it read-only, so that a class that waits for a pod binds it."""
    duckdb = {"target": "duckdb", "duckdb": {"persistence": {"enabled": True}}}
    found = objects({"warehouse": duckdb})
    claim = found["PersistentVolumeClaim/warehouse"]
    assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert claim["spec"] == {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "5Gi"}}}
    volume = {"name": "warehouse", "persistentVolumeClaim": {"claimName": "flows-flow-of-flows-warehouse"}}
    mount = {"name": "warehouse", "mountPath": "/var/lib/flow-of-flows"}
    job, worker = pods(found)["Job/flow-run"], pods(found)["Deployment/worker"]
    assert job["volumes"][1] == worker["volumes"][1] == volume
    assert job["containers"][0]["volumeMounts"][1] == mount
    assert worker["containers"][0]["volumeMounts"][1] == {**mount, "readOnly": True}
    assert found["Deployment/worker"]["spec"]["strategy"] == {"type": "Recreate"}
    assert variables(job)["FLOWS_WAREHOUSE_FOLDER"] == "/var/lib/flow-of-flows/warehouse"
    assert variables(job)["FLOWS_STATE_STORE"] == "/var/lib/flow-of-flows/state"
    duckdb["duckdb"]["persistence"]["accessMode"] = "ReadWriteMany"  # type: ignore[index]
    assert "strategy" not in objects({"warehouse": duckdb})["Deployment/worker"]["spec"]


def test_snowflake_needs_no_value_but_its_name() -> None:
    """The connection is a secret."""
    job = variables(pods(objects({"warehouse": {"target": "snowflake"}}))["Job/flow-run"])
    assert job == {
        "FLOWS_POD_DEADLINE_SECONDS": " {{ active_deadline_seconds }}",
        "FLOWS_ENVIRONMENT": "development",
        "FLOWS_WORK_POOL": "flows",
        "FLOWS_COMMAND_PREFIX": COMMAND_PREFIX,
        "FLOWS_SWEEP_RELEASE": "flows",
        "FLOWS_AWS_REGION": "eu-west-1",
        "DBT_TARGET": "snowflake",
    }


@pytest.mark.parametrize("host", ["", "db.example.com"])
def test_the_target_is_any_output_of_the_profile(host: str) -> None:
    """A Postgres of the values is its connection, if there is one; every name stays text."""
    server = {"host": host, "user": "loader", "database": "shop", "existingSecret": "warehouse"}
    job = variables(pods(objects({"warehouse": {"target": "true", "postgres": server}}))["Job/flow-run"])
    named = {name: value for name, value in job.items() if name.startswith(("DBT_", "PG"))}
    password = {"secretKeyRef": {"name": "warehouse", "key": "password"}}
    connection = {"PGHOST": host, "PGPORT": "5432", "PGUSER": "loader", "PGDATABASE": "shop", "PGPASSWORD": password}
    assert named == {"DBT_TARGET": "true", **(connection if host else {})}


def test_the_server_keeps_sqlite_on_a_claim_or_runs_in_postgres() -> None:
    """A claim of the chart, one that is there, or the URL by reference."""
    made = objects({"server": {"persistence": {"enabled": True}}})
    assert made["PersistentVolumeClaim/server"]["spec"]["resources"] == {"requests": {"storage": "5Gi"}}
    there = objects({"server": {"persistence": {"enabled": True, "existingClaim": "mine"}}})
    assert "PersistentVolumeClaim/server" not in there
    volumes = there["Deployment/server"]["spec"]["template"]["spec"]["volumes"]
    assert volumes[1] == {"name": "data", "persistentVolumeClaim": {"claimName": "mine"}}
    postgres = pods(objects({"server": {"database": {"existingSecret": "runs"}}}))
    assert variables(postgres["Deployment/server"])["PREFECT_API_DATABASE_CONNECTION_URL"] == {
        "secretKeyRef": {"name": "runs", "key": "url"}
    }


def test_two_workers_get_a_disruption_budget_and_one_does_not() -> None:
    """One would hold up every drain of its node."""
    assert "PodDisruptionBudget/worker" not in objects()
    assert objects({"worker": {"replicas": 2}})["PodDisruptionBudget/worker"]["spec"]["maxUnavailable"] == 1


@pytest.mark.parametrize(
    ("values", "gone"),
    [
        ({"registration": {"enabled": False}}, {"ConfigMap/registration", "Job/register"}),
        ({"tests": {"enabled": False}}, {"Pod/smoke"}),
        ({"worker": {"serviceAccount": {"create": False, "name": "mine"}}}, {"ServiceAccount/worker"}),
        ({"jobs": {"serviceAccount": {"create": False, "name": "mine"}}}, {"ServiceAccount/job"}),
    ],
)
def test_what_is_turned_off_is_not_rendered(values: dict[str, Any], gone: set[str]) -> None:
    """And nothing else goes with it."""
    assert set(objects()) - set(objects(values)) == gone


def test_network_policies_can_be_left_out_and_the_server_opened() -> None:
    """For a cluster without a plugin, and for an ingress."""
    assert not [name for name in objects({"networkPolicy": {"enabled": False}}) if name.startswith("NetworkPolicy")]
    rule = objects(EVERYTHING)["NetworkPolicy/server"]["spec"]["ingress"][0]
    assert rule["from"] == [
        {"podSelector": {"matchLabels": {"app.kubernetes.io/instance": "flows"}}},
        {"namespaceSelector": {"matchLabels": {"name": "ingress"}}},
    ]


def test_registration_is_told_the_pool_the_image_and_what_belongs_to_whom() -> None:
    """Everything but the template, which has a test of its own."""
    told = registration(EVERYTHING)
    del told["workPool"]["baseJobTemplate"]
    assert told == {
        "version": 1,
        "workPool": {"name": "flows", "type": "kubernetes", "concurrencyLimit": None},
        "image": f"flow-of-flows:{yaml.safe_load((CHART / 'Chart.yaml').read_text())['appVersion']}",
        "owner": "data/flows",
        "jobVariables": {
            "byTag": {"pipeline": {"node_selector": {"lifecycle": "on-demand"}}, "child": {}},
            "byDeployment": {
                "dbt-build": {"memory_limit": "4Gi"},
                "sweep": {
                    "service_account_name": "flows-flow-of-flows-sweeper",
                    "automount_service_account_token": True,
                },
            },
        },
        "schedules": False,
        "inactive": [],
    }
