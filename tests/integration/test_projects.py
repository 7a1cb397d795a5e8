"""Two dbt projects in one installation, one after the other: real dbt, one state store, and the commands on it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flow_of_flows.errors import ConfigurationError
from tests.commands import flows, refused
from tests.fixtures import dbt_projects
from tests.fixtures.dbt_builds import build, execute
from tests.fixtures.dbt_projects import Place
from tests.integration.test_state_commands import rows

FINANCE = {
    "dbt_project.yml": dbt_projects.PROJECT.replace("tiny", "finance"),
    "models/invoices.sql": "select 7 as id",
    "models/totals.sql": "select id * 2 as id from {{ ref('invoices') }}",
}


@pytest.fixture
def finance(place: Place, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A second project below the folder of prefect.yaml; its folder."""
    place.use()
    monkeypatch.setenv("FLOWS_PROJECT", str(place.folder))
    return dbt_projects.write(place.folder / "finance", FINANCE)


def test_two_projects_build_compare_and_roll_back_apart(place: Place, finance: Path) -> None:
    """One's publication neither refuses nor replaces the other's."""
    build()
    first = build(project="finance")
    assert (first.summary, first.warnings) == ("2 dbt nodes: 2 success", ())
    assert execute(place.warehouse, "select * from analytics.totals") == [(14,)]
    assert json.loads((place.artifacts / "manifest.json").read_text())["metadata"]["project_name"] == "tiny"

    (finance / "models" / "totals.sql").write_text("select id * 3 as id from {{ ref('invoices') }}")
    changed = build(project="finance", changed_only=True)
    assert changed.summary.startswith("1 dbt nodes: 1 success; 1 not built"), changed.summary
    assert build(changed_only=True).summary == "Nothing to build: nothing differs from production"

    newest = str(changed.facts["published"])
    shown = flows("state", "show")
    assert (shown.code, shown.err) == (0, "")
    header, *lines = [line.split() for line in shown.out.splitlines()]
    assert header == ["project", "target", "source", "production", "age", "dbt", "artifacts"]
    assert [(line[0], line[-1]) for line in lines] == [
        ("tiny", "artifacts"),
        ("finance", "projects/finance/duckdb/artifacts"),
    ]
    assert newest in lines[1]
    rolled = flows("state", "rollback", "--project", "finance")
    assert rolled.out.startswith(f"Production is {first.facts['published']} again, as ")
    history = rows(flows("state", "history", "--project", "finance/duckdb").out)
    assert [line[0] for line in history[2:]] == [newest, first.facts["published"]]
    assert flows("state", "rollback") == refused(
        2,
        f"Several projects have a production. Where: {place.home}/state. "
        "Next: say which with --project: tiny/duckdb, projects/finance/duckdb.",
    )


def test_a_target_with_another_schema_is_still_compared_with_production(
    place: Place, finance: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second output of the same project has a production of its own once it is built in full."""
    profiles = dbt_projects.PROFILES.replace("    postgres:", "    review:").partition("      type: postgres")[0]
    (finance / "profiles.yml").write_text(f"{profiles}      type: duckdb\n      path: {place.folder}/review.duckdb\n")
    (place.folder / "review.duckdb").unlink(missing_ok=True)
    build(project="finance")
    monkeypatch.setenv("DBT_TARGET", "review")
    (warning,) = build(project="finance", select="state:modified+").warnings
    assert warning.startswith("The production artifacts stay as they are: they are of duckdb ")
    whole = build(project="finance")
    assert whole.warnings == ()
    kept = place.home / "state" / "projects" / "finance"
    assert sorted(folder.name for folder in kept.iterdir()) == ["duckdb", "review"]


def test_a_project_that_is_not_there_builds_nothing(place: Place, finance: Path) -> None:
    """Bad input, before anything starts."""
    assert finance.is_dir()
    with pytest.raises(ConfigurationError, match="There is no dbt project in sales: no dbt_project"):
        build(project="sales")
    assert not place.warehouse.exists()


def test_doctor_and_plan_take_a_project(place: Place, finance: Path) -> None:
    """Doctor checks all that prefect.yaml names; a plan is of one, with the times of its own runs."""
    child = "{name: dbt-finance, entrypoint: flow_of_flows.dbt.children.dbt_build, parameters: {project: finance}}"
    (place.folder / "prefect.yaml").write_text(f"deployments:\n  - {child}\n")
    build(project="finance")
    (finance / "models" / "new.sql").write_text("select 1 as id")
    shown = [line[:2] for line in rows(flows("doctor").out) if line[1:2] and line[1].startswith("dbt project")]
    assert shown == [["ok", "dbt project"], ["ok", "dbt project finance"]]
    planned = rows(flows("plan", "--project", "finance").out)
    assert planned[0] == ["3 nodes would run"]
    assert planned[1][0].endswith("(medians of 1 earlier run, without 1 node that never ran)")
    assert [(line[0], line[-1] == "never ran") for line in planned[2:]] == [
        ("model invoices", False),
        ("model new", True),
        ("model totals", False),
    ]
    wrong = flows("plan", "--project", "financ")
    assert (wrong.code, wrong.out) == (2, "")
    assert "Next: did you mean finance? " in wrong.err
