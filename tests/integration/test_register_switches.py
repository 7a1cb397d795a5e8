"""What a person switched in the Prefect UI stays so when a release registers again, and the plan says it."""

from __future__ import annotations

import itertools
from typing import Any
from uuid import UUID

import pytest
from prefect.client.schemas.actions import WorkPoolUpdate
from prefect.client.schemas.objects import DeploymentSchedule

from flow_of_flows.registration.plan import Action
from tests.fixtures.registrations import Project

STAYS = "as a person set it in the UI"


@pytest.fixture
def scheduled(project: Project) -> Project:
    """A project that is registered, with a schedule of its first deployment."""
    project.register()
    return project


def schedules(project: Project) -> list[DeploymentSchedule]:
    """Return the schedules of the first deployment."""
    return list(project.found("first").schedules)


def switch(project: Project, **change: Any) -> None:
    """Change the only schedule, as the UI does."""
    deployment, (schedule,) = project.found("first"), schedules(project)
    path = {"id": deployment.id, "schedule_id": schedule.id}
    project.client.request("PATCH", "/deployments/{id}/schedules/{schedule_id}", path_params=path, json=change)


def active(project: Project) -> list[bool]:
    """Return whether each schedule of the first deployment is active."""
    return [one.active for one in schedules(project)]


def lines_of(said: str, name: str) -> list[str]:
    """Return the lines of a plan about one thing."""
    lines = said.splitlines()
    start = next(number for number, line in enumerate(lines) if line.endswith(f" {name}"))
    rest = itertools.takewhile(lambda line: line.startswith(" "), lines[start + 1 :])
    return [" ".join(lines[start].split()), *(line.strip() for line in rest)]


def test_a_schedule_that_a_person_switched_off_stays_off(scheduled: Project) -> None:
    """Registered again, with another image, inactive and active again; switched on again it follows as before."""
    first = f"work/{scheduled.name}-first"
    switch(scheduled, active=False)
    plan, said = scheduled.register()
    assert {change.action for change in plan} == {Action.UNCHANGED}
    assert lines_of(said, first) == [f"unchanged deployment {first}", f"schedules[0].active: stays false, {STAYS}"]
    scheduled.registration["image"] = "shop:2"
    _, said = scheduled.register()
    assert lines_of(said, first) == [
        f"update deployment {first}",
        "job_variables.image: shop:1 → shop:2",
        f"schedules[0].active: stays false, {STAYS}",
    ]
    assert active(scheduled) == [False]
    scheduled.registration["schedules"] = False
    scheduled.register()
    del scheduled.registration["schedules"]
    _, said = scheduled.register()
    assert f"schedules[0].active: stays false, {STAYS}" in lines_of(said, first)
    assert active(scheduled) == [False]
    switch(scheduled, active=True)
    scheduled.registration["schedules"] = False
    _, said = scheduled.register()
    assert lines_of(said, first) == [
        f"update deployment {first}",
        "registered_schedules.flow-of-flows-1: on → off",
        "schedules[0].active: true → false",
    ]
    del scheduled.registration["schedules"]
    scheduled.register()
    assert active(scheduled) == [True]


def test_a_schedule_that_a_person_switched_on_where_nothing_runs_by_the_clock_stays_on(project: Project) -> None:
    """Until the release wants it active, and inactive again."""
    project.registration["schedules"] = False
    project.register()
    switch(project, active=True)
    _, said = project.register()
    assert f"schedules[0].active: stays true, {STAYS}" in said
    assert active(project) == [True]
    for wanted in (True, False):
        project.registration["schedules"] = wanted
        project.register()
    assert active(project) == [False]


def test_a_schedule_that_a_person_edited_is_what_the_file_says_and_one_that_is_added_stays(scheduled: Project) -> None:
    """The plan shows the one as old and new value, and names the other."""
    first = f"work/{scheduled.name}-first"
    switch(scheduled, schedule={"cron": "30 5 * * *", "timezone": "UTC"})
    deployment: UUID = scheduled.found("first").id
    more = [{"active": True, "schedule": {"interval": 3600.0}}]
    scheduled.client.request("POST", "/deployments/{id}/schedules", path_params={"id": deployment}, json=more)
    _, said = scheduled.register()
    assert lines_of(said, first) == [
        f"update deployment {first}",
        "schedules[0].schedule.cron: 30 5 * * * → 0 6 * * *",
        "schedules[1]: stays, as a person added it in the UI",
    ]
    found = {type(one.schedule).__name__: (one.active, one.slug) for one in schedules(scheduled)}
    assert found == {"CronSchedule": (True, "flow-of-flows-1"), "IntervalSchedule": (True, None)}
    assert {change.action for change in scheduled.register()[0]} == {Action.UNCHANGED}


def test_what_is_paused_or_turned_off_stays_so_and_the_plan_says_it(scheduled: Project) -> None:
    """A deployment, a work pool, a queue and an automation."""
    client, name = scheduled.client, scheduled.name
    client.pause_deployment(scheduled.found("first").id)
    client.update_work_pool(name, WorkPoolUpdate(is_paused=True))
    queue = client.read_work_queue_by_name("children", name)
    client.update_work_queue(queue.id, is_paused=True)
    revive = f"flow-of-flows: revive crashed pipelines ({name})"
    (automation,) = client.read_automations_by_name(revive)
    client.request("PATCH", "/automations/{id}", path_params={"id": automation.id}, json={"enabled": False})
    plan, said = scheduled.register()
    assert {change.action for change in plan} == {Action.UNCHANGED}
    assert said == "\n".join(
        [
            f"Prefect API {scheduled.api}, work pool {name}",
            f"unchanged work pool {name}",
            f"            is_paused: stays true, {STAYS}",
            f"unchanged work queue {name}/pipelines",
            f"unchanged work queue {name}/children",
            f"            is_paused: stays true, {STAYS}",
            f"unchanged deployment work/{name}-first",
            f"            paused: stays true, {STAYS}",
            f"unchanged deployment broken/{name}-second",
            f"unchanged automation {revive}",
            f"            enabled: stays false, {STAYS}",
            "Plan: 0 create, 0 update, 6 unchanged, 0 delete.",
        ]
    )
    scheduled.registration["image"] = "shop:2"
    scheduled.registration["workPool"]["concurrencyLimit"] = 4
    scheduled.register()
    assert scheduled.found("first").paused is True
    assert client.read_work_pool(name).is_paused is True
    assert client.read_work_queue_by_name("children", name).is_paused is True
