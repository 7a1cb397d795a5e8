"""The dbt project as a value, and the process around dbt."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from flow_of_flows.dbt import project
from flow_of_flows.dbt.children import dbt_build
from flow_of_flows.errors import ConfigurationError
from flow_of_flows.settings import environment
from tests.fixtures import dbt_projects


def test_fingerprint_is_of_names_and_contents_alone(tmp_path: Path) -> None:
    """The same files elsewhere, next to what dbt generates, have one fingerprint; other names or contents do not."""
    here, there = (dbt_projects.write(tmp_path / name) for name in ("here", "there"))
    (there / "target").mkdir()
    (there / "target" / "manifest.json").write_text("{}")
    fingerprint = project.find(here).fingerprint()

    assert project.find(there).fingerprint() == fingerprint
    (there / "models" / "first.sql").rename(there / "models" / "zeroth.sql")
    assert project.find(there).fingerprint() != fingerprint
    (here / "models" / "first.sql").write_text("select 2 as id")
    assert project.find(here).fingerprint() != fingerprint


def test_cache_key_is_of_folder_and_target(tmp_path: Path) -> None:
    """A changed model keeps the cache, another target does not."""
    found = project.find(dbt_projects.write(tmp_path))
    key = project.cache_key(found, "duckdb a")
    (tmp_path / "models" / "first.sql").write_text("select 2 as id")

    assert project.cache_key(project.find(tmp_path), "duckdb a") == key
    assert project.cache_key(found, "duckdb b") != key


def test_packages_are_needed_only_where_they_are_missing(tmp_path: Path) -> None:
    """A project that names packages needs its packages folder; one that names none does not."""
    dbt_projects.write(tmp_path)
    assert not project.find(tmp_path).lacks_packages
    (tmp_path / "packages.yml").write_text("packages:\n  - local: ../other\n")
    assert project.find(tmp_path).lacks_packages
    (tmp_path / "dbt_packages").mkdir()
    assert not project.find(tmp_path).lacks_packages


@pytest.mark.parametrize("content", ["", "- a", "text"])
def test_project_file_must_be_a_mapping(tmp_path: Path, content: str) -> None:
    """Anything but keys and values is refused."""
    dbt_projects.write(tmp_path, {"dbt_project.yml": content})

    with pytest.raises(ConfigurationError, match=r"^dbt_project\.yml is not a mapping"):
        project.find(tmp_path)


def test_environment_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inside, the variables are set; afterwards all is as before, also after an error."""
    monkeypatch.setenv("A_TEST", "before")
    monkeypatch.delenv("B_TEST", raising=False)

    def fail() -> None:
        with environment({"A_TEST": "inside", "B_TEST": "new"}):
            assert (os.environ["A_TEST"], os.environ["B_TEST"]) == ("inside", "new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()

    assert os.environ["A_TEST"] == "before"
    assert "B_TEST" not in os.environ


def test_every_parameter_of_the_child_is_described() -> None:
    """Prefect's form has a sentence for each."""
    properties = dbt_build.parameters.model_dump()["properties"]

    assert list(properties) == [
        "full_refresh",
        "select",
        "exclude",
        "vars",
        "threads",
        "freshness",
        "docs",
        "changed_only",
        "retry_of",
        "project",
        "repository",
        "ref",
        "subfolder",
        "when_busy",
        "selector",
        "indirect_selection",
        "resource_types",
        "exclude_resource_types",
        "target",
        "event_time_start",
        "event_time_end",
        "sample",
        "empty",
        "fail_fast",
        "store_failures",
        "defer",
        "favor_state",
        "warn_error_options",
    ]
    assert [name for name, schema in properties.items() if not schema.get("description")] == []
