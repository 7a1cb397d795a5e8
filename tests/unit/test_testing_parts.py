"""The pure parts of the test kit: dbt profiles, faults, hidden variables; and rows over several DuckDB files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from flow_of_flows.errors import Cause
from flow_of_flows.testing import DuckDBWarehouse
from flow_of_flows.testing.environment import hidden
from flow_of_flows.testing.faults import InjectedFault, fault_of
from flow_of_flows.testing.profiles import OUTPUT, PATH, variables

PROJECT = "name: team\nprofile: team\n"
IN_FOLDER = {"type": "duckdb", "path": "{{ env_var('DBT_DUCKDB_FOLDER', '.') }}/warehouse.duckdb"}


def written(tmp_path: Path, project: str | None, outputs: dict[str, Any] | None) -> tuple[dict[str, str], Any]:
    """The variables for a project with these outputs, and the team's profile in the copy; None without a copy."""
    folder, copy = tmp_path / "dbt", tmp_path / "copy"
    folder.mkdir()
    if project is not None:
        (folder / "dbt_project.yml").write_text(project)
    if outputs is not None:
        (folder / "profiles.yml").write_text(yaml.safe_dump({"team": {"target": "prod", "outputs": outputs}}))
    found = variables(folder, copy)
    file = copy / "profiles.yml"
    return found, yaml.safe_load(file.read_text())["team"] if file.exists() else None


def test_an_output_in_the_folder_of_the_platform_is_used_as_it_is(tmp_path: Path) -> None:
    """Whatever the profile's own target is."""
    assert written(tmp_path, PROJECT, {"duckdb": IN_FOLDER, "prod": {"type": "snowflake"}}) == (
        {"DBT_TARGET": "duckdb"},
        None,
    )


def test_of_another_profile_a_copy_is_used_with_a_path_in_the_folder(tmp_path: Path) -> None:
    """The first output for DuckDB keeps all but its path; the others stay."""
    dev = {"type": "duckdb", "path": "dev.duckdb", "schema": "made", "extensions": ["icu"]}
    outputs = {"prod": {"type": "snowflake", "account": "acme"}, "dev": dev}
    assert written(tmp_path, PROJECT, outputs) == (
        {"DBT_TARGET": "duckdb", "DBT_PROFILES_DIR": str(tmp_path / "copy")},
        {"target": "duckdb", "outputs": {**outputs, "duckdb": {**OUTPUT, **dev, "path": PATH}}},
    )


def test_a_project_without_an_output_for_duckdb_gets_a_plain_one(tmp_path: Path) -> None:
    """Also one without a profiles.yml, whose profile is the developer's own."""
    assert written(tmp_path, PROJECT, None) == (
        {"DBT_TARGET": "duckdb", "DBT_PROFILES_DIR": str(tmp_path / "copy")},
        {"target": "duckdb", "outputs": {"duckdb": {**OUTPUT, "path": PATH}}},
    )


@pytest.mark.parametrize("project", [None, "name: [", "name: team\n", "profile: \"{{ env_var('P') }}\"\n", "- a\n"])
def test_without_a_dbt_project_that_names_its_profile_nothing_is_set(project: str | None, tmp_path: Path) -> None:
    """There is none, or dbt says what is wrong."""
    assert written(tmp_path, project, {"duckdb": {"type": "duckdb", "path": "x"}}) == ({}, None)


def test_the_newest_fault_that_still_applies_counts() -> None:
    """By the step's whole name, for so many attempts of a run."""
    always = InjectedFault(step="a/b", cause=Cause.DATA)
    twice = InjectedFault(step="a/b", attempts=2)
    assert fault_of([always], "b", tries=0) is None
    assert fault_of([always, twice], "a/b", tries=0) == twice
    assert fault_of([always, twice], "a/b", tries=1) == twice
    assert fault_of([always, twice], "a/b", tries=2) == always
    assert fault_of([twice], "a/b", tries=2) is None


def test_settings_and_credentials_of_the_shell_are_hidden() -> None:
    """All but those that a pattern passes on."""
    shell = dict.fromkeys(["PATH", "HOME", "FLOWS_HOME", "PGHOST", "PGPORT", "DBT_TARGET", "AWS_PROFILE", "PAGER"], "x")
    assert hidden(shell) == {"FLOWS_HOME", "PGHOST", "PGPORT", "DBT_TARGET", "AWS_PROFILE"}
    assert hidden(shell, ["PG*", "DBT_TARGET"]) == {"FLOWS_HOME", "AWS_PROFILE"}


def test_a_query_finds_tables_in_every_file_of_the_warehouse(tmp_path: Path) -> None:
    """By schema and table, or the table alone; dbt's file is first; moments are in UTC."""
    warehouse = DuckDBWarehouse(tmp_path)
    assert warehouse.rows("select 1") == [(1,)]
    warehouse.execute("create schema raw", "create table raw.orders as select 1 as id", file="orders")
    warehouse.execute("create schema raw", 'create table raw.it\'s"odd" (id int)'.replace("it's", ""), file="it's odd")
    warehouse.execute("create schema analytics", "create table analytics.orders as select 2 as id")
    for sql, expected in {
        "select id from raw.orders": 1,
        "select id from orders": 2,
        "select id from orders.raw.orders": 1,
        "select id from warehouse.analytics.orders": 2,
        "select hour(timestamptz '2026-01-01 12:00+02')": 10,
        'select count(*) from raw."odd"': 0,
    }.items():
        assert warehouse.rows(sql) == [(expected,)]
    assert warehouse.file == tmp_path / "warehouse.duckdb"
