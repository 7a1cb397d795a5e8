"""The dbt projects of one installation: which folder a parameter names, and what is the installation's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from flow_of_flows.dbt.projects import chosen_source, every, settings_for, source_name
from flow_of_flows.dbt.repository.source import Source
from flow_of_flows.dbt.step import dbt_step
from flow_of_flows.errors import ConfigurationError
from flow_of_flows.project import dbt_projects_in
from flow_of_flows.settings import Settings

PREFECT = """\
deployments:
  - {name: dbt-build, entrypoint: flow_of_flows.dbt.children.dbt_build}
  - {name: dbt-finance, entrypoint: flow_of_flows.dbt.children.dbt_build, parameters: {project: dbt/finance}}
  - {name: dbt-finance-full, entrypoint: flow_of_flows.dbt.children.dbt_build, parameters: {project: ./dbt/finance/}}
  - {name: other, entrypoint: flows.other.other, parameters: {project: elsewhere}}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with two dbt projects."""
    (tmp_path / "prefect.yaml").write_text(PREFECT)
    for name in ("dbt/own", "dbt/finance"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "dbt_project.yml").write_text("name: tiny")
    monkeypatch.setenv("FLOWS_PROJECT", str(tmp_path))
    monkeypatch.setenv("FLOWS_DBT_PROJECT", str(tmp_path / "dbt" / "own"))
    monkeypatch.delenv("FLOWS_DEPLOYMENTS", raising=False)
    return tmp_path


def test_a_run_names_a_folder_relative_to_prefect_yaml(folder: Path) -> None:
    """Unset or empty, it is the installation's own."""
    settings = Settings.load()
    assert settings_for("dbt/finance", settings).dbt_project == folder / "dbt" / "finance"
    assert [settings_for(name, settings).dbt_project for name in (None, " ")] == [folder / "dbt" / "own"] * 2


BAD = {
    "dbt/finanze": (
        "There is no dbt project in dbt/finanze: no dbt_project.yml. Where: {folder}/dbt/finanze. "
        "Next: did you mean dbt/finance? give the folder of dbt_project.yml, relative to {folder}."
    ),
    "/elsewhere/dbt": (
        "The folder of a dbt project is absolute: /elsewhere/dbt. Where: parameter project. "
        "Next: give it relative to the folder of prefect.yaml, such as dbt/finance."
    ),
}


@pytest.mark.parametrize(("name", "message"), BAD.items())
def test_a_folder_without_a_project_is_bad_input(folder: Path, name: str, message: str) -> None:
    """One sentence, before anything starts."""
    with pytest.raises(ConfigurationError) as caught:
        settings_for(name, Settings.load())
    assert str(caught.value) == message.format(folder=folder)


def test_a_folder_and_a_repository_contradict_each_other(folder: Path) -> None:
    """A project of the image counts over the installation's repository, not over a parameter of the same run."""
    settings = Settings.load()
    assert folder.is_dir()
    assert chosen_source("dbt/finance", None, None, None, settings) is None
    with pytest.raises(ConfigurationError, match="project and ref contradict each other"):
        chosen_source("dbt/finance", None, "main", None, settings)


def test_the_own_project_has_no_source_wherever_it_is_from(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every other is named by its folder or its repository; a ref makes no other project."""
    baked = Settings.load()
    assert source_name(None, settings_for("dbt/own", baked), baked) == ""
    assert source_name(None, settings_for("dbt/finance", baked), baked) == "dbt/finance"
    assert source_name(Source("https://host/a", "host"), baked, baked) == "https://host/a"
    monkeypatch.setenv("FLOWS_REPOSITORY_URL", "https://host/a")
    fetched = Settings.load()
    assert source_name(Source("https://host/a", "host", ref="feature"), fetched, fetched) == ""
    assert source_name(Source("https://host/b", "host"), fetched, fetched) == "https://host/b"
    assert source_name(None, settings_for("dbt/own", fetched), fetched) == "dbt/own"
    assert folder.is_dir()


def test_prefect_yaml_names_the_projects(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each once; the own one is left out where it is only a default that does not exist."""
    own, finance = folder / "dbt" / "own", folder / "dbt" / "finance"
    assert dbt_projects_in(folder / "prefect.yaml") == (finance,)
    assert every(Settings.load()) == (own, finance)
    monkeypatch.delenv("FLOWS_DBT_PROJECT")
    assert every(Settings.load()) == (folder / "dbt", finance)
    monkeypatch.setenv("FLOWS_DBT_PROJECT", str(folder / "gone"))
    assert every(Settings.load()) == (folder / "gone", finance)


def test_a_pipeline_has_a_step_for_each_project() -> None:
    """One runs where the setting says; the others in a pod, unless they name a job in dbt Cloud."""
    first = dbt_step("daily")
    second = dbt_step("daily", name="dbt-finance", after="dbt-build")
    third = dbt_step("daily", name="marts", deployment="dbt-finance", cloud="cloud-finance")
    assert [(step.name, step.deployments, step.upstream) for step in (first, second, third)] == [
        ("dbt-build", ("dbt-build/dbt-build", "dbt-cloud/dbt-cloud"), ()),
        ("dbt-finance", ("dbt-build/dbt-finance",), ("dbt-build",)),
        ("marts", ("dbt-build/dbt-finance", "dbt-cloud/cloud-finance"), ()),
    ]
