"""The work queues that `flows register` makes: which runs go to which, and which has a limit."""

from __future__ import annotations

import asyncio

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.settings import PREFECT_API_URL, temporary_settings

from flow_of_flows.registration.plan import Action, Item, ResourceKind
from flow_of_flows.registration.resources import Queues
from tests.fixtures.registrations import Project, actions


def queue_of(project: Project, name: str) -> str | None:
    """The queue that a deployment's runs go to."""
    return project.found(name).work_queue_name


def test_each_kind_goes_to_its_queue_and_only_that_of_the_children_has_a_limit(project: Project) -> None:
    """A deployment's own queue is kept; a limit that goes is removed; what a person paused stays paused."""
    for kind in ("pipeline", "maintenance"):
        project.deploy(kind, tags=["flow-of-flows", kind])
    project.deploy("own", work_pool={"work_queue_name": "default"})
    project.register()
    found = {name: queue_of(project, name) for name in ("first", "pipeline", "maintenance", "own")}
    assert found == {"first": "children", "pipeline": "pipelines", "maintenance": "pipelines", "own": "default"}
    children = project.client.read_work_queue_by_name("children", project.name)
    project.client.update_work_queue(children.id, is_paused=True)
    del project.registration["workPool"]["concurrencyLimit"]
    plan, said = project.register()
    assert [change.name for change in plan if change.action is Action.UPDATE] == [f"{project.name}/children"]
    assert "concurrency_limit: 3 → (none)" in said
    after = project.client.read_work_queue_by_name("children", project.name)
    assert (after.id, after.concurrency_limit, after.is_paused) == (children.id, None, True)
    assert {change.action for change in project.register()[0]} == {Action.UNCHANGED}


def test_a_release_that_limited_its_pool_is_cured(project: Project) -> None:
    """Before there were queues everything was in the default one, and pipelines took the slots of their children."""
    project.register()
    project.client.update_work_pool(project.name, WorkPoolUpdate(concurrency_limit=3))
    for name in ("pipelines", "children"):
        project.client.delete_work_queue_by_id(project.client.read_work_queue_by_name(name, project.name).id)
    plan, said = project.register()
    assert actions(plan) == {
        project.name: Action.UPDATE,
        f"{project.name}/pipelines": Action.CREATE,
        f"{project.name}/children": Action.CREATE,
        f"work/{project.name}-first": Action.UPDATE,
        f"broken/{project.name}-second": Action.UPDATE,
        f"flow-of-flows: revive crashed pipelines ({project.name})": Action.UNCHANGED,
    }
    assert "concurrency_limit: 3 → (none)" in said
    assert (project.client.read_work_pool(project.name).concurrency_limit, queue_of(project, "first")) == (
        None,
        "children",
    )


def test_without_a_pool_of_its_own_a_registration_leaves_limits_alone(project: Project) -> None:
    """It makes the queues, and says nothing of how many may run at once."""
    project.client.create_work_pool(WorkPoolCreate(name=project.name, type="process", concurrency_limit=7))
    del project.registration["workPool"], project.registration["image"]
    project.registration["workPool"] = {"name": project.name}
    project.register()
    children = project.client.read_work_queue_by_name("children", project.name)
    project.client.update_work_queue(children.id, concurrency_limit=2)
    assert {change.action for change in project.register()[0]} == {Action.UNCHANGED}
    state = project.state()
    assert (state["pool"]["concurrency_limit"], state["queues"]["children"]) == (7, (3, 2))


@pytest.mark.parametrize("waits", [False, True])
def test_queues_of_a_registration_that_failed_go_again_unless_a_run_waits_in_one(project: Project, waits: bool) -> None:  # noqa: FBT001 - pytest's
    """A run without its queue would never start."""
    project.register()
    for name in ("pipelines", "children"):
        project.client.delete_work_queue_by_id(project.client.read_work_queue_by_name(name, project.name).id)
    item = Item(ResourceKind.QUEUE, f"{project.name}/children", {})
    with temporary_settings({PREFECT_API_URL: project.api}):
        asyncio.run(written_and_removed(project, item, waits=waits))
    assert set(project.state()["queues"]) == ({"default", "children"} if waits else {"default"})


async def written_and_removed(project: Project, item: Item, *, waits: bool) -> None:
    """What a registration does that fails later; somebody may start a run meanwhile."""
    async with get_client() as client:
        await Queues().write(client, item)
        if waits:
            flow = await client.create_flow_from_name("work")
            deployment = await client.create_deployment(
                flow, f"{project.name}-hasty", work_pool_name=project.name, work_queue_name="children"
            )
            await client.create_flow_run_from_deployment(deployment)
        await Queues().remove(client, item)
