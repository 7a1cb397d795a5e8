"""`flows bake` on folders of teams, in Python environments of their own; images are in tests/image."""

from __future__ import annotations

import importlib.metadata
import json
import re
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tests.commands import refused
from tests.fixtures.baked import DBT, DEPLOYMENTS, NO_INDEX, TeamProject, has_byte_code, wheel
from tests.fixtures.http_server import Response, responding

PYDANTIC = importlib.metadata.version("pydantic")
VERSION = importlib.metadata.version("flow-of-flows")
FITS = "change the requirement, or build the image FROM a base image whose versions fit."


def test_a_project_is_installed_checked_and_left_ready_for_pods(tmp_path: Path) -> None:
    """Its requirement, dbt's parse, byte code and the bill of materials; and a second time, with nothing to install."""
    project = TeamProject.written(tmp_path / "project").with_environment(tmp_path / "venv")
    bill = tmp_path / "venv" / "sbom.cdx.json"
    bill.write_text("")
    ended = project.bake()
    said = "2 entrypoints of prefect.yaml import\nthe dbt project weather parses\n"
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == f"1 packages installed for requirements.txt weatherlib==1.0\n{said}"
    assert (project.folder / "dbt/target/partial_parse.msgpack").is_file()
    assert sorted(path.name for path in (project.folder / "dbt").iterdir()) == [
        "dbt_project.yml",
        "models",
        "profiles.yml",
        "target",
    ]
    assert has_byte_code(project.packages / "weatherlib.py")
    assert has_byte_code(project.folder / "team_flows.py")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(bill.read_text()) is None
    assert ("weatherlib", "1.0") in {
        (each["name"], each["version"]) for each in json.loads(bill.read_text())["components"]
    }
    before = bill.read_bytes()
    assert project.bake().out == f"0 packages installed for requirements.txt\n{said}"
    assert bill.read_bytes() == before


def test_a_check_changes_nothing(tmp_path: Path) -> None:
    """It says what would be installed; the environment and the project stay as they are."""
    project = TeamProject.written(tmp_path / "project").with_environment(tmp_path / "venv")
    before = sorted(tmp_path.rglob("*"))
    ended = project.bake("--check", PYTHONDONTWRITEBYTECODE="1")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines()[0] == "1 packages would be installed for requirements.txt weatherlib==1.0"
    # uv locks an environment that it looks into.
    assert sorted(set(tmp_path.rglob("*")) - {tmp_path / "venv" / ".lock"}) == before


def test_dependencies_of_pyproject_are_installed_where_there_is_no_requirements_txt(tmp_path: Path) -> None:
    """Without the platform itself, which is here and on no index."""
    pyproject = (
        f'[project]\nname = "team"\nversion = "1"\ndependencies = ["weatherlib", "flow-of-flows[duckdb]>={VERSION}"]\n'
    )
    files = {"requirements.txt": "", "pyproject.toml": pyproject}
    project = TeamProject.written(tmp_path / "project", files).with_environment(tmp_path / "venv")
    ended = project.bake(UV_FIND_LINKS=str(project.folder / "wheels"), UV_OFFLINE="1")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines()[0] == "1 packages installed for pyproject.toml weatherlib==1.0"


def test_a_project_without_requirements_and_dbt_is_baked(tmp_path: Path) -> None:
    """Both are optional."""
    files = {"requirements.txt": "", "dbt/dbt_project.yml": "", "dbt/profiles.yml": "", "dbt/models/days.sql": ""}
    project = TeamProject.written(tmp_path / "project", files).with_environment(tmp_path / "venv")
    assert project.bake().out == "2 entrypoints of prefect.yaml import\nno dbt project\n"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"requirements.txt": f"{NO_INDEX}pydantic<2\n"},
            (
                f"The project's requirements conflict with the platform: they ask for pydantic<2, and it has "
                f"pydantic {PYDANTIC}. "
                f"Where: {{folder}}/requirements.txt. Next: {FITS}"
            ),
        ),
        (
            {"requirements.txt": f"{NO_INDEX}oldlib\n"},
            (
                f"The project's requirements conflict with the platform, which has pydantic {PYDANTIC}: Because all "
                f"versions of oldlib depend on pydantic<2 and pydantic=={PYDANTIC}, we can conclude that "
                "all versions of oldlib "
                "cannot be used. And because you require oldlib, we can conclude that your requirements "
                "are unsatisfiable. "
                f"Where: {{folder}}/requirements.txt. Next: {FITS}"
            ),
        ),
        (
            {"requirements.txt": f"{NO_INDEX}nolib\n"},
            (
                "The project's requirements cannot be resolved: Because nolib was not found in the "
                "provided package locations "
                "and you require nolib, we can conclude that your requirements are unsatisfiable. "
                "Where: {folder}/requirements.txt. Next: correct the requirements."
            ),
        ),
        (
            {"requirements.txt": f"{NO_INDEX}flow-of-flows[duckdb]>=99  # the next\n"},
            (
                f"The platform is older than the project requires: flow-of-flows {VERSION} is installed, "
                "and the project "
                "requires flow-of-flows[duckdb]>=99. Where: {folder}/requirements.txt. "
                "Next: build the image FROM a newer base image, or change the requirement."
            ),
        ),
        (
            {"pyproject.toml": '[project]\nname = "team"\ndependencies = ["flow_of_flows<0.1"]\n'},
            (
                f"The platform does not fit the project: flow-of-flows {VERSION} is installed, and the "
                "project requires "
                "flow_of_flows<0.1. Where: {folder}/pyproject.toml. "
                "Next: build the image FROM a base image that fits, or change the requirement."
            ),
        ),
        (
            {"prefect.yaml": "deployments:\n  - {name: score, entrypoint: team_flows.scores}\n"},
            (
                "Deployment score does not load: Flow function with name 'scores' not found in 'team_flows'. "
                "Where: prefect.yaml, entrypoint team_flows.scores. "
                "Next: correct the entrypoint, or install the extra it needs."
            ),
        ),
        (
            {"team_flows.py": "import nolib\n"},
            (
                "Deployment forecast does not load: No module named 'nolib'. "
                "Where: prefect.yaml, entrypoint team_flows.forecast. "
                "Next: correct the entrypoint, or install the extra it needs."
            ),
        ),
        (
            {"prefect.yaml": "deployments: []\n"},
            (
                "The deployments cannot be read: the file declares none. Where: {folder}/prefect.yaml. "
                "Next: correct the file, or set FLOWS_DEPLOYMENTS to another."
            ),
        ),
        (
            {"prefect.yaml": ""},
            (
                "The project has no prefect.yaml. Where: {folder}. "
                "Next: run this in the folder of prefect.yaml, or copy it into the image."
            ),
        ),
        (
            {"dbt/models/days.sql": "select * from {{ ref('nobody') }}"},
            (
                "dbt refused the project: Compilation Error Model 'model.weather.days' (models/days.sql) "
                "depends on a node "
                "named 'nobody' which was not found. Where: {folder}/dbt. "
                "Next: correct the project or the parameters; `dbt parse` in the project's folder shows the same."
            ),
        ),
        (
            {"dbt/dbt_project.yml": ""},
            (
                "The dbt project has no dbt_project.yml. Where: {folder}/dbt. Next: set FLOWS_DBT_PROJECT "
                "to a dbt project."
            ),
        ),
    ],
)
def test_what_is_wrong_is_one_sentence_with_exit_code_2(files: dict[str, str], message: str, tmp_path: Path) -> None:
    """Conflicts with the platform, an older platform, entrypoints, prefect.yaml and the dbt project."""
    folder = tmp_path / "project"
    wheel(folder / "wheels", "oldlib", "1.0", requires="pydantic<2")
    ended = TeamProject.written(folder, files).bake("--check")
    assert (ended.code, ended.err) == (2, f"error: {message.format(folder=folder)}\n")


def test_an_index_that_cannot_be_reached_is_a_problem_of_the_platform(tmp_path: Path) -> None:
    """Exit code 3, with the address and without its credentials."""
    files = {"requirements.txt": "--index-url http://reader:sesame-3141@127.0.0.1:9/simple\nweatherlib\n"}
    project = TeamProject.written(tmp_path, files)
    ended = project.bake("--check", UV_NO_CACHE="1")
    assert ended == refused(
        3,
        "A package index or another source of a requirement cannot be reached: Failed to fetch: "
        "http://127.0.0.1:9/simple/weatherlib/ cause: error sending request for url "
        "(http://127.0.0.1:9/simple/weatherlib/) cause: client error (Connect) cause: tcp connect error cause: "
        f"Connection refused (os error 111). Where: {tmp_path}/requirements.txt. Next: check the network of the build "
        "and the address of the index (UV_DEFAULT_INDEX), then build again.",
    )


def test_an_index_that_refuses_access_names_the_page_about_credentials(tmp_path: Path) -> None:
    """Who builds the image must act."""
    with responding(lambda _: Response(401)) as index:
        files = {"requirements.txt": f"--index-url {index}/simple\nweatherlib\n"}
        ended = TeamProject.written(tmp_path, files).bake("--check", UV_NO_CACHE="1")
    assert ended.code == 2
    assert re.match(r"error: A package index refuses access: .*401", ended.err)
    assert ended.err.endswith("Next: give the build the credentials of the index as a secret (docs/image.md).\n")


@pytest.mark.parametrize(
    ("variable", "kept"), [("DBT_ENV_SECRET_TOKEN", True), ("WEATHER_SCHEMA", False)], ids=["secret", "other"]
)
def test_a_variable_that_the_build_lacks_gets_a_placeholder(variable: str, *, kept: bool, tmp_path: Path) -> None:
    """The project is still checked; its parse is kept if job pods can use it, that is, if only secrets were missing."""
    output = f"{{type: duckdb, path: w.duckdb, schema: \"{{{{ env_var('{variable}') }}}}\"}}"
    if kept:
        output = f"{{type: duckdb, path: w.duckdb, settings: {{s3_region: \"{{{{ env_var('{variable}') }}}}\"}}}}"
    files = {"dbt/profiles.yml": f"weather: {{target: dev, outputs: {{dev: {output}}}}}\n", "requirements.txt": ""}
    project = TeamProject.written(tmp_path / "project", files).with_environment(tmp_path / "venv")
    ended = project.bake()
    assert (ended.code, ended.err) == (0, "")
    assert (project.folder / "dbt/target/partial_parse.msgpack").is_file() == kept
    assert (f"its parse is not kept, and job pods parse again: {variable} not set. " in ended.out) != kept


def test_a_working_directory_that_pods_would_not_find_is_refused(tmp_path: Path) -> None:
    """Each run would crash at its start; a check on another machine cannot know."""
    pull = "pull:\n  - prefect.deployments.steps.set_working_directory: {directory: /srv/team}\n"
    files = {
        "prefect.yaml": f"{pull}deployments:\n  - {{name: score, entrypoint: team_flows.score}}\n",
        "requirements.txt": "",
    }
    project = TeamProject.written(tmp_path / "project", files).with_environment(tmp_path / "venv")
    assert project.bake() == refused(
        2,
        f"The working directory /srv/team does not exist in the image: the project is in {project.folder}. "
        f"Where: {project.folder}/prefect.yaml, pull. Next: write `directory: {project.folder}`.",
    )
    assert project.bake("--check").code == 0


def test_every_dbt_project_that_prefect_yaml_names_is_parsed(tmp_path: Path) -> None:
    """Each leaves its parse; one that does not parse fails the bake; no own project is needed."""
    own = {f"finance/{name.removeprefix('dbt/')}": text.replace("weather", "finance") for name, text in DBT.items()}
    child = "{name: dbt-finance, entrypoint: flow_of_flows.dbt.children.dbt_build, parameters: {project: finance}}"
    file = f"{DEPLOYMENTS.format(folder=tmp_path / 'project')}  - {child}\n"
    project = TeamProject.written(
        tmp_path / "project", {**own, "prefect.yaml": file, "requirements.txt": "", **dict.fromkeys(DBT, "")}
    )
    ended = project.bake()
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == "3 entrypoints of prefect.yaml import\nthe dbt project finance parses\n"
    assert (project.folder / "finance/target/partial_parse.msgpack").is_file()
    (project.folder / "finance/models/days.sql").write_text("select * from {{ ref('nothing') }}")
    assert "which was not found" in project.bake("--check").err
