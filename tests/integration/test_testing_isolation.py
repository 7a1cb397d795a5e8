"""What a test of a project sees of the developer's machine, and what it leaves there: nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.fixtures.http_server import Request, Response, responding
from tests.fixtures.pytest_sessions import session, write_project

HIDDEN = """
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import team_flows

from flow_of_flows import ConfigurationError
from flow_of_flows.secrets import SnowflakeCredentials, read
from flow_of_flows.settings import Settings

# As a conftest or a plugin that reads a file may do.
os.environ["FLOWS_THREADS"] = "3"


@pytest.fixture(autouse=True)
def own(monkeypatch):
    monkeypatch.setenv("FLOWS_TARGET_SCHEMA", "mine")


def test_settings(flows_environment, tmp_path_factory):
    settings = Settings.load()
    assert settings.home.parent == tmp_path_factory.getbasetemp()
    assert settings.warehouse_folder == settings.home / "warehouse"
    assert (settings.threads, settings.target_schema, settings.deployments_suffix) == (3, "mine", "")
    assert settings.retry.pause_factor == 0
    assert os.environ["PGHOST"] == "passed"
    assert not {"PREFECT_API_URL", "PGPORT", "SLACK_WEBHOOK"} & set(os.environ)


def test_each_test_has_its_own_folder(flows_environment, run_pipeline):
    home = Settings.load().home
    assert [entry for entry in home.iterdir() if entry.name != "profiles"] == []
    assert run_pipeline("holding", parameters={"hold": {"seconds": 0}}).verdict == "completed"
    assert (home / "held").exists()


def test_nothing_is_left_of_the_one_before(flows_environment):
    assert not (Settings.load().home / "held").exists()


def test_children_have_the_environment_of_the_test(run_pipeline, monkeypatch):
    monkeypatch.delenv("SHELL_VARIABLE")
    monkeypatch.setenv("SEEN", "by the test")
    result = run_pipeline("inner", only=["load"])
    assert result.outcomes["load"].report.facts["seen"] == "by the test"


def test_no_secret_is_read_from_aws(flows_environment):
    with pytest.raises(ConfigurationError, match="this process has no AWS identity"):
        read("dbt/snowflake-credentials", SnowflakeCredentials, Settings.load().secrets)


def test_the_api_and_profile_of_prefect(run_child, monkeypatch):
    def seen(name, default):
        from prefect.settings import get_current_settings

        settings = get_current_settings()
        return f"{settings.api.url} {settings.api.key} {settings.home == Path(os.environ['PREFECT_HOME'])}"

    monkeypatch.setattr(team_flows, "os", SimpleNamespace(environ=SimpleNamespace(get=seen)))
    assert run_child("load", city="Rome").facts["seen"] == "None None True"


def test_dbt_builds_in_the_folder_of_the_test(run_child, duckdb_target):
    assert run_child("dbt-build").state == "completed"
    assert duckdb_target.rows("select id from things") == duckdb_target.rows("select id from made.things") == [(7,)]
    assert duckdb_target.file.parent == Settings.load().home / "warehouse"
"""
PROFILES = """
team:
  target: prod
  outputs:
    prod: {type: snowflake, account: acme, user: loader, password: secret, schema: made}
    dev: {type: duckdb, path: dev.duckdb, schema: made, threads: 1}
"""


@dataclass
class Machine:
    """A developer's machine.

    Attributes:
        variables: of the shell.
        requests: what its Prefect API and AWS were asked.
    """

    home: Path
    variables: dict[str, str]
    requests: list[str] = field(default_factory=list)

    def files(self) -> dict[str, bytes]:
        """The files of the home folder, without caches of libraries."""
        files = (file for file in sorted(self.home.rglob("*")) if file.is_file())
        return {str(file): file.read_bytes() for file in files if ".cache" not in file.parts}


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A shell with a configured Prefect API, AWS, a warehouse and settings, and profiles in the home folder."""
    home = tmp_path / "home"
    requests: list[str] = []

    def respond(request: Request) -> Response:
        requests.append(f"{request.method} {request.path}")
        return Response(500)

    with responding(respond) as address:
        for name, text in {
            ".prefect/profiles.toml": f'active = "team"\n[profiles.team]\nPREFECT_API_URL = "{address}/profile"\n'
            'PREFECT_API_KEY = "canary-key"\n',
            ".aws/credentials": "[default]\naws_access_key_id = canary\naws_secret_access_key = canary-secret\n",
            ".aws/config": f"[default]\nregion = eu-west-1\nendpoint_url = {address}\n",
            ".dbt/profiles.yml": "team: {target: nowhere}\n",
        }.items():
            (home / name).parent.mkdir(parents=True, exist_ok=True)
            (home / name).write_text(text)
        yield Machine(
            home,
            {
                "HOME": str(home),
                "PREFECT_PROFILES_PATH": str(home / ".prefect" / "profiles.toml"),
                "PREFECT_API_URL": f"{address}/api",
                "FLOWS_HOME": str(home / ".flows"),
                "FLOWS_THREADS": "8",
                "FLOWS_DEPLOYMENTS_SUFFIX": "-dev",
                "FLOWS_ALERTS_PAGERDUTY": "true",
                "DBT_TARGET": "prod",
                "PGHOST": "passed",
                "PGPORT": "1",
                "SLACK_WEBHOOK": '{"url": "https://hooks.slack.com/services/canary"}',
                "AWS_PROFILE": "default",
                "AWS_ENDPOINT_URL": address,
                "SHELL_VARIABLE": "here",
            },
            requests,
        )


def test_a_session_neither_sees_nor_touches_what_is_the_developers(machine: Machine, tmp_path: Path) -> None:
    """No setting, no API, no credentials, no warehouse, no folder; what tests set and what is passed on counts."""
    folder = write_project(tmp_path / "project", test_hidden=HIDDEN)
    (folder / "pytest.ini").write_text("[pytest]\nflows_pass_env = PGHOST PG_*\n")
    with (folder / "prefect.yaml").open("a") as file:
        file.write("  - {name: dbt-build, entrypoint: flow_of_flows.dbt.children.dbt_build}\n")
    (folder / "dbt" / "models").mkdir(parents=True)
    (folder / "dbt" / "dbt_project.yml").write_text('name: team\nversion: "1.0"\nprofile: team\n')
    (folder / "dbt" / "profiles.yml").write_text(PROFILES)
    (folder / "dbt" / "models" / "things.sql").write_text("select 7 as id")
    before = machine.files()
    ended = session(folder, **machine.variables)
    assert ended.ends == dict.fromkeys(re.findall(r"def (test_\w+)", HIDDEN), ""), ended.out
    assert machine.requests == []
    assert machine.files() == before
    assert sorted(path.name for path in folder.iterdir() if path.name != "__pycache__") == [
        "dbt", "ends.xml", "prefect.yaml", "pytest.ini", "team_flows.py",
        "test_hidden.py", "tmp",
    ]  # fmt: skip
    assert sorted(str(path.relative_to(folder / "dbt")) for path in (folder / "dbt").rglob("*")) == [
        "dbt_project.yml", "models", "models/things.sql", "profiles.yml",
    ]  # fmt: skip


UNUSED = """
import sys


def test_nothing_is_imported():
    heavy = {"prefect", "dbt", "dlt", "duckdb", "pydantic", "httpx", "flow_of_flows.settings"}
    assert sorted(heavy & set(sys.modules)) == []


def test_the_project_can_be_imported():
    import somewhere.else_where
"""


def test_a_session_that_does_not_use_the_kit_pays_nothing_for_it(tmp_path: Path) -> None:
    """No heavy import; all that there is is the import path of the project, for a session below its folder, too."""
    folder = write_project(tmp_path)
    (folder / "somewhere").mkdir()
    (folder / "somewhere" / "else_where.py").touch()
    (folder / "tests").mkdir()
    (folder / "tests" / "test_unused.py").write_text(UNUSED)
    assert session(folder / "tests").ends == {"test_nothing_is_imported": "", "test_the_project_can_be_imported": ""}


def test_the_plugin_can_be_left_out_and_lists_its_fixtures(tmp_path: Path) -> None:
    """As every plugin of pytest."""
    folder = write_project(tmp_path, test_it="def test_it(run_child):\n    pass\n")
    left_out = session(folder, "-p", "no:flow-of-flows")
    assert "fixture 'run_child' not found" in left_out.out
    assert left_out.code == 1
    listed = session(folder, "--fixtures").out
    for name, sentence in {
        "run_child": "Run one child with parameters, and return its result",
        "run_pipeline": "Run a pipeline of prefect.yaml to its end on an embedded server, and return its result.",
        "duckdb_target": "Return the DuckDB warehouse of this test: an empty folder that children load into and dbt",
        "fail_step": "Make a step of the pipelines that this test runs fail, without a change of the project.",
        "kill_step": "Kill the process of a step of the pipelines that this test runs, as the kernel would",
        "flows_environment": "Hide the developer's settings, API and credentials from a test",
    }.items():
        assert re.search(rf"^{name} -- .*plugin.py:\d+\n +{re.escape(sentence)}", listed, re.MULTILINE), listed


def test_a_folder_without_a_project_is_one_sentence(tmp_path: Path) -> None:
    """Also where FLOWS_PROJECT names it."""
    (tmp_path / "test_it.py").write_text('def test_it(run_pipeline):\n    run_pipeline("main")\n')
    said = session(tmp_path, FLOWS_PROJECT=str(tmp_path)).ends["test_it"]
    assert said == (
        f"Failed: There is no project to test: no prefect.yaml. Where: {tmp_path}/prefect.yaml. "
        "Next: run pytest in the folder of a project, or set FLOWS_PROJECT to it."
    )
