"""What `flows register` leaves when it fails or is stopped midway: the former release, unchanged."""

from __future__ import annotations

import subprocess

import pytest
from prefect.exceptions import ObjectNotFound

from flow_of_flows.errors import ConfigurationError, PlatformError
from tests.commands import FLOWS, environment
from tests.conditions import eventually
from tests.fixtures.broken_front import answering
from tests.fixtures.registrations import Project


@pytest.mark.parametrize(("status", "kind"), [(500, PlatformError), (422, ConfigurationError)])
def test_a_failure_midway_puts_everything_back(project: Project, status: int, kind: type[Exception]) -> None:
    """Template, image and schedules of the former release; what was new is gone; the message says so."""
    project.register()
    before = project.state()
    project.registration["image"] = "shop:2"
    project.registration["workPool"]["concurrencyLimit"] = 9
    project.deploy("first")
    project.deploy("new")
    project.deployments["second"] = project.deployments.pop("second")
    broken = f'"name": ?"{project.name}-second"'
    with (
        answering(project.api, status=status, method="POST", path=r"/deployments/$", body=broken) as api,
        pytest.raises(kind) as caught,
    ):
        project.register(api=api, seconds=3)
    assert str(caught.value).startswith(f"Registration stopped at update deployment broken/{project.name}-second: ")
    assert str(caught.value).endswith(
        "it is broken. What was changed before it is put back, and the former release goes on working. "
        f"Where: {api}. Next: mend the cause, then register again."
    )
    assert project.state() == before


def test_a_first_registration_that_fails_leaves_nothing(project: Project) -> None:
    """Not even the pool."""
    broken = f'"name": ?"{project.name}-second"'
    with (
        answering(project.api, status=500, method="POST", path=r"/deployments/$", body=broken) as api,
        pytest.raises(PlatformError),
    ):
        project.register(api=api, seconds=3)
    with pytest.raises(ObjectNotFound):
        project.client.read_work_pool(project.name)
    assert project.deployed() == []


def test_a_registration_that_is_told_to_stop_puts_everything_back(project: Project) -> None:
    """The deadline of a Job: the process gets SIGTERM, here after its second write."""
    project.register()
    before = project.state()
    project.registration["image"] = "shop:2"
    project.registration["workPool"]["concurrencyLimit"] = 9
    settings = project.settings()
    held = f'"name": ?"{project.name}-second"'
    with answering(project.api, status=503, method="POST", path=r"/deployments/$", body=held) as api:
        variables = {"PREFECT_API_URL": api, "FLOWS_DEPLOYMENTS": str(settings.deployments)}
        process = subprocess.Popen(
            [FLOWS, "register", "--file", str(settings.registration)],
            env=environment(**variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        eventually(lambda: project.found("first").job_variables["image"] == "shop:2", "the second write is done")
        process.terminate()
        assert process.wait(60) == 130
    assert project.state() == before
