"""The pytest plugin: fixtures that run children and pipelines of a project, apart from the developer's own.

pytest imports this module in every session where the package is installed, so it imports nothing heavy; a fixture
imports what it needs when a test asks for it.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from flow_of_flows.testing.children import RunChild
    from flow_of_flows.testing.embedded import EmbeddedServer
    from flow_of_flows.testing.environment import Isolation
    from flow_of_flows.testing.faults import FailStep, KillStep, StepFault
    from flow_of_flows.testing.launcher import Launcher
    from flow_of_flows.testing.pipelines import RunPipeline
    from flow_of_flows.testing.warehouse import DuckDBWarehouse

# What the session was started with, before any conftest could change it.
INHERITED = dict(os.environ)
OPTION = "flows_pass_env"
PROJECT = pytest.StashKey[Path]()
# Title and text of what each run of a test left, for its report.
SECTIONS: pytest.StashKey[list[tuple[str, str]]] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the plugin's ini option."""
    parser.addini(
        OPTION,
        help=(
            "Variables of the shell that tests with the fixtures of flow-of-flows see, with wildcards, such as PG*; "
            "other settings and credentials are hidden from them."
        ),
        type="args",  # type: ignore[maybe-unrecognized-str-typeform]  # mypy takes it for a type
        default=[],
    )


def pytest_configure(config: pytest.Config) -> None:
    """Find the project of the folder that pytest runs in, and make its modules importable, as `flows run` does."""
    here = Path.cwd()
    if not os.environ.get("FLOWS_PROJECT") and not any((f / "prefect.yaml").is_file() for f in (here, *here.parents)):
        return
    from flow_of_flows.errors import FlowsError
    from flow_of_flows.project import current_project

    try:
        project = current_project()
    except FlowsError:
        return  # a fixture says what is wrong, if a test uses one
    project.make_importable()
    config.stash[PROJECT] = project.folder


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
    call: pytest.CallInfo[None],  # noqa: ARG001 - the hook's own parameters
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add what people on call would see of each run to the report of a test that failed."""
    report = yield
    sections = item.stash.get(SECTIONS, None)
    if report.failed and sections:
        report.sections += sections
    return report


@pytest.fixture
def flows_environment(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Isolation:
    """Hide the developer's settings, API and credentials from a test, and give it a FLOWS_HOME of its own.

    Every other fixture of flow-of-flows uses this one. What a test, its fixtures or a conftest set stays.
    """
    from flow_of_flows.testing.environment import isolate

    return isolate(
        monkeypatch,
        inherited=INHERITED,
        passed=request.config.getini(OPTION),
        project=request.config.stash.get(PROJECT, None),
        home=tmp_path_factory.mktemp("flows"),
    )


@pytest.fixture
def duckdb_target(flows_environment: Isolation) -> DuckDBWarehouse:
    """Return the DuckDB warehouse of this test: an empty folder that children load into and dbt builds in.

    `duckdb_target.rows("select …")` returns rows; `duckdb_target.execute("insert …")` prepares some. Runs of a test use
    this warehouse whether or not it asks for the fixture, unless it sets DBT_TARGET.
    """
    from flow_of_flows.testing.warehouse import DuckDBWarehouse

    return DuckDBWarehouse.of(flows_environment.settings())


@pytest.fixture
def run_child(_flows_launcher: Launcher) -> RunChild:
    """Run one child with parameters, and return its result: `run_child("weather", city="Rome").facts["rows"]`.

    Takes the name of a deployment in prefect.yaml, or the child itself. A child runs in the test's own process, without
    a server, so that monkeypatch, debuggers and coverage work; a plain Prefect flow, and
    `run_child.in_own_process("weather", city="Rome")`, run in a process of their own on the embedded server.

    The result has `state`, `message`, `report`, `summary`, `facts`, `warnings`, `cause` and `error`. A child that fails
    does not raise.
    """
    from flow_of_flows.testing.children import RunChild

    return RunChild(_flows_launcher)


@pytest.fixture
def run_pipeline(_flows_launcher: Launcher, _flows_faults: list[StepFault]) -> RunPipeline:
    """Run a pipeline of prefect.yaml to its end on an embedded server, and return its result.

    `run_pipeline("main", parameters={"load": {"city": "Rome"}}, only=["load"])` sets parameters of steps and selects
    steps. The result has `verdict`, `states` and `outcomes` by step, `run_id`, `page` (the text of the run's page), and
    `resume()`, which runs the rest of a run that failed.

    The server is started once for the session. Children run in processes of their own, with the test's environment.
    """
    from flow_of_flows.testing.pipelines import RunPipeline

    # It comes up while the test imports Prefect.
    _flows_launcher.server.start()
    return RunPipeline(_flows_launcher, _flows_faults)


@pytest.fixture
def fail_step(_flows_faults: list[StepFault]) -> FailStep:
    """Make a step of the pipelines that this test runs fail, without a change of the project.

    `fail_step("score", message="No model", cause="data")` fails every attempt, `attempts=1` only the first one of a
    run. Until the end of the test, of a `with` block, or until `remove()` of what it returns. A step within a step that
    is a pipeline itself is named `outer/inner`.
    """
    from flow_of_flows.testing.faults import FailStep

    return FailStep(_flows_faults)


@pytest.fixture
def kill_step(_flows_faults: list[StepFault]) -> KillStep:
    """Kill the process of a step of the pipelines that this test runs, as the kernel would: its run crashes.

    `kill_step("score")` kills every attempt, `kill_step("score", attempts=1)` only the first one of a run.
    """
    from flow_of_flows.testing.faults import KillStep

    return KillStep(_flows_faults)


@pytest.fixture
def _flows_faults() -> list[StepFault]:
    return []


@pytest.fixture(scope="session")
def _flows_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    from flow_of_flows.testing.embedded import EmbeddedServer

    # Of pytest's own plugin, which may be switched off.
    cache = getattr(request.config, "cache", None)
    server = EmbeddedServer(
        request.config.stash.get(PROJECT, None),
        tmp_path_factory.mktemp("flows-server"),
        INHERITED,
        cache=cache.mkdir("flow-of-flows") if cache else None,
    )
    yield server
    server.stop()


@pytest.fixture
def _flows_launcher(
    request: pytest.FixtureRequest, flows_environment: Isolation, _flows_server: EmbeddedServer
) -> Iterator[Launcher]:
    from flow_of_flows.testing.launcher import Launcher

    launcher = Launcher(_flows_server, flows_environment, request.node.stash.setdefault(SECTIONS, []))
    yield launcher
    launcher.close()
