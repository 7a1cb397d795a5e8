"""What `flows register` refuses, with one sentence, before anything is written."""

from __future__ import annotations

import pytest
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectNotFound

from tests.commands import flows, refused
from tests.fixtures.broken_front import answering
from tests.fixtures.registrations import Project


def test_bad_input_is_refused_before_anything_is_written(project: Project) -> None:
    """Each with a sentence that says where and what to do."""
    first = f"work/{project.name}-first"
    project.deploy("first", work_pool={"job_variables": {"memory_limt": "1Gi"}})
    assert project.refusal() == (
        f"Unknown job variable memory_limt. Where: deployment {first}, work pool {project.name}. "
        "Next: did you mean memory_limit? there are command, image, memory_limit."
    )
    project.deploy("first", work_pool={"job_variables": {"memory_limit": 7}})
    assert project.refusal().startswith("A job variable does not fit: Validation failed for field 'memory_limit'.")
    project.deploy("first", tags=["child"])
    assert project.refusal() == (
        f"Deployment {project.name}-first has the tags child. Where: prefect.yaml. "
        "Next: give it flow-of-flows and one of pipeline, child, maintenance."
    )
    project.deploy("first", entrypoint="tests.nothing.work")
    assert project.refusal().startswith(f"Deployment {project.name}-first does not load: No module named 'tests.noth")
    project.deploy("first", triggers=[])
    assert ": deployments.0.triggers: unknown key. Where: " in project.refusal()
    project.deploy("first", schedules=[{"cron": "daily at six"}])
    assert ': deployments.0.schedules.0.cron: Invalid cron string: "daily at six"' in project.refusal()
    project.deploy("first")
    project.registration["jobVariables"] = {"byDeployment": {"first": {}}}
    assert project.refusal().startswith("Job variables are given to deployment first, which does not exist. ")
    project.registration["jobVariables"] = {}
    project.registration |= {"automations": [], "blocks": [], "concurrencyLimits": {"warehouse": 4}}
    assert project.refusal() == (
        "The registration cannot be read: the file: concurrencyLimits are no longer registered from this file; "
        "remove them and create them with Prefect's CLI or its Terraform provider. "
        f"Where: {project.folder}/registration.yaml. Next: correct the file (the chart makes it from its values), "
        "or set FLOWS_REGISTRATION to another."
    )
    project.registration |= {"concurrencyLimits": {}, "workpool": {}}
    assert ": workpool: unknown key. Where: " in project.refusal()
    with pytest.raises(ObjectNotFound):
        project.client.read_work_pool(project.name)


def test_a_project_without_a_sweeper_is_registered_with_a_warning(project: Project) -> None:
    """The chart has job variables for `sweep` in every project; one that declares it hears nothing."""
    # Another test's release on this server may have a deployment of that name.
    project.suffix = f"-{project.name}"
    project.registration["jobVariables"] = {"byDeployment": {"sweep": {"memory_limit": "1Gi"}}}
    _, said = project.register(only_plan=True)
    assert said.splitlines()[-1] == (
        "Abandoned runs are not cleaned up: prefect.yaml declares no deployment sweep. "
        "Declare it with the entrypoint flow_of_flows.sweeper.flow.sweep, or set sweeper.enabled=false."
    )
    project.deploy("sweep", entrypoint="flow_of_flows.sweeper.flow.sweep", tags=["flow-of-flows", "maintenance"])
    project.deployments["sweep"]["name"] = "sweep"
    _, said = project.register(only_plan=True)
    assert said.splitlines()[-1].startswith("Plan: ")


def test_what_the_api_refuses_is_told_in_its_own_words(project: Project) -> None:
    """Which field, and why, though the API answers with a list of errors and the whole request."""
    project.deploy("first", parameters={"touch": 7})
    assert project.refusal() == (
        f"Registration stopped at create deployment work/{project.name}-first: "
        "Validation failed for field 'touch'. Failure reason: 7 is not of type 'string'. "
        f"What was changed before it is put back, and the former release goes on working. Where: {project.api}. "
        "Next: mend the cause, then register again."
    )


def test_a_pool_of_another_type_is_not_taken_over(project: Project) -> None:
    """Prefect cannot change the type of a pool."""
    project.client.create_work_pool(WorkPoolCreate(name=project.name, type="process"))
    assert project.refusal() == (
        f"Work pool {project.name} has the type process, not kubernetes. Where: {project.api}. "
        "Next: choose another name for the pool, or delete that one: the type of a pool cannot be changed."
    )


def test_wrong_credentials_are_told_at_once_and_never_printed(project: Project) -> None:
    """A server that refuses is not waited for."""
    with answering(project.api, status=401, method="POST", path="/work_pools/filter") as api:
        ended = flows("register", "--wait", "100", PREFECT_API_URL=api, PREFECT_API_AUTH_STRING="me:c4nary")
    assert ended == refused(
        2,
        f"The Prefect API does not know these credentials: it is broken. Where: {api}. "
        "Next: correct PREFECT_API_AUTH_STRING (a server's user:password) or PREFECT_API_KEY (Prefect Cloud).",
    )


def test_an_api_that_stays_away_is_one_sentence() -> None:
    """After the time that was given, with the exit code of a system that does not do its part."""
    ended = flows("register", "--wait", "0.4", PREFECT_API_URL="http://127.0.0.1:9/api")
    assert ended == refused(
        3,
        "The Prefect API did not answer: All connection attempts failed. Where: http://127.0.0.1:9/api. "
        "Next: start the API, or correct PREFECT_API_URL; then run this again.",
    )
