"""What a project requires, what uv says about it, and the bill of materials: texts and values."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path

import msgpack
import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from flow_of_flows.bake.bill import bill, debian
from flow_of_flows.bake.checks import reproducible
from flow_of_flows.bake.distributions import constraints, platform_versions, refuse_other_platform
from flow_of_flows.bake.requirements import ProjectRequirements, refusal
from flow_of_flows.errors import ConfigurationError, FlowsError, PlatformError

VERSION = importlib.metadata.version("flow-of-flows")
FILE = Path("/project/requirements.txt")
STATUS = """\
Package: git
Status: install ok installed
Architecture: amd64
Version: 1:2.39.5-0+deb12u2

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1
"""


def project(folder: Path, requirements: str | None = None, pyproject: str | None = None) -> ProjectRequirements:
    """What a project with these files requires."""
    for name, text in (("requirements.txt", requirements), ("pyproject.toml", pyproject)):
        if text is not None:
            (folder / name).write_text(text)
    return ProjectRequirements.read(folder)


def platform(found: ProjectRequirements) -> list[tuple[str, str]]:
    """The entries that name the platform, and the names of their files."""
    return [(str(entry), file.name) for entry, file in found.platform]


@pytest.mark.parametrize(
    ("line", "entry"),
    [
        ("flow-of-flows", "flow-of-flows"),
        ("flow-of-flows==0.1.0", "flow-of-flows==0.1.0"),
        ("  Flow_Of.Flows[duckdb,http] >= 0.1, <1  # ours", "Flow_Of.Flows[duckdb,http]<1,>=0.1"),
        ("flow-of-flows==0.1.0 --hash=sha256:ab --hash=sha256:cd", "flow-of-flows==0.1.0"),
        ("flow-of-flows==0.1.0 \\\n    --hash=sha256:ab \\\n    --hash=sha256:cd", "flow-of-flows==0.1.0"),
        ("flow-of-flows ; python_version > '3'", 'flow-of-flows; python_version > "3"'),
    ],
)
def test_entries_of_requirements_txt_that_name_the_platform_are_found(line: str, entry: str, tmp_path: Path) -> None:
    """However the name is written, without hashes, comments and line ends."""
    found = project(tmp_path, f"# flow-of-flows>=9\nsix\n{line}\nflow-of-flows-tools==3\n")
    assert found.file == tmp_path / "requirements.txt"
    assert platform(found) == [(entry, "requirements.txt")]


def test_requirements_txt_is_installed_and_pyproject_still_says_which_platform(tmp_path: Path) -> None:
    """The first is the locked form of the second."""
    found = project(tmp_path, "six==1.17.0\n", '[project]\nname = "a"\ndependencies = ["flow-of-flows>=0.1", "six"]\n')
    assert found.file == tmp_path / "requirements.txt"
    assert platform(found) == [("flow-of-flows>=0.1", "pyproject.toml")]


@pytest.mark.parametrize(
    ("pyproject", "file"),
    [
        (None, None),
        ("[tool.flow-of-flows]\n", None),
        ('[project]\nname = "a"\ndependencies = ["flow-of-flows"]\n', None),
        ('[project]\nname = "a"\ndependencies = ["flow-of-flows", "six"]\n', "pyproject.toml"),
    ],
)
def test_pyproject_is_installed_if_it_names_more_than_the_platform(
    pyproject: str | None, file: str | None, tmp_path: Path
) -> None:
    """Otherwise uv is not needed, nor an index."""
    found = project(tmp_path, pyproject=pyproject).file
    assert (found and found.name) == file


@pytest.mark.parametrize(
    ("pyproject", "what"),
    [
        ("[project\n", "It cannot be read"),
        ("project = 1\n", "It cannot be read"),
        ('[project]\ndependencies = ["a b"]\n', "'a b' is not a requirement"),
    ],
)
def test_a_pyproject_that_cannot_be_read_is_refused(pyproject: str, what: str, tmp_path: Path) -> None:
    """With its path."""
    with pytest.raises(ConfigurationError) as caught:
        project(tmp_path, pyproject=pyproject)
    assert caught.value.message.startswith(what)
    assert caught.value.location == str(tmp_path / "pyproject.toml")


def test_the_platform_is_what_it_needs_with_all_its_extras() -> None:
    """Not what the project or a developer has installed."""
    versions = platform_versions()
    assert {"prefect", "dbt-core", "dbt-snowflake", "dlt", "boto3", "aiobotocore", "pydantic-core"} <= set(versions)
    assert {"flow-of-flows", "ruff", "moto", "pycountry", "currencyconverter"}.isdisjoint(versions)
    assert all(version == importlib.metadata.version(name) for name, version in versions.items())
    assert f"pydantic=={versions['pydantic']}\n" in constraints()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("flow-of-flows[nope]", "The platform has no extra nope"),
        (
            "flow-of-flows~=0.2.0",
            (
                f"The platform is older than the project requires: flow-of-flows {VERSION} is installed, "
                "and the project "
                "requires flow-of-flows~=0.2.0"
            ),
        ),
        (
            "flow-of-flows!=0.1.*",
            (
                f"The platform does not fit the project: flow-of-flows {VERSION} is installed, and the "
                "project requires "
                "flow-of-flows!=0.1.*"
            ),
        ),
    ],
)
def test_another_platform_than_the_project_asks_for_is_refused(text: str, message: str, tmp_path: Path) -> None:
    """Its version, or an extra."""
    found = project(tmp_path, f"flow-of-flows[duckdb]>={VERSION}\n{text}\n")
    entries = [entry for entry, _ in found.platform]
    refuse_other_platform(entries[:1], "here")
    with pytest.raises(ConfigurationError) as caught:
        refuse_other_platform(entries, "here")
    assert (caught.value.message, caught.value.location) == (message, "here")


@pytest.mark.parametrize(
    ("said", "kind", "message"),
    [
        (
            (
                "error: No solution found when resolving dependencies\n  cause: Because you require httpx==0.28.1 and "
                "httpx<0.28, we can conclude that your requirements are unsatisfiable.\n"
            ),
            ConfigurationError,
            "The project's requirements conflict with the platform: they ask for httpx<0.28, and it has httpx 0.28.1",
        ),
        (
            (
                "error: No solution found when resolving dependencies\n  cause: Because a was not found in the package "
                "registry and you require a, we can conclude that your requirements are "
                "unsatisfiable.\n\nhint: An index "
                "URL (https://i/simple) could not be queried due to a lack of valid authentication credentials (401)\n"
            ),
            ConfigurationError,
            "A package index refuses access: No solution found when resolving dependencies",
        ),
        (
            "Using Python 3.11\nerror: Failed to fetch: https://i/simple/a/\n  cause: dns error\n",
            PlatformError,
            (
                "A package index or another source of a requirement cannot be reached: "
                "Failed to fetch: https://i/simple/a/ cause: dns error"
            ),
        ),
        (
            (
                "error: Failed to fetch: https://i/a\n  cause: HTTP status server error (503 Service "
                "Unavailable) for url\n"
            ),
            PlatformError,
            "A package index or another source of a requirement cannot be reached: Failed to fetch: https://i/a",
        ),
        (
            (
                "error: Git operation failed\n  cause: fatal: unable to access 'https://g/': Failed to "
                "connect to g port 443\n"
            ),
            PlatformError,
            "A package index or another source of a requirement cannot be reached: Git operation failed",
        ),
        (
            "error: Failed to download `six==1.17.0`\n  cause: Hash mismatch for `six==1.17.0`\n",
            ConfigurationError,
            "The project's requirements cannot be installed: Failed to download `six==1.17.0` cause: Hash mismatch",
        ),
    ],
)
def test_what_uv_says_is_one_sentence(said: str, kind: type[FlowsError], message: str) -> None:
    """Both sides of a conflict; what cannot be reached is the operator's, everything else the author's."""
    error = refusal(said, FILE, {"httpx": "0.28.1"})
    assert type(error) is kind
    assert error.message.startswith(message)
    assert error.location == str(FILE)


def test_the_bill_of_materials_is_valid_and_the_same_each_time() -> None:
    """Python's distributions with their dependencies, and the installed packages of Debian."""
    text = json.dumps(bill(list(importlib.metadata.distributions()), STATUS))
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    assert json.dumps(bill(list(importlib.metadata.distributions()), STATUS)) == text
    content = json.loads(text)
    assert content["metadata"]["component"]["purl"] == f"pkg:pypi/flow-of-flows@{VERSION}"
    needs = {entry["ref"]: entry["dependsOn"] for entry in content["dependencies"]}
    prefect = f"pkg:pypi/prefect@{importlib.metadata.version('prefect')}"
    assert prefect in needs[f"pkg:pypi/flow-of-flows@{VERSION}"]
    assert f"pkg:pypi/pydantic@{importlib.metadata.version('pydantic')}" in needs[prefect]
    assert content["components"][-1] == next(debian(STATUS))


def test_only_installed_packages_of_debian_are_listed() -> None:
    """Named as scanners look them up."""
    url = "pkg:deb/debian/git@1%3A2.39.5-0%2Bdeb12u2?arch=amd64"
    assert list(debian(STATUS)) == [
        {"type": "library", "bom-ref": url, "name": "git", "version": "1:2.39.5-0+deb12u2", "purl": url}
    ]
    assert list(debian("")) == []


def test_two_parses_of_one_project_are_one_file_with_a_time_given() -> None:
    """The file notes when what was parsed, in an order that is not always the same; nothing else changes."""

    def parse(now: float, *files: str) -> bytes:
        metadata = {"generated_at": str(now), "invocation_id": str(now), "dbt_version": "1.11"}
        nodes = {"model.a": {"created_at": now, "columns": [{"name": "id", "created_at": "yesterday"}]}}
        listed = {name: {"path": {"modification_time": now}} for name in files}
        packed: bytes = msgpack.packb({"metadata": metadata, "nodes": nodes, "files": listed})
        return packed

    one, other = parse(1.5, "a", "b"), parse(2.5, "b", "a")
    assert reproducible(one, None) == one
    made = reproducible(one, "86400")
    assert made == reproducible(other, "86400")
    assert msgpack.unpackb(made) == {
        "metadata": {
            "generated_at": "1970-01-02T00:00:00+00:00",
            "invocation_id": "00000000-0000-0000-0000-000000000000",
            "dbt_version": "1.11",
            "invocation_started_at": "1970-01-02T00:00:00+00:00",
            "run_started_at": "1970-01-02T00:00:00+00:00",
        },
        "nodes": {"model.a": {"created_at": 86400.0, "columns": [{"name": "id", "created_at": "yesterday"}]}},
        "files": {name: {"path": {"modification_time": 86400.0}} for name in ("a", "b")},
    }
