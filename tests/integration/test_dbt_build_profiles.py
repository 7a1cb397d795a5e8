"""Whatever profile dbt can use, the child uses: its own target or the one of DBT_TARGET, found where dbt looks."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from flow_of_flows.cli.doctor import CHECKS
from flow_of_flows.dbt.arguments import Options
from flow_of_flows.dbt.comparison import plan
from flow_of_flows.errors import ConfigurationError, FlowsError
from flow_of_flows.settings import Settings
from flow_of_flows.warehouse.targets import DuckDBTarget, PostgresTarget, from_settings
from tests.fixtures import dbt_projects
from tests.fixtures.dbt_builds import build, built, execute
from tests.fixtures.dbt_projects import Place
from tests.fixtures.environment import set_variables
from tests.fixtures.postgres import PostgresDatabase

MODEL = {"models/a.sql": "select '{{ target.name }}' as built_in"}
OUTPUTS = """\
    dev: {type: duckdb, path: dev.duckdb}
    prod: {type: duckdb, path: "{{ env_var('PROD_FILE', 'prod') }}.duckdb", schema: live}
"""
DEV_AND_PROD = f"flow_of_flows:\n  target: dev\n  outputs:\n{OUTPUTS}"


def _rows(file: Path, schema: str = "main") -> list[tuple[object, ...]]:
    return execute(file, f"select * from {schema}.a")


def _project_check() -> FlowsError | str:
    """Return what `flows doctor` says of the project."""

    async def check() -> str:
        return await CHECKS["dbt project"](Settings.load())

    try:
        return asyncio.run(check())
    except FlowsError as error:
        return error


def test_profile_of_dev_and_prod_builds_in_its_own_target(place: Place) -> None:
    """Without DBT_TARGET the profile's own target counts, with relative paths as at dbt's command line."""
    project = place.use({**MODEL, "profiles.yml": DEV_AND_PROD})
    assert list(plan(Settings.load(), Options()).nodes) == ["model.tiny.a"]

    report = build()

    assert _rows(project / "dev.duckdb") == [("dev",)]
    assert report.warnings == ()
    assert _project_check() == f"tiny in {project}, output dev of profile flow_of_flows (duckdb)"
    assert build(changed_only=True).summary == "Nothing to build: nothing differs from production"


def test_target_may_be_any_output_of_the_profile(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """DBT_TARGET names it; ingest loads the kind of warehouse that it is."""
    project = place.use({**MODEL, "profiles.yml": DEV_AND_PROD})
    monkeypatch.setenv("DBT_TARGET", "prod")

    build()

    assert _rows(project / "prod.duckdb", "live") == [("prod",)]
    assert not (project / "dev.duckdb").exists()
    target = from_settings(Settings.load())
    assert isinstance(target, DuckDBTarget)
    assert target.folder == place.home / "warehouse"


def test_output_of_postgres_gets_the_connection_of_the_settings(
    place: Place, monkeypatch: pytest.MonkeyPatch, postgres: PostgresDatabase
) -> None:
    """An output of any name may take its connection from PG*, as the profile of this repository does."""
    own = dbt_projects.PROFILES.replace("    postgres:", "    live:")
    place.use({**MODEL, "profiles.yml": own})
    set_variables(monkeypatch, {**postgres.environment(), "DBT_TARGET": "live"})

    build()

    assert postgres.execute("select * from analytics.a") == [("live",)]
    assert isinstance(from_settings(Settings.load()), PostgresTarget)


@pytest.mark.parametrize("target", ["oracle", "Dev", "dev prod", "--full-refresh"])
def test_target_that_the_profile_does_not_have(place: Place, monkeypatch: pytest.MonkeyPatch, target: str) -> None:
    """The error names the profile's file and its outputs, in a build and for a child that loads."""
    project = place.use({**MODEL, "profiles.yml": DEV_AND_PROD})
    monkeypatch.setenv("DBT_TARGET", target)

    with pytest.raises(ConfigurationError) as refused:
        build()
    with pytest.raises(ConfigurationError) as loading:
        from_settings(Settings.load())

    assert str(refused.value) == (
        f"dbt refused the project: The profile 'flow_of_flows' does not have a target named '{target}', only dev, prod."
        f" Where: {project / 'profiles.yml'}."
        " Next: correct profiles.yml, or set DBT_TARGET to one of the profile's outputs."
    )
    assert str(loading.value) == str(refused.value)


def test_child_that_loads_refuses_another_adapter(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ingest children know three adapters, of all that dbt can use."""
    lake = "flow_of_flows:\n  outputs:\n    lake: {type: bigquery}\n"
    place.use({**MODEL, "profiles.yml": lake})
    monkeypatch.setenv("DBT_TARGET", "lake")

    with pytest.raises(
        ConfigurationError, match=r"^Ingest children and dashboards cannot use the warehouse of output lake: bigquery"
    ):
        from_settings(Settings.load())


def test_profiles_are_found_where_dbt_looks(place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """First in DBT_PROFILES_DIR, then in the project, then in ~/.dbt."""
    project = place.use({**MODEL, "profiles.yml": DEV_AND_PROD})
    given, home = tmp_path / "given", tmp_path / "home"
    for folder, name in ((given, "given"), (home / ".dbt", "home")):
        folder.mkdir(parents=True)
        (folder / "profiles.yml").write_text(DEV_AND_PROD.replace("dev", name))
    monkeypatch.setenv("HOME", str(home))
    build()
    (project / "profiles.yml").unlink()
    build()
    monkeypatch.setenv("DBT_PROFILES_DIR", str(given))
    build()

    found = {name: _rows(project / f"{name}.duckdb") for name in ("dev", "home", "given")}
    assert found == {name: [(name,)] for name in ("dev", "home", "given")}


def test_doctor_says_what_a_build_would_say_of_a_project(place: Place) -> None:
    """It has dbt read the project, cycles included, and leaves no file."""
    project = place.use({"models/a.sql": "select * from {{ ref('a') }}"})

    check = _project_check()

    assert str(check) == (
        f"The models refer to each other in a cycle: model a → model a. Where: {project}."
        " Next: remove one of these references."
    )
    assert sorted(path.name for path in project.iterdir()) == ["dbt_project.yml", "models", "profiles.yml"]


def test_names_in_dbt_project_yml_may_be_jinja(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The profile's name and the folder of packages are rendered as dbt renders them."""
    content = dbt_projects.PROJECT.replace("profile: flow_of_flows", "profile: \"{{ env_var('PROFILE', 'none') }}\"")
    place.use({**MODEL, "dbt_project.yml": content + "packages-install-path: \"{{ env_var('PACKAGES', 'x') }}\"\n"})
    monkeypatch.setenv("PROFILE", "flow_of_flows")

    build()

    assert built(place) == {"a": [("duckdb",)]}
