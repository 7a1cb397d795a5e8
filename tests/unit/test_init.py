"""What `flows init` writes: the files of each kind of project, names, requirements and sources."""

from __future__ import annotations

import re
import subprocess
import tomllib
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml

from flow_of_flows.errors import ConfigurationError
from flow_of_flows.scaffold import rendering
from flow_of_flows.scaffold.names import ProjectName, project_name
from flow_of_flows.scaffold.rendering import Layout, render, stand_in_profile
from flow_of_flows.scaffold.requirement import requirement, source
from tests.commands import FLOWS, REPOSITORY
from tests.fixtures.new_projects import ACME, LAYOUTS, PLATFORM

WHEEL = "flow_of_flows-0.1.0-py3-none-any.whl"


def rendered(layout: Layout) -> dict[str, str]:
    """The text of each file, by its path."""
    return {str(path): text for path, text in render(layout).items()}


@pytest.mark.parametrize("kind", LAYOUTS)
def test_a_project_has_these_files_and_each_explains_itself(kind: str) -> None:
    """No file more or less; every one begins with a sentence, but for data."""
    layout, expected = LAYOUTS[kind]
    files = rendered(layout)
    assert set(files) == expected
    silent = [path for path, text in files.items() if not re.match(r'#|-- [A-Z]|"""[A-Z]', text)]
    assert silent == [path for path in files if path.endswith(".csv")]
    assert [path for path, text in files.items() if re.search(r"<[%{#] |[%}#]>", text)] == []
    assert [path for path, text in files.items() if not text.endswith("\n") or text.endswith("\n\n")] == []


@pytest.mark.parametrize("kind", LAYOUTS)
def test_everything_that_is_written_is_valid_and_passes_the_default_rules_of_ruff(kind: str, tmp_path: Path) -> None:
    """TOML and YAML that parse, Python that the linter and the formatter leave as it is."""
    for path, text in rendered(LAYOUTS[kind][0]).items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
        if path.endswith((".yml", ".yaml")):
            yaml.safe_load(text)
    tomllib.loads((tmp_path / "pyproject.toml").read_text())
    for words in (("check",), ("format", "--check")):
        ruff = [FLOWS.with_name("ruff"), *words, "--isolated", "--no-cache", "."]
        done = subprocess.run(ruff, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), done.stdout


def test_what_prefect_yaml_declares() -> None:
    """The pipeline, its children, and what chart, sweeper and `helm test` start."""
    content = yaml.safe_load(rendered(ACME)["prefect.yaml"])
    assert {entry["name"]: entry["entrypoint"] for entry in content["deployments"]} == {
        "main": "acme_data_flows.main.main",
        "temperatures": "acme_data_flows.temperatures.temperatures",
        "dbt-build": "flow_of_flows.dbt.children.dbt_build",
        "dbt-command": "flow_of_flows.dbt.children.dbt_command",
        "sweep": "flow_of_flows.sweeper.flow.sweep",
        "smoke": "flow_of_flows.smoke.smoke",
    }
    assert content["pull"] == [{"prefect.deployments.steps.set_working_directory": {"directory": "/project"}}]
    assert (content["name"], content["deployments"][0]["work_pool"]["name"]) == ("acme-data", "acme-data")


@pytest.mark.parametrize(
    ("kind", "dependencies"),
    [
        ("duckdb", ["flow-of-flows[duckdb,ingest]>=0.1,<0.2"]),
        ("postgres", ["flow-of-flows[duckdb,postgres,ingest]>=0.1,<0.2"]),
        ("snowflake", ["flow-of-flows[duckdb,snowflake,ingest]>=0.1,<0.2"]),
        ("another adapter", ["flow-of-flows[duckdb]>=0.1,<0.2", "dbt-bigquery"]),
        ("a dbt project with a profile", ["flow-of-flows[duckdb]>=0.1,<0.2"]),
        ("a dbt project with a profile of another adapter", ["flow-of-flows[dbt]>=0.1,<0.2", "dbt-bigquery"]),
    ],
)
def test_a_project_depends_on_the_platform_and_on_its_adapters(kind: str, dependencies: list[str]) -> None:
    """An adapter that the platform has no extra for is a package of its own."""
    content = tomllib.loads(rendered(LAYOUTS[kind][0])["pyproject.toml"])
    assert content["project"]["dependencies"] == dependencies
    assert content["project"]["requires-python"] == ">=3.11,<3.14"
    assert content["tool"]["flow-of-flows"] == {"dbt-project": "dbt"}
    assert "sources" not in content["tool"]["uv"]


@pytest.mark.parametrize(
    ("kind", "warehouse", "env"),
    [
        ("duckdb", {"target": "duckdb", "duckdb": {"persistence": {"enabled": True, "size": "5Gi"}}}, None),
        (
            "postgres",
            {
                "target": "postgres",
                "postgres": {
                    "host": "db.example.com",
                    "user": "loader",
                    "database": "acme_data",
                    "existingSecret": "warehouse",
                },
            },
            None,
        ),
        ("snowflake", {"target": "snowflake"}, None),
        ("another adapter", {"target": ""}, [{"name": "DBT_TARGET", "value": "bigquery"}]),
        (
            "a dbt project with a profile",
            {"target": "duckdb", "duckdb": {"persistence": {"enabled": True, "size": "5Gi"}}},
            [{"name": "DBT_PROFILES_DIR", "value": "/project/profiles"}],
        ),
        (
            "a dbt project with a profile of another adapter",
            {"target": ""},
            [{"name": "DBT_TARGET", "value": "dev"}],
        ),
    ],
)
def test_the_values_of_the_chart(kind: str, warehouse: dict[str, Any], env: list[dict[str, str]] | None) -> None:
    """The image, the work pool, the warehouse, and what pods need of the profile."""
    values = yaml.safe_load(rendered(LAYOUTS[kind][0])["values.yaml"])
    assert values == {
        "image": {"repository": "acme-data", "tag": "0.1.0"},
        "mainPipeline": "main",
        "workPool": {"name": "acme-data"},
        "warehouse": warehouse,
        **({"jobs": {"env": env}} if env else {}),
        "settings": {},
    }


def test_a_profile_has_an_output_for_this_machine_and_one_for_the_warehouse() -> None:
    """The first needs nothing, so that the pipeline runs at once."""
    outputs = {
        kind: yaml.safe_load(rendered(replace(ACME, warehouse=kind))["dbt/profiles.yml"])["acme_data"]["outputs"]
        for kind in ("duckdb", "postgres", "snowflake", "bigquery")
    }
    assert {kind: {name: output["type"] for name, output in found.items()} for kind, found in outputs.items()} == {
        "duckdb": {"duckdb": "duckdb"},
        "postgres": {"duckdb": "duckdb", "postgres": "postgres"},
        "snowflake": {"duckdb": "duckdb", "snowflake": "snowflake"},
        "bigquery": {"duckdb": "duckdb", "bigquery": "bigquery"},
    }


def test_the_profiles_of_postgres_and_snowflake_are_those_of_this_repository() -> None:
    """One profile is tested against the real adapters, and holds for every project."""
    own = yaml.safe_load((REPOSITORY / "docker" / "dbt" / "profiles.yml").read_text())["flow_of_flows"]["outputs"]
    for kind in ("postgres", "snowflake"):
        profile = yaml.safe_load(rendered(replace(ACME, warehouse=kind))["dbt/profiles.yml"])["acme_data"]
        assert profile["outputs"][kind] == own[kind]


def test_the_actions_of_the_workflow_are_those_of_this_repository() -> None:
    """An update of their pins changes both."""
    own = set(re.findall(r"uses: (\S+@.+)", (REPOSITORY / ".github" / "workflows" / "checks.yml").read_text()))
    written = set(re.findall(r"uses: (\S+@.+)", rendered(ACME)[".github/workflows/flows.yml"]))
    assert len(written) == 2
    assert written < own


def test_the_stand_in_for_a_missing_profile_needs_only_its_name() -> None:
    """DuckDB, whatever the project's warehouse is."""
    profile = yaml.safe_load(stand_in_profile().replace("PROFILE", "shop"))
    assert {name: output["type"] for name, output in profile["shop"]["outputs"].items()} == {"duckdb": "duckdb"}


def test_every_template_is_used() -> None:
    """None is left over from a file that is no longer written."""
    folder = REPOSITORY / "flow_of_flows" / "templates"
    there = {PurePosixPath(path.relative_to(folder)).as_posix() for path in folder.rglob("*") if path.is_file()}
    used = {f"{name}.j2" for layout, _ in LAYOUTS.values() for name in rendering.templates(layout).values()}
    assert there == used


@pytest.mark.parametrize(
    ("folder", "name", "package"),
    [
        ("acme", "acme", "acme_flows"),
        ("Acme Data", "acme-data", "acme_data_flows"),
        ("acme_data.v2", "acme-data-v2", "acme_data_v2_flows"),
        ("class", "class", "class_flows"),
    ],
)
def test_a_folder_names_its_project(folder: str, name: str, package: str) -> None:
    """Case and separators are the only things that change."""
    found = project_name(None, Path("/work") / folder)
    assert (found.text, found.package) == (name, package)
    assert found.package.isidentifier()


@pytest.mark.parametrize("folder", ["2024", "2024-data", "größe", "a+b", "---", "a" * 41])
def test_a_folder_that_names_no_project_needs_a_name(folder: str) -> None:
    """Nothing is guessed: which letters to drop or to add is not obvious."""
    with pytest.raises(ConfigurationError) as caught:
        project_name(None, Path("/work") / folder)
    assert str(caught.value) == (
        f"{folder!r} is not a name for Kubernetes, Python and dbt. Where: folder /work/{folder}. "
        "Next: choose a name with --name: lower-case letters, digits and dashes, beginning with a letter, "
        "at most 40 characters."
    )
    assert project_name("acme", Path("/work") / folder) == ProjectName("acme")


@pytest.mark.parametrize("name", ["2024", "", "a/b", "müller"])
def test_a_chosen_name_has_the_same_rules(name: str) -> None:
    """The message names the option."""
    with pytest.raises(ConfigurationError, match=r"Where: --name\. Next: choose another: lower-case letters"):
        project_name(name, Path("/work/acme"))


@pytest.mark.parametrize("name", ["prefect", "Flow_of_Flows"])
def test_the_name_of_an_installed_package_is_refused(name: str) -> None:
    """A project that depends on itself cannot be installed."""
    with pytest.raises(ConfigurationError, match="A project cannot have the name of the installed package"):
        project_name(name, Path("/work/acme"))


@pytest.mark.parametrize(
    ("installed", "expected"),
    [
        ("0.1.0", "flow-of-flows[duckdb]>=0.1,<0.2"),
        ("0.1.3", "flow-of-flows[duckdb]>=0.1.3,<0.2"),
        ("1.4.2", "flow-of-flows[duckdb]>=1.4.2,<2"),
        ("0.2.0rc1", "flow-of-flows[duckdb]>=0.2.0rc1,<0.3"),
    ],
)
def test_a_project_takes_later_versions_that_keep_what_this_one_promises(installed: str, expected: str) -> None:
    """Before 1.0 a minor version may change the API."""
    assert requirement(["duckdb"], installed) == expected


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        (None, None),
        (
            {"url": "file:///src/flow%20of%20flows", "dir_info": {"editable": True}},
            {"path": "/src/flow of flows", "editable": True},
        ),
        ({"url": "file:///src/platform", "dir_info": {}}, {"path": "/src/platform"}),
        (
            {"url": "file:///dist/flow_of_flows-0.1.0-py3-none-any.whl", "archive_info": {}},
            {"path": "/dist/flow_of_flows-0.1.0-py3-none-any.whl"},
        ),
        (
            {"url": f"https://files.example.com/{WHEEL}", "archive_info": {}},
            {"url": f"https://files.example.com/{WHEEL}"},
        ),
        (
            {"url": "https://me:token@git.example.com/p.git", "vcs_info": {"vcs": "git", "commit_id": "ab12"}},
            {"git": "https://git.example.com/p.git", "rev": "ab12"},
        ),
        (
            {
                "url": "ssh://git@git.example.com/p.git",
                "vcs_info": {"vcs": "git", "commit_id": "ab12"},
                "subdirectory": "python",
            },
            {"git": "ssh://git@git.example.com/p.git", "rev": "ab12", "subdirectory": "python"},
        ),
    ],
)
def test_the_platform_comes_from_where_it_was_installed(
    origin: dict[str, Any] | None, expected: dict[str, Any] | None
) -> None:
    """From an index, a folder, a file, an address or a commit; credentials stay out of the file."""
    text = source(origin)
    assert (text and tomllib.loads(f"source = {text}")["source"]) == expected
    pyproject = rendered(replace(ACME, platform=replace(PLATFORM, source=text)))["pyproject.toml"]
    sources = tomllib.loads(pyproject)["tool"]["uv"].get("sources")
    assert sources == (expected and {"flow-of-flows": expected})


def test_the_extras_that_projects_ask_for_exist() -> None:
    """A misspelt one would only be a warning of the installer."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = set(project["optional-dependencies"])
    text = "".join(rendered(layout)["pyproject.toml"] for layout, _ in LAYOUTS.values())
    asked_for = {extra for found in re.findall(r"flow-of-flows\[([^]]+)\]", text) for extra in found.split(",")}
    assert asked_for - extras == set()
