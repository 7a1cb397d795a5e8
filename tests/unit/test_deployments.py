"""prefect.yaml and the pipelines: each names what the other has, and all of it loads."""

from __future__ import annotations

import json
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import flows.pipelines
from flow_of_flows.dispatch.pipeline import Pipeline, Step, declared
from flow_of_flows.errors import ConfigurationError
from flow_of_flows.registration.prefect_yaml import Deployment, WorkPoolEntry, read
from flow_of_flows.settings import Settings, TransformSettings
from flow_of_flows.settings.systems import TransformChild
from tests.commands import REPOSITORY

DEPLOYMENTS = {deployment.name: deployment for deployment in read(REPOSITORY / "prefect.yaml")}
# A parent is loaded by its pod without any of these: they are what makes a child's start slow.
HEAVY = (
    "airbyte_api",
    "boto3",
    "botocore",
    "dbt",
    "dlt",
    "duckdb",
    "kubernetes",
    "matplotlib",
    "pandas",
    "prefect_dbt",
    "psycopg2",
    "snowflake",
    "apprise",
    "httpx2",
    "pagerduty",
)


PIPELINES = [name for name, entry in DEPLOYMENTS.items() if "pipeline" in entry.tags]


def every() -> Iterator[Pipeline]:
    """Every pipeline of the project, and every pipeline within one."""
    for name in PIPELINES:
        found = declared(DEPLOYMENTS[name].flow())
        assert found is not None
        yield from _with_inner(found)


def _with_inner(pipeline: Pipeline) -> Iterator[Pipeline]:
    yield pipeline
    for step in pipeline.steps:
        if step.nested:
            yield from _with_inner(step.nested)


def test_every_pipeline_has_a_deployment_of_its_name_and_its_tag() -> None:
    """Completeness, for pipelines within pipelines, too."""
    flows_of = {name: entry.flow() for name, entry in DEPLOYMENTS.items()}
    assert [name for name, flow in flows_of.items() if declared(flow)] == PIPELINES
    assert {pipeline.name for pipeline in every()} - set(PIPELINES) == set()


def test_every_step_of_every_pipeline_has_a_deployment() -> None:
    """Completeness, for pipelines within pipelines, too: dispatch never meets a step without a child."""
    steps = {deployment for pipeline in every() for step in pipeline.steps for deployment in step.deployments}
    assert steps - {f"{name}/{name}" for name in DEPLOYMENTS} == set()


def test_every_deployment_is_a_pipeline_or_a_step_of_one() -> None:
    """Completeness the other way: nothing is deployed that nothing runs, but what people start by hand."""
    children = {name.partition("/")[2] for p in every() for step in p.steps for name in step.deployments}
    assert set(DEPLOYMENTS) == {"smoke", "sweep", "dbt-command"} | {pipeline.name for pipeline in every()} | children


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_every_deployment_loads_and_its_flow_has_its_name(name: str) -> None:
    """`run_deployment` gets flow and deployment from the one name of the step."""
    assert DEPLOYMENTS[name].flow().name == name


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_every_parameter_of_a_deployed_flow_is_described(name: str) -> None:
    """Completeness: the form in the Prefect UI explains each field."""
    properties = DEPLOYMENTS[name].flow().parameters.model_dump()["properties"]
    assert [key for key, entry in properties.items() if not entry.get("description")] == []


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_every_parameter_that_a_pipeline_passes_is_one_of_the_child(name: str) -> None:
    """Completeness: what a step says about its child is true of it."""
    takes = set(DEPLOYMENTS[name].flow().parameters.model_dump()["properties"])
    for step in (step for pipeline in every() for step in pipeline.steps if f"{name}/{name}" in step.deployments):
        passed = set(step.parameters) | ({step.continues} if step.continues else set())
        assert passed - takes == set()
        assert not step.takes_full_refresh or "full_refresh" in takes


def test_pipelines_are_imported_without_what_only_children_need() -> None:
    """A fresh interpreter, every module of the package."""
    modules = [info.name for info in pkgutil.iter_modules(flows.pipelines.__path__, "flows.pipelines.")]
    script = f"import json, sys, {', '.join(modules)}; print(json.dumps([*sys.modules]))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    loaded = {name.split(".")[0] for name in json.loads(done.stdout)}
    assert "prefect" in loaded
    assert loaded & set(HEAVY) == set()


def test_the_dbt_cloud_child_is_imported_without_dbt() -> None:
    """Its pod is small, for all it does is wait."""
    script = "import json, sys, flow_of_flows.dbt_cloud.child; print(json.dumps([*sys.modules]))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert {name.split(".")[0] for name in json.loads(done.stdout)} & set(HEAVY) == set()


def test_every_pipeline_that_transforms_follows_its_setting() -> None:
    """Each of both values leads to another child."""
    choices = {pipeline.name: step for pipeline in every() for step in pipeline.steps if step.name == "dbt-build"}
    for name, step in choices.items():
        for child, deployment in (("core", "dbt-build/dbt-build"), ("cloud", "dbt-cloud/dbt-cloud")):
            settings = Settings(transform=TransformSettings(children={name: TransformChild(child)}))
            assert step.configured(settings).deployment == deployment


def test_every_step_follows_the_suffix_of_the_deployments() -> None:
    """In pipelines within pipelines and for either child of a choice; told twice, it is added once."""
    settings = Settings(
        deployments_suffix="-dev", transform=TransformSettings(children={"daily-pipeline": TransformChild.CLOUD})
    )
    for found in every():
        once = found.configured(settings)
        for inner in _with_inner(once):
            for step in inner.steps:
                assert set(step.deployments) <= {f"{name}/{name}-dev" for name in DEPLOYMENTS}
                assert step.deployment in step.deployments
        assert once.configured(settings) == once


def test_a_step_that_another_project_deployed_keeps_its_name() -> None:
    """Only the deployments of this project's prefect.yaml have the suffix."""
    step = Step(name="theirs", deployment="forecast/weather")
    assert step.configured(Settings(deployments_suffix="-dev")).deployment == "forecast/weather"


def write(folder: Path, text: str) -> Path:
    """A prefect.yaml of this text."""
    file = folder / "prefect.yaml"
    file.write_text(text)
    return file


def test_an_entry_is_read_whole(tmp_path: Path) -> None:
    """An empty key is as good as none; the file's pull steps count where an entry has none of its own."""
    file = write(
        tmp_path,
        """
        pull: [{step: {directory: /opt}}]
        deployments:
          - name: load
            entrypoint: shop.load
            tags: [child]
            parameters: {days: 3}
            description: Loads.
            concurrency_limit: 1
            schedules: [{cron: "0 6 * * *", timezone: UTC, active: false, parameters: {days: 1}}]
            work_pool: {name: flows, work_queue_name: urgent, job_variables: {image: "{{ FLOWS_IMAGE }}", cpu_limit: 1}}
          - {name: build, entrypoint: "shop.py:build", tags: null, parameters: null, description: null, pull: []}
        """,
    )
    load, build = read(file, image="shop:1")
    (schedule,) = load.schedules
    assert schedule.model_dump(exclude_unset=True) == {
        "schedule": {"cron": "0 6 * * *", "timezone": "UTC"},
        "active": False,
        "parameters": {"days": 1},
    }
    assert {key: value for key, value in vars(load).items() if key != "schedules"} == {
        "name": "load",
        "entrypoint": "shop.load",
        "tags": ("child",),
        "parameters": {"days": 3},
        "description": "Loads.",
        "concurrency_limit": 1,
        "work_pool": WorkPoolEntry("flows", "urgent", {"image": "shop:1", "cpu_limit": 1}),
        "pull": ({"step": {"directory": "/opt"}},),
    }
    assert vars(build) == {
        "name": "build",
        "entrypoint": "shop.py:build",
        "tags": (),
        "parameters": {},
        "description": None,
        "concurrency_limit": None,
        "schedules": (),
        "work_pool": WorkPoolEntry(),
        "pull": (),
    }
    assert read(file)[0].work_pool.job_variables == {"cpu_limit": 1}


def test_pods_have_requests_and_memory_limits_and_no_cpu_limit() -> None:
    """Completeness: parents are small, the dbt child is the largest."""
    pods = {name: deployment.work_pool.job_variables for name, deployment in DEPLOYMENTS.items()}
    kept = {"cpu_request", "memory_request", "memory_limit"}
    assert {name: set(pod) for name, pod in pods.items() if set(pod) != kept} == {}
    parents = [pods[name] for name in DEPLOYMENTS if "pipeline" in DEPLOYMENTS[name].tags]
    assert [pod["memory_request"] for pod in parents] == ["192Mi"] * 4
    assert pods["dbt-build"] == {"cpu_request": "500m", "memory_request": "1Gi", "memory_limit": "2Gi"}


def test_every_deployment_is_tagged_as_ours_and_runs_where_the_image_keeps_it() -> None:
    """Completeness: pruning goes by the tag, and a relative folder would be a temporary one."""
    kinds = {name: "pipeline" if name in PIPELINES else "child" for name in DEPLOYMENTS}
    kinds["sweep"] = "maintenance"
    assert {name: entry.tags for name, entry in DEPLOYMENTS.items()} == {
        name: ("flow-of-flows", kind) for name, kind in kinds.items()
    }
    pull = ({"prefect.deployments.steps.set_working_directory": {"directory": "/project"}},)
    assert {entry.pull for entry in DEPLOYMENTS.values() if entry.pull != pull} == set()


def test_schedules_are_daily_at_six_sundays_at_two_and_sweeps_every_five_minutes() -> None:
    """In UTC, and nothing else is scheduled."""
    found = {
        name: [schedule.schedule.model_dump() for schedule in entry.schedules] for name, entry in DEPLOYMENTS.items()
    }
    assert {name: schedules for name, schedules in found.items() if schedules} == {
        "daily-pipeline": [{"cron": "0 6 * * *", "timezone": "UTC", "day_or": True}],
        "weekly-full-refresh": [{"cron": "0 2 * * 0", "timezone": "UTC", "day_or": True}],
        "sweep": [{"cron": "*/5 * * * *", "timezone": "UTC", "day_or": True}],
    }


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "the file declares none"),
        ("[]", "the file: Input should be a valid dictionary or instance of File"),
        ("pull: []", "the file declares none"),
        ("deployments: []", "the file declares none"),
        ("deployments: [{name: load}]", "deployments.0.entrypoint: Field required"),
        (
            "deployments: [{name: load, entrypoint: load}]",
            "deployments.0.entrypoint: String should match pattern '.[.:].'",
        ),
        ("deployments: [load]", "deployments.0: Input should be a dictionary or an instance of Deployment"),
        ("deployments: [{name: a, entrypoint: a.b, work_pol: {}}]", "deployments.0.work_pol: unknown key"),
        ("{build: [], deployments: [{name: a, entrypoint: a.b}]}", "build: unknown key"),
        (
            "deployments: [{name: a, entrypoint: a.b}, {name: a, entrypoint: a.c}]",
            "two deployments have the name a",
        ),
        (
            "deployments: [{name: a, entrypoint: a.b, schedules: [{timezone: UTC}]}]",
            "deployments.0.schedules.0: a schedule has exactly one of cron, interval and rrule",
        ),
        (
            "deployments: [{name: a, entrypoint: a.b, work_pool: {name: '{{ $FLOWS_WORK_POOL }}'}}]",
            "{{ $FLOWS_WORK_POOL }} is nothing that is filled in here; {{ FLOWS_IMAGE }} is",
        ),
        (
            "a: [",
            (
                "while parsing a flow node expected the node content, but found '<stream end>' "
                'in "<unicode string>", line 1, column 5: a: [ ^'
            ),
        ),
    ],
)
def test_a_file_that_is_not_what_it_should_be_is_refused_in_one_line(text: str, reason: str, tmp_path: Path) -> None:
    """The message says which entry and key."""
    file = write(tmp_path, text)
    with pytest.raises(ConfigurationError) as caught:
        read(file)
    assert str(caught.value) == (
        f"The deployments cannot be read: {reason}. Where: {file}. "
        "Next: correct the file, or set FLOWS_DEPLOYMENTS to another."
    )


@pytest.mark.parametrize(
    ("entrypoint", "reason"),
    [
        ("flows.nothing.load", "No module named 'flows.nothing'"),
        (
            "flows.pipelines.staging.nothing",
            "Flow function with name 'nothing' not found in 'flows.pipelines.staging'.",
        ),
        (
            "flows.pipelines.staging.pipeline",
            "Function with name 'pipeline' is not a flow. Make sure that it is decorated with '@flow'.",
        ),
        ("misspelt_module.load", "invalid syntax (misspelt_module.py, line 1)"),
    ],
)
def test_a_deployment_that_does_not_load_says_why(
    entrypoint: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also for a missing extra, which looks like a missing module."""
    (tmp_path / "misspelt_module.py").write_text("def (:\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigurationError) as caught:
        Deployment(name="load", entrypoint=entrypoint).flow()
    assert str(caught.value) == (
        f"Deployment load does not load: {reason.rstrip('.')}. Where: prefect.yaml, entrypoint {entrypoint}. "
        "Next: correct the entrypoint, or install the extra it needs."
    )
