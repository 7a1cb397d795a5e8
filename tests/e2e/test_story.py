"""One release from install to uninstall, in the order of this file: each test goes on where the one before ended."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import psycopg2
import pytest
import yaml
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.schedules import IntervalSchedule

from tests.conditions import eventually
from tests.e2e.conftest import IMAGE, NEXT_IMAGE
from tests.e2e.database import rows
from tests.e2e.kube import Namespace
from tests.e2e.release import REPOSITORY, Release, connected
from tests.fixtures.postgres import DBT_WAITS
from tests.fixtures.runs import Runs, ended

pytestmark = pytest.mark.timeout(900)
DECLARED = {entry["name"]: entry for entry in yaml.safe_load((REPOSITORY / "prefect.yaml").read_text())["deployments"]}


def images(prefect: Runs) -> dict[str, str]:
    """The image of each registered deployment."""
    return {found.name: str((found.job_variables or {}).get("image")) for found in prefect.client.read_deployments()}


def runs_of(name: str, prefect: Runs) -> list[FlowRun]:
    """Every run of a deployment, those that its schedules have planned among them."""
    deployment = FlowRunFilterDeploymentId(any_=[prefect.client.read_deployment_by_name(f"{name}/{name}").id])
    return prefect.client.read_flow_runs(flow_run_filter=FlowRunFilter(deployment_id=deployment))


def resources(pod: dict[str, Any]) -> dict[str, Any]:
    """Requests and limits of a pod's only container."""
    (container,) = pod["spec"]["containers"]
    return dict(container["resources"])


def test_the_install_registers_every_deployment_with_the_release_s_image(release: Release, prefect: Runs) -> None:
    """Names as in prefect.yaml, each in the release's pool."""
    assert release.name == "flows"
    assert images(prefect) == dict.fromkeys(DECLARED, IMAGE)
    assert {found.work_pool_name for found in prefect.client.read_deployments()} == {"flows"}


def test_helm_test_runs_the_smoke_flow_in_a_pod(release: Release, namespace: Namespace, prefect: Runs) -> None:
    """One smoke run more, which ends well and has one pod; the sweeper's pods come and go meanwhile."""
    before = [run.id for run in runs_of("smoke", prefect)]
    release.test()
    (run,) = (run for run in runs_of("smoke", prefect) if run.id not in before)
    assert ended(run) == ("Completed", "it works")
    assert len(namespace.pods_of(run.id)) == 1


def test_each_run_of_the_pipeline_is_a_pod_of_its_own_with_its_own_resources(
    prefect: Runs, namespace: Namespace, postgres: dict[str, Any]
) -> None:
    """Pipeline, staging and eight children: ten runs, ten pods, and rows in the marts."""
    run = prefect.run("jaffle-shop")
    assert ended(run) == ("Completed", "6 of 6 steps completed")
    children = prefect.children(run.id)
    family = [run, *children.values(), *prefect.children(children["staging", 1].id).values()]
    assert len(family) == 10
    pods = {str(member.id): namespace.pods_of(member.id) for member in family}
    assert {found: len(of) for found, of in pods.items()} == dict.fromkeys(pods, 1)
    sizes = {member.id: resources(pods[str(member.id)][0]) for member in family}
    asked = {found.id: found.job_variables for found in prefect.client.read_deployments() if found.name in DECLARED}
    for member in family:
        wanted = asked[member.deployment_id]  # type: ignore[index]
        assert sizes[member.id]["requests"]["memory"] == wanted["memory_request"], member.name
        assert sizes[member.id]["limits"]["memory"] == wanted["memory_limit"], member.name
    assert rows(postgres, "select count(*) > 0 from analytics.customers") == [(True,)]


def test_an_ad_hoc_run_takes_parameters_as_the_form_sends_them(prefect: Runs, namespace: Namespace) -> None:
    """The child's report has the parameter and the name of its pod."""
    run = prefect.run("smoke", message="by hand")
    assert ended(run) == ("Completed", "by hand")
    (pod,) = namespace.pods_of(run.id)
    facts = prefect.report(run.id).facts
    assert facts["host"] == pod["metadata"]["name"]
    assert facts["user"] == 10001


def test_a_scheduled_run_fires(prefect: Runs) -> None:
    """A schedule of every few seconds, added and removed as a person would in the UI."""
    deployment = prefect.client.read_deployment_by_name("smoke/smoke")
    schedule = IntervalSchedule(interval=timedelta(seconds=20), anchor_date=datetime.now(UTC))
    (added,) = prefect.client.create_deployment_schedules(deployment.id, [DeploymentScheduleCreate(schedule=schedule)])

    def fired() -> FlowRun | None:
        over = [run for run in runs_of("smoke", prefect) if run.auto_scheduled and run.state and run.state.is_final()]
        return over[0] if over else None

    try:
        run = eventually(fired, "a scheduled run is over", within=150)
    finally:
        prefect.client.delete_deployment_schedule(deployment.id, added.id)
    assert ended(run) == ("Completed", "it works")


def test_a_parent_overrides_parameters_and_resources_of_a_child(prefect: Runs, namespace: Namespace) -> None:
    """Only this child of this run; the rest is left out and said so."""
    run = prefect.run(
        "jaffle-shop",
        only=["dashboard-sales"],
        overrides={
            "dashboard-sales": {
                "parameters": {"days": 30},
                "job_variables": {"memory_request": "300Mi", "memory_limit": "900Mi", "cpu_request": "110m"},
            }
        },
    )
    child = prefect.children(run.id)["dashboard-sales", 1]
    assert ended(child)[0] == "Completed"
    assert child.parameters["days"] == 30
    (pod,) = namespace.pods_of(child.id)
    assert resources(pod)["requests"] == {"memory": "300Mi", "cpu": "110m"}
    assert resources(pod)["limits"]["memory"] == "900Mi"


def test_a_job_variable_that_does_not_exist_is_refused_by_name(prefect: Runs) -> None:
    """The pipeline run fails with the name and what there is; no child is started."""
    run = prefect.run(
        "jaffle-shop", only=["currencies"], overrides={"currencies": {"job_variables": {"memory": "1Gi"}}}
    )
    assert ended(run) == ("Failed", "0 of 6 steps completed; failed: currencies (configuration)")
    assert "'memory' was unexpected" in prefect.answers(run.id)
    assert prefect.children(run.id) == {}


def test_a_failing_model_fails_the_pipeline_and_the_answers_name_it_and_a_retry_runs_only_the_rest(
    prefect: Runs, namespace: Namespace, postgres: dict[str, Any]
) -> None:
    """A raw column goes away, comes back, and the same run completes; what had completed is not run again."""
    rows(postgres, "alter table jaffle_shop.raw_payments rename column amount to lost")
    run = prefect.run("jaffle-shop", skip=["staging", "currencies"])
    assert ended(run)[0] == "Failed"
    assert "dbt-build (dbt-nodes-failed)" in ended(run)[1]
    assert "stg_payments" in prefect.answers(run.id)
    assert prefect.states(run.id) == {"exchange-rates/1": "Completed", "dbt-build/1": "Failed"}
    rows(postgres, "alter table jaffle_shop.raw_payments rename column lost to amount")
    assert ended(prefect.retry(run.id))[0] == "Completed"
    assert prefect.states(run.id) == {
        "exchange-rates/1": "Completed",
        "dbt-build/1": "Failed",
        "dbt-build/2": "Completed",
        "dashboard-customers/1": "Completed",
        "dashboard-sales/1": "Completed",
    }
    assert len(namespace.pods_of(run.id)) == 2


def test_cancelling_the_parent_leaves_no_pod(prefect: Runs, namespace: Namespace, postgres: dict[str, Any]) -> None:
    """Dbt waits for a lock in the warehouse; after Cancelled no pod runs, and no query."""
    connection = psycopg2.connect(**postgres)
    with connection.cursor() as cursor:
        cursor.execute("lock table jaffle_shop.raw_payments in access exclusive mode")
        run = prefect.start("jaffle-shop", only=["dbt-build"])
        eventually(lambda: rows(postgres, DBT_WAITS) != [(0,)], "dbt waits for the lock", within=120)
        prefect.cancel(run)
        assert ended(prefect.end_of(run))[0] == "Cancelled"
        child = prefect.children(run)["dbt-build", 1].id
        eventually(lambda: _over(namespace, run) and _over(namespace, child), "no pod is left", within=60)
        assert rows(postgres, DBT_WAITS) == [(0,)]
    connection.close()
    assert prefect.states(run) == {"dbt-build/1": "Cancelled"}


def _over(namespace: Namespace, run: object) -> bool:
    return all(pod["status"]["phase"] in {"Succeeded", "Failed"} for pod in namespace.pods_of(run))


def test_an_upgrade_moves_every_deployment_to_the_new_image(
    release: Release, namespace: Namespace, canaries: dict[str, str]
) -> None:
    """The same deployments by id, and what runs next uses it."""
    auth = f"admin:{canaries['e2e-auth']}"
    with connected(namespace, auth) as prefect:
        before = {found.name: found.id for found in prefect.client.read_deployments()}
    release.install(NEXT_IMAGE)
    with connected(namespace, auth) as prefect:
        assert {found.name: found.id for found in prefect.client.read_deployments()} == before
        assert images(prefect) == dict.fromkeys(DECLARED, NEXT_IMAGE)
        run = prefect.run("smoke", message="upgraded")
        assert ended(run) == ("Completed", "upgraded")
        (pod,) = namespace.pods_of(run.id)
    assert pod["spec"]["containers"][0]["image"] == NEXT_IMAGE


def test_no_secret_is_seen_anywhere(namespace: Namespace, canaries: dict[str, str], prefect: Runs) -> None:
    """Pod specs, Jobs, ConfigMaps, events, logs of every pod, and what the Prefect API tells of runs."""
    seen = namespace.everything()
    seen |= {f"log of {pod['metadata']['name']}": namespace.log(pod["metadata"]["name"]) for pod in namespace.pods()}
    for kind in ("flow_runs", "logs", "artifacts", "deployments", "work_pools"):
        auth = ("admin", canaries["e2e-auth"])
        seen[kind] = httpx.post(f"{prefect.api}/{kind}/filter", json={}, auth=auth).raise_for_status().text
    assert Counter(kind.split("/")[0] for kind in seen)["job"] > 10
    found = {where: name for where, text in seen.items() for name, secret in canaries.items() if secret in text}
    assert found == {}


def test_uninstall_leaves_nothing_behind(release: Release, namespace: Namespace) -> None:
    """No object of the release, no Job, no pod."""
    release.uninstall()
    kinds = "all,configmaps,secrets,serviceaccounts,roles,rolebindings,networkpolicies,poddisruptionbudgets,pvc"
    of_the_release = ("get", kinds, "-l", "app.kubernetes.io/instance=flows", "-o", "name")
    # The pod of the hook that ran last goes a moment after its Job.
    eventually(lambda: namespace.kubectl(*of_the_release) == "", "nothing of the release is left", within=60)
    assert namespace.jobs() == []
    assert [pod["metadata"]["name"] for pod in namespace.pods()] == ["postgres"]
