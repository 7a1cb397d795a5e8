"""`flows register` against a real Prefect server: converges, is idempotent, and keeps what is not its own."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import WorkPoolFilter, WorkPoolFilterName
from prefect.exceptions import ObjectNotFound

from flow_of_flows.errors import ConfigurationError
from flow_of_flows.registration import prefect_yaml
from flow_of_flows.registration.plan import Action
from tests.commands import FLOWS, REPOSITORY, environment, flows, run
from tests.fixtures.registrations import TEMPLATE, Project, actions
from tests.fixtures.server import Embedded


def test_everything_is_registered_and_the_second_time_nothing_changes(project: Project) -> None:
    """Pool, template, queues, deployments, automation; ids stay."""
    project.registration |= {
        "jobVariables": {
            "byTag": {"child": {"memory_limit": "1Gi", "command": "tag"}},
            "byDeployment": {f"{project.name}-second": {"memory_limit": "4Gi"}},
        },
    }
    project.deploy("second", entrypoint="tests.children.broken", work_pool={"job_variables": {"command": "own"}})
    plan, _ = project.register()
    assert [change.action for change in plan] == [Action.CREATE] * 6
    before = project.state()
    assert before["pool"] == {"type": "kubernetes", "base_job_template": TEMPLATE, "concurrency_limit": None}
    assert before["queues"] == {"pipelines": (1, None), "default": (2, None), "children": (3, 3)}
    first, second = project.found("first"), project.found("second", flow="broken")
    assert first.job_variables == {"image": "shop:1", "memory_limit": "1Gi", "command": "tag"}
    assert second.job_variables == {"image": "shop:1", "memory_limit": "4Gi", "command": "own"}
    assert first.global_concurrency_limit is not None
    assert (first.global_concurrency_limit.limit, first.version, first.path) == (2, "0.1.0", None)
    assert [schedule.active for schedule in first.schedules] == [True]
    again, said = project.register()
    assert {change.action for change in again} == {Action.UNCHANGED}
    assert said.endswith("Plan: 0 create, 0 update, 6 unchanged, 0 delete.")
    assert project.state() == before


def test_the_block_of_dbt_cloud_is_made_of_its_secret(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new token updates it; nothing is said of the token; a block of the file's own is not touched."""
    for token, action in (("dbtc_c4nary", Action.CREATE), ("dbtc_c4nary-2", Action.UPDATE)):
        secret = {"api_token": token, "account_id": 12, "job_id": 345, "host": "emea.dbt.com"}
        monkeypatch.setenv("DBT_CLOUD_API_CREDENTIALS", json.dumps(secret))
        plan, said = project.register()
        assert actions(plan)["dbt-cloud-credentials/dbt-cloud"] is action
        assert "c4nary" not in said
        block = project.client.read_block_document_by_name("dbt-cloud", "dbt-cloud-credentials", include_secrets=True)
        assert block.data == {"api_key": token, "account_id": 12, "domain": "emea.dbt.com"}
    assert "DbtCloudCredentials" in str(block.block_type)
    monkeypatch.setenv("DBT_CLOUD_API_CREDENTIALS", '{"api_token": "dbtc_c4nary"}')
    with pytest.raises(ConfigurationError, match=r"The secret dbt-cloud/api-credentials is malformed: account_id"):
        project.register()


def test_a_secret_of_dbt_cloud_that_is_missing_is_said_where_a_pipeline_uses_it(
    project: Project, secrets_manager: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And everything else is registered."""
    assert "dbt-cloud" not in project.register()[1]
    assert secrets_manager.list_secrets()["SecretList"] == []
    monkeypatch.setenv("FLOWS_TRANSFORM_DAILY_PIPELINE", "cloud")
    plan, said = project.register()
    assert "Block dbt-cloud-credentials/dbt-cloud is not made: There is no secret dbt-cloud/api-credentials." in said
    assert {change.action for change in plan} == {Action.UNCHANGED}


def test_the_next_release_moves_images_schedules_and_deployments(project: Project) -> None:
    """A schedule that is gone is removed, a deployment pruned, and what a person paused stays paused."""
    project.deploy("third")
    project.register()
    first = project.found("first")
    project.client.pause_deployment(first.id)
    project.registration["image"] = "shop:2"
    project.deploy("first")
    del project.deployments["third"]
    plan, said = project.register()
    assert actions(plan) == {
        project.name: Action.UNCHANGED,
        f"{project.name}/pipelines": Action.UNCHANGED,
        f"{project.name}/children": Action.UNCHANGED,
        f"flow-of-flows: revive crashed pipelines ({project.name})": Action.UNCHANGED,
        f"work/{project.name}-first": Action.UPDATE,
        f"broken/{project.name}-second": Action.UPDATE,
        f"work/{project.name}-third": Action.DELETE,
    }
    assert "job_variables.image: shop:1 → shop:2" in said
    after = project.found("first")
    assert (after.id, after.paused, after.schedules, after.global_concurrency_limit) == (first.id, True, [], None)
    assert after.job_variables["image"] == "shop:2"
    with pytest.raises(ObjectNotFound):
        project.found("third")


def test_an_environment_without_schedules_keeps_them_inactive(project: Project) -> None:
    """Turned off, and on again, without a change of prefect.yaml."""
    project.register()
    assert [schedule.active for schedule in project.found("first").schedules] == [True]
    project.registration["schedules"] = False
    _, said = project.register()
    assert "schedules" in said
    assert [schedule.active for schedule in project.found("first").schedules] == [False]
    del project.registration["schedules"]
    project.register()
    assert [schedule.active for schedule in project.found("first").schedules] == [True]


def test_what_strangers_deployed_is_kept(project: Project) -> None:
    """Without our tag in our pool, and with our tag in another pool."""
    project.register()
    flow = project.found("first").flow_id
    other = f"{project.name}-other"
    project.client.create_work_pool(WorkPoolCreate(name=other, type="process"))
    for name, pool, tags in (("untagged", project.name, ["child"]), ("elsewhere", other, ["flow-of-flows"])):
        project.client.create_deployment(flow, f"{project.name}-{name}", work_pool_name=pool, tags=tags)
    plan, _ = project.register()
    assert {change.action for change in plan} == {Action.UNCHANGED}
    assert (project.found("untagged").tags, project.found("elsewhere").tags) == (["child"], ["flow-of-flows"])


def test_a_plan_writes_nothing(project: Project) -> None:
    """Neither a pool nor a deployment; the command prints it and exits 0."""
    settings = project.settings()
    shown = flows(
        "register",
        "--plan",
        "--file",
        str(settings.registration),
        PREFECT_API_URL=project.api,
        FLOWS_DEPLOYMENTS=str(settings.deployments),
    )
    assert (shown.code, shown.err) == (0, "")
    assert shown.out == (
        f"Prefect API {project.api}, work pool {project.name}\n"
        f"create    work pool {project.name}\n"
        f"create    work queue {project.name}/pipelines\n"
        f"create    work queue {project.name}/children\n"
        f"create    deployment work/{project.name}-first\n"
        f"create    deployment broken/{project.name}-second\n"
        f"create    automation flow-of-flows: revive crashed pipelines ({project.name})\n"
        "Plan: 6 create, 0 update, 0 unchanged, 0 delete.\n"
    )
    with pytest.raises(ObjectNotFound):
        project.client.read_work_pool(project.name)


@pytest.mark.parametrize("image", [None, "shop:3"])
def test_prefect_deploy_all_works_as_it_stands(embedded: Embedded, tmp_path: Path, image: str | None) -> None:
    """The real command: pool flows, no image where none is set; and `flows register` finds next to nothing to do."""
    with SyncPrefectClient(embedded.api) as client:
        client.create_work_pool(WorkPoolCreate(name="flows", type="process"), overwrite=True)
        variables = {"PREFECT_API_URL": embedded.api, "PREFECT_HOME": str(tmp_path)}
        done = subprocess.run(
            [FLOWS.with_name("prefect"), "--no-prompt", "deploy", "--all"],
            env=environment(**variables, **({"FLOWS_IMAGE": image} if image else {})),
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=200,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        in_pool = WorkPoolFilter(name=WorkPoolFilterName(any_=["flows"]))
        ours = {one.name: one for one in client.read_deployments(work_pool_filter=in_pool)}
    assert set(ours) == {one.name for one in prefect_yaml.read(REPOSITORY / "prefect.yaml")}
    assert {one.job_variables.get("image") for one in ours.values()} == {image}
    assert len(ours["daily-pipeline"].schedules) == 1


def test_prefect_deploy_all_works_after_flows_register(embedded: Embedded, tmp_path: Path) -> None:
    """Prefect refuses a schedule without a slug where the registered one has a slug."""
    variables = {"PREFECT_API_URL": embedded.api, "PREFECT_HOME": str(tmp_path), "FLOWS_WORK_POOL": "registered"}
    registered = flows("register", "--take-over", **variables)
    assert registered.code == 0, registered.err
    embedded.client.create_work_pool(WorkPoolCreate(name="flows", type="process"), overwrite=True)
    deployed = run([FLOWS.with_name("prefect"), "--no-prompt", "deploy", "--all"], environment(**variables), REPOSITORY)
    assert deployed.code == 0, deployed.out + deployed.err
    found = embedded.client.read_deployment_by_name("daily-pipeline/daily-pipeline")
    assert found.work_pool_name == "flows"
    assert [(schedule.slug, schedule.active) for schedule in found.schedules] == [("daily", True)]
