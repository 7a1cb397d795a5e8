"""What the chart renders, registered on a real Prefect server and read back."""

from __future__ import annotations

from typing import Any

from flow_of_flows.registration.plan import Action
from tests.chart.render import registration
from tests.fixtures.registrations import Project

WORDS = {"a": "0123", "b": "1e3", "c": "yes", "d": "2024-01-01 10:00:00Z", "e": "="}


def test_numbers_and_names_of_the_values_come_back_as_they_were_written(project: Project) -> None:
    """Of the pool's template, a deployment and a queue; a second registration finds nothing to change."""
    values: dict[str, Any] = {
        "workPool": {"name": project.name, "concurrencyLimit": 2000000},
        "image": {"tag": "0123"},
        "sweeper": {"enabled": False},
        "jobs": {
            "ttlSecondsAfterFinished": 2592000,
            "annotations": WORDS,
            "nodeSelector": WORDS,
            "resources": {"requests": {"cpu": 0.5}, "limits": {"memory": 1073741824, "nvidia.com/gpu": 1}},
            "deployments": {f"{project.name}-first": {"memory_limit": 4294967296, "env": {"A": 1000000, "B": True}}},
        },
    }
    project.registration = registration(values)
    del project.registration["jobVariables"]["byTag"]["pipeline"]
    project.deploy("second", entrypoint="tests.children.broken", work_pool={"job_variables": {"cpu_limit": 1}})
    project.register()
    pool = project.client.read_work_pool(project.name)
    assert pool.base_job_template == project.registration["workPool"]["baseJobTemplate"]
    defaults = {name: each.get("default") for name, each in pool.base_job_template["variables"]["properties"].items()}
    assert (defaults["finished_job_ttl"], type(defaults["finished_job_ttl"])) == (2592000, int)
    assert (defaults["cpu_request"], defaults["memory_limit"]) == ("0.5", "1073741824")
    assert (defaults["annotations"], defaults["node_selector"]) == (WORDS, WORDS)
    assert project.found("first").job_variables == {
        "image": "flow-of-flows:0123",
        "memory_limit": "4294967296",
        "env": {"A": "1000000", "B": "true"},
    }
    assert project.found("second", flow="broken").job_variables == {"image": "flow-of-flows:0123", "cpu_limit": 1}
    (children,) = [
        queue for queue in project.client.read_work_queues(work_pool_name=project.name) if queue.name == "children"
    ]
    assert children.concurrency_limit == 2000000
    again, _ = project.register()
    assert {change.action for change in again} == {Action.UNCHANGED}
