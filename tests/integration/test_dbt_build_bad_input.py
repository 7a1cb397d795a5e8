"""What the dbt child says when something it needs is not right: one error, of the right family, with the place."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flow_of_flows.dbt import duckdb_files
from flow_of_flows.errors import ConfigurationError, DataError, FlowsError, PlatformError
from tests.fixtures import dbt_projects
from tests.fixtures.dbt_builds import build
from tests.fixtures.dbt_projects import Place
from tests.fixtures.environment import set_variables
from tests.fixtures.postgres import PostgresDatabase

Files = dict[str, str]

CASES: dict[str, tuple[Files, dict[str, Any], type[FlowsError], str]] = {
    "broken dbt_project.yml": (
        {"dbt_project.yml": "name: ["},
        {},
        ConfigurationError,
        "dbt_project.yml cannot be read",
    ),
    "dbt_project.yml without name": (
        {"dbt_project.yml": "version: 1"},
        {},
        ConfigurationError,
        "The dbt project has no name",
    ),
    "unknown key in a property file": (
        {"models/models.yml": "version: 2\nmodels:\n  - nam: first"},
        {},
        ConfigurationError,
        r"dbt refused the project: .*models/models\.yml",
    ),
    "jinja error": (
        {"models/first.sql": "select {{ nope("},
        {},
        ConfigurationError,
        r"dbt refused the project: Compilation Error in model first \(models/first.sql\)",
    ),
    "unknown ref": (
        {"models/first.sql": "select * from {{ ref('nowhere') }}"},
        {},
        ConfigurationError,
        r"dbt refused the project: .*models/first\.sql.*nowhere",
    ),
    "sql error": (
        {"models/first.sql": "selec 1"},
        {},
        DataError,
        r"1 of 5 dbt nodes failed: model first: .*models/first\.sql",
    ),
    "missing variable": (
        {"models/third.sql": "select {{ var('needed') }} as id"},
        {},
        DataError,
        r"1 of 5 dbt nodes failed: model third: .*Required var 'needed' not found",
    ),
    "unknown selection": (
        {},
        {"select": "nowhere"},
        ConfigurationError,
        "Nothing matches the selection select='nowhere'",
    ),
    "everything excluded": ({}, {"exclude": "*"}, ConfigurationError, r"Nothing matches the selection exclude='\*'"),
    "unknown selection method": (
        {},
        {"select": "foo:bar"},
        ConfigurationError,
        "dbt refused the project: Runtime Error 'foo' is not a valid method name",
    ),
    "missing profile": (
        {"profiles.yml": "another: {target: x, outputs: {}}"},
        {},
        ConfigurationError,
        "dbt refused the project: .*Could not find profile named 'flow_of_flows'",
    ),
    "missing target": (
        {"profiles.yml": dbt_projects.PROFILES.replace("    duckdb:", "    another:")},
        {},
        ConfigurationError,
        "dbt refused the project: .*does not have a target named 'duckdb'",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_one_clear_error(place: Place, case: str) -> None:
    """Each ends with its family of error and a sentence that names the place."""
    files, parameters, family, sentence = CASES[case]
    place.use({**dbt_projects.CHAIN, **files})

    with pytest.raises(FlowsError) as failure:
        build(**parameters)

    assert type(failure.value) is family
    assert re.match(sentence, failure.value.message), failure.value.message
    assert failure.value.hint


def test_missing_project_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The message names the folder and the setting."""
    monkeypatch.setenv("FLOWS_DBT_PROJECT", str(tmp_path / "nowhere"))

    with pytest.raises(ConfigurationError) as failure:
        build()

    assert str(failure.value) == (
        f"No dbt project: the folder does not exist. Where: {tmp_path / 'nowhere'}."
        " Next: set FLOWS_DBT_PROJECT to the project's folder."
    )


@pytest.mark.parametrize("variable", ["FLOWS_DBT_PROFILES_DIR", "DBT_PROFILES_DIR"])
def test_missing_profiles_file(place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str) -> None:
    """A folder that is named has to have one, also where the project has one."""
    place.use()
    monkeypatch.setenv(variable, str(tmp_path))

    with pytest.raises(ConfigurationError) as failure:
        build()

    assert str(failure.value) == (
        f"There is no profiles.yml. Where: {variable}={tmp_path}."
        f" Next: set {variable} to the folder that has it, or unset it."
    )


def test_locked_warehouse(monkeypatch: pytest.MonkeyPatch, place: Place) -> None:
    """A file that another process keeps is named, with the process."""
    place.use()
    monkeypatch.setattr(duckdb_files, "LOCK_WAIT_SECONDS", 0.1)
    file = place.warehouse
    file.parent.mkdir(parents=True)
    holder = subprocess.Popen(
        [sys.executable, "-c", f"import duckdb; c = duckdb.connect({str(file)!r}); print('held', flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(PlatformError) as failure:
            build()
        holder.communicate("\n")

    assert failure.value.message == f"Process {holder.pid} has kept warehouse.duckdb locked for 0.1 s"
    assert failure.value.location == str(file)


def test_home_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: Place) -> None:
    """Where a folder cannot be made, the message says which."""
    place.use()
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("FLOWS_HOME", str(tmp_path / "file"))

    with pytest.raises(PlatformError) as failure:
        build()

    assert failure.value.message == "The folder for dbt's files cannot be made: Not a directory"


def test_unreachable_postgres(monkeypatch: pytest.MonkeyPatch, place: Place) -> None:
    """A server that does not answer is the operator's matter, before any model is tried."""
    place.use()
    monkeypatch.setenv("DBT_TARGET", "postgres")
    monkeypatch.setenv("PGHOST", "127.0.0.1")
    monkeypatch.setenv("PGPORT", "1")

    with pytest.raises(PlatformError) as failure:
        build()

    assert "Connection refused" in failure.value.message
    assert failure.value.location == "postgres@127.0.0.1:1/postgres"


def test_wrong_password_is_not_shown(monkeypatch: pytest.MonkeyPatch, place: Place, postgres: PostgresDatabase) -> None:
    """The message says which user was refused, and not with what."""
    place.use()
    set_variables(monkeypatch, {**postgres.environment(), "PGPASSWORD": "hunter-seven"})

    with pytest.raises(PlatformError) as failure:
        build()

    assert f'password authentication failed for user "{postgres.user}"' in failure.value.message
    assert "hunter-seven" not in str(failure.value)


def test_password_in_a_model_is_scrubbed(
    monkeypatch: pytest.MonkeyPatch, place: Place, postgres: PostgresDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the server's message repeats a secret of the target, neither the error nor the log shows it."""
    password = postgres.password
    files = {"models/leak.sql": f"select '{password}'::int as id"}
    place.use(files)
    set_variables(monkeypatch, postgres.environment())

    with caplog.at_level("INFO", logger="flow_of_flows"), pytest.raises(DataError) as failure:
        build()

    assert "*****" in failure.value.problems[0].message
    assert password not in str(failure.value) + caplog.text
