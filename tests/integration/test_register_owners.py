"""Whose an object on the Prefect API is: `flows register` changes nothing that another owner registered."""

from __future__ import annotations

from typing import Any

import pytest
from prefect.client.schemas.actions import BlockDocumentCreate, DeploymentScheduleCreate, WorkPoolUpdate
from prefect.exceptions import ObjectNotFound

from flow_of_flows.registration import ownership
from flow_of_flows.registration.plan import Action, ResourceKind
from tests.commands import flows, refused
from tests.fixtures.registrations import Project, actions

WAYS_OUT = "give its deployments a suffix (deployments.suffix of the chart, FLOWS_DEPLOYMENTS_SUFFIX), for example -dev"
TAKE_OVER = "or take over what is there with `flows register --take-over` (registration.takeOver of the chart)"

DBT_CLOUD = '{"api_token": "dbtc_c4nary", "account_id": 12, "job_id": 345, "host": "emea.dbt.com"}'


def automations_of(project: Project) -> dict[str, str | None]:
    """Return the owners of the automations for the project's pool, by name."""
    name = f"flow-of-flows: revive crashed pipelines ({project.registration['workPool']['name']})"
    return {one.name: ownership.unsigned(one.description)[1] for one in project.client.read_automations_by_name(name)}


def unmark(project: Project) -> None:
    """Leave the API as a version without marks left it: only automations have one."""
    client, pool = project.client, project.registration["workPool"]["name"]
    for one in project.deployed():
        kept = one.model_dump(
            include={
                "tags",
                "parameters",
                "parameter_openapi_schema",
                "enforce_parameter_schema",
                "job_variables",
                "entrypoint",
                "description",
                "version",
                "pull_steps",
            }
        )
        limit = one.global_concurrency_limit
        kept |= {"concurrency_limit": limit.limit if limit else None}
        kept["schedules"] = [DeploymentScheduleCreate(schedule=each.schedule) for each in one.schedules]
        client.create_deployment(
            one.flow_id, one.name, work_pool_name=one.work_pool_name, work_queue_name=one.work_queue_name, **kept
        )
    client.update_work_pool(pool, WorkPoolUpdate(description=""))
    for queue in client.read_work_queues(work_pool_name=pool):
        client.update_work_queue(queue.id, description="")


def test_every_object_carries_the_mark_of_its_owner(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A label, the last line of a description, or a variable; what a person wrote before it stays."""
    monkeypatch.setenv("DBT_CLOUD_API_CREDENTIALS", DBT_CLOUD)
    project.suffix = f"-{project.name}"
    project.register()
    owner, line = f"{project.name}/release", f"(registered by flow-of-flows, owner {project.name}/release)"
    client = project.client
    client.update_work_pool(project.name, WorkPoolUpdate(description=f"For the shop.\n\n{line}"))
    assert {change.action for change in project.register()[0]} == {Action.UNCHANGED}
    project.registration["workPool"]["concurrencyLimit"] = 4
    project.registration["workPool"]["baseJobTemplate"] = {
        **project.registration["workPool"]["baseJobTemplate"],
        "more": {},
    }
    project.register()
    assert project.found("first").labels[ownership.LABEL] == owner
    assert client.read_work_pool(project.name).description == f"For the shop.\n\n{line}"
    queues = client.read_work_queues(work_pool_name=project.name)
    assert {one.name: one.description for one in queues} == {
        "default": "The work pool's default queue.",
        "pipelines": line,
        "children": line,
    }
    assert automations_of(project) == {f"flow-of-flows: revive crashed pipelines ({project.name})": owner}
    kind, name = ResourceKind.BLOCK, f"dbt-cloud-credentials/dbt-cloud{project.suffix}"
    variable = {"name": ownership.variable_name(kind, name)}
    response = client.request("GET", "/variables/name/{name}", path_params=variable)
    assert response.json()["value"] | {"id": ""} == {"owner": owner, "kind": kind, "name": name, "id": ""}


def test_a_second_release_is_refused_and_registers_beside_the_first_with_a_suffix(project: Project) -> None:
    """The sentence names the owner and both ways out, and nothing is changed; then each has its own of everything."""
    project.register()
    before = project.state()
    dev = project.release("dev/flows", pool=f"{project.name}-dev")
    assert dev.refusal() == (
        f"Deployments work/{project.name}-first, broken/{project.name}-second belong to {project.name}/release, "
        f"not to dev/flows: nothing is changed. Where: {project.api}. Next: {WAYS_OUT}, {TAKE_OVER}."
    )
    assert project.state() == before
    with pytest.raises(ObjectNotFound):
        project.client.read_work_pool(f"{project.name}-dev")
    dev.suffix = "-dev"
    assert {change.action for change in dev.register()[0]} == {Action.CREATE}
    assert {change.action for change in dev.register()[0]} == {Action.UNCHANGED}
    assert {change.action for change in project.register()[0]} == {Action.UNCHANGED}
    found = {one.name: (one.work_pool_name, one.labels[ownership.LABEL]) for one in project.deployed()}
    prod = (project.name, f"{project.name}/release")
    assert found == {
        f"{project.name}-first": prod,
        f"{project.name}-second": prod,
        f"{project.name}-first-dev": (f"{project.name}-dev", "dev/flows"),
        f"{project.name}-second-dev": (f"{project.name}-dev", "dev/flows"),
    }
    del dev.deployments["second"]
    plan, _ = dev.register()
    gone = [change.name for change in plan if change.action is Action.DELETE]
    assert gone == [f"broken/{project.name}-second-dev"]
    assert project.state()["limits"][f"{project.name}-first"] == 2


def test_a_release_that_leaves_the_pool_s_name_at_its_default_is_refused(project: Project) -> None:
    """Even with a suffix: the pool says where pods run, with which account and image."""
    project.register()
    before = project.state()
    third = project.release("test/flows", pool=project.name, suffix="-test")
    pool = "give this release a work pool of its own (workPool.name of the chart, FLOWS_WORK_POOL)"
    assert third.refusal() == (
        f"Work pool {project.name} belongs to {project.name}/release, not to test/flows: nothing is changed. "
        f"Where: {project.api}. Next: {pool}, {TAKE_OVER}."
    )
    third.suffix = ""
    assert third.refusal() == (
        f"Work pool {project.name}; deployments work/{project.name}-first, broken/{project.name}-second belong to "
        f"{project.name}/release, not to test/flows: nothing is changed. Where: {project.api}. "
        f"Next: {pool} and {WAYS_OUT}, {TAKE_OVER}."
    )
    assert project.state() == before


def test_the_command_refuses_with_exit_code_2_and_one_sentence(project: Project) -> None:
    """Also a plan, which says nothing else then."""
    project.register()
    dev = project.release("dev/flows", pool=f"{project.name}-dev").settings()
    files = {"FLOWS_DEPLOYMENTS": str(dev.deployments), "FLOWS_REGISTRATION": str(dev.registration)}
    message = (
        f"Deployments work/{project.name}-first, broken/{project.name}-second belong to {project.name}/release, "
        f"not to dev/flows: nothing is changed. Where: {project.api}. Next: {WAYS_OUT}, {TAKE_OVER}."
    )
    for words in (("register",), ("register", "--plan")):
        assert flows(*words, PREFECT_API_URL=project.api, **files) == refused(2, message)
    shown = flows("register", "--plan", "--take-over", PREFECT_API_URL=project.api, **files)
    assert (shown.code, shown.err) == (0, "")
    assert f"            owner: {project.name}/release → dev/flows\n" in shown.out
    assert f"            work_pool_name: {project.name} → {project.name}-dev\n" in shown.out


def test_taking_over_moves_everything_of_the_same_names_and_the_former_owner_is_refused(project: Project) -> None:
    """Pool, queues, deployments and the automation of the pool, of which there is one as before."""
    project.register()
    ids = {one.name: one.id for one in project.deployed()}
    heir = project.release("new/flows", pool=project.name)
    plan, _ = heir.register(take_over=True)
    assert {change.action for change in plan} == {Action.UPDATE}
    assert {one.name: one.id for one in project.deployed()} == ids
    assert automations_of(project) == {f"flow-of-flows: revive crashed pipelines ({project.name})": "new/flows"}
    assert {change.action for change in heir.register()[0]} == {Action.UNCHANGED}
    assert project.refusal().startswith(
        f"Work pool {project.name}; deployments work/{project.name}-first, broken/{project.name}-second belong to "
        f"new/flows, not to {project.name}/release: nothing is changed. "
    )


def test_an_upgrade_from_a_version_without_marks_needs_no_word(project: Project) -> None:
    """Everything in the pool whose automation names this owner gets a mark; what is gone is still pruned."""
    project.deploy("third")
    project.register()
    unmark(project)
    other = project.release("dev/flows", pool=f"{project.name}-dev")
    assert other.refusal().startswith(
        f"Deployments work/{project.name}-first, broken/{project.name}-second, work/{project.name}-third belong to "
        f"{project.name}/release, not to dev/flows: nothing is changed. "
    )
    del project.deployments["third"]
    plan, said = project.register()
    assert actions(plan) == {
        project.name: Action.UPDATE,
        f"{project.name}/pipelines": Action.UPDATE,
        f"{project.name}/children": Action.UPDATE,
        f"work/{project.name}-first": Action.UPDATE,
        f"broken/{project.name}-second": Action.UPDATE,
        f"flow-of-flows: revive crashed pipelines ({project.name})": Action.UNCHANGED,
        f"work/{project.name}-third": Action.DELETE,
    }
    assert (
        f"update    deployment work/{project.name}-first\n"
        f"            owner: (none) → {project.name}/release\n"
        "            registered_schedules.flow-of-flows-1: (none) → on\n"
        "            schedules[0].slug: (none) → flow-of-flows-1\n"
        f"update    deployment broken/{project.name}-second\n"
        f"            owner: (none) → {project.name}/release\n"
    ) in said
    assert {change.action for change in project.register()[0]} == {Action.UNCHANGED}


def test_a_release_without_marks_may_move_its_deployments_to_another_pool(project: Project) -> None:
    """In one step with the upgrade; a deployment in a pool of which nobody knows the owner is not taken."""
    project.register()
    unmark(project)
    moved = project.release(f"{project.name}/release", pool=f"{project.name}-new")
    moved.register()
    assert {one.work_pool_name for one in project.deployed()} == {f"{project.name}-new"}
    unmark(moved)
    (automation,) = project.client.read_automations_by_name(
        f"flow-of-flows: revive crashed pipelines ({project.name}-new)"
    )
    project.client.delete_automation(automation.id)
    back = project.release("other/flows", pool=f"{project.name}-third")
    assert back.refusal().startswith(
        f"Deployments work/{project.name}-first, broken/{project.name}-second belong to an unknown owner, "
        "not to other/flows: nothing is changed. "
    )


def by_hand(project: Project, **more: str) -> Any:
    """Register by hand, as on a laptop."""
    return flows(
        "register",
        PREFECT_API_URL=project.api,
        FLOWS_DEPLOYMENTS=str(project.settings().deployments),
        FLOWS_WORK_POOL=project.name,
        **more,
    )


def test_who_registers_by_hand_is_the_project_on_every_machine(project: Project) -> None:
    """Whatever the folder and the time; what an earlier version registered by hand is adopted."""
    assert by_hand(project).code == 0
    assert {one.labels[ownership.LABEL] for one in project.deployed()} == {"flow-of-flows"}
    unmark(project)
    name = f"flow-of-flows: revive crashed pipelines ({project.name})"
    (automation,) = project.client.read_automations_by_name(name)
    automation.description = ownership.signed("Starts pipeline runs again.", "flows register")
    changed = automation.model_dump(mode="json", exclude={"id", "owner_resource"})
    project.client.request("PUT", "/automations/{id}", path_params={"id": automation.id}, json=changed)
    assert by_hand(project).code == 0
    assert {one.labels[ownership.LABEL] for one in project.deployed()} == {"flow-of-flows"}
    assert automations_of(project) == {name: "flow-of-flows"}
    assert by_hand(project).out.endswith("Registered: nothing had to change.\n")
    refused_other = by_hand(project, FLOWS_OWNER="me")
    assert (refused_other.code, refused_other.out) == (2, "")
    assert f"second belong to flow-of-flows, not to me: nothing is changed. Where: {project.api}." in refused_other.err


def test_a_block_that_another_owner_made_is_not_changed(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is made anew under its name is another's."""
    monkeypatch.setenv("DBT_CLOUD_API_CREDENTIALS", DBT_CLOUD)
    project.suffix = f"-{project.name}"
    project.register()
    client, name = project.client, f"dbt-cloud{project.suffix}"
    block = client.read_block_document_by_name(name, "dbt-cloud-credentials")
    client.delete_block_document(block.id)
    client.create_block_document(
        BlockDocumentCreate(
            name=name,
            data={"api_key": "another", "account_id": 1},
            block_type_id=block.block_type_id,
            block_schema_id=block.block_schema_id,
        )
    )
    assert project.refusal() == (
        f"Block dbt-cloud-credentials/{name} belongs to an unknown owner, not to {project.name}/release: "
        f"nothing is changed. Where: {project.api}. Next: {WAYS_OUT}, {TAKE_OVER}."
    )
