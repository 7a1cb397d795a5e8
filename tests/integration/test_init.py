"""`flows init`, and everything a person does next in the folder that it writes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.commands import FLOWS, Ended
from tests.fixtures.new_projects import CITIES, QUERY, Shell, commands, new_shell, rows, tree
from tests.fixtures.postgres import PostgresDatabase
from tests.fixtures.server import Embedded

WRITTEN = (
    ".dockerignore",
    ".github/workflows/flows.yml",
    ".gitignore",
    "Dockerfile",
    "README.md",
    "acme_flows/__init__.py",
    "acme_flows/main.py",
    "acme_flows/temperatures.py",
    "dbt/dbt_project.yml",
    "dbt/models/marts/city_temperatures.sql",
    "dbt/models/models.yml",
    "dbt/models/staging/stg_temperatures.sql",
    "dbt/profiles.yml",
    "prefect.yaml",
    "pyproject.toml",
    "tests/test_main.py",
    "values.yaml",
)


@pytest.fixture(scope="module")
def acme(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A shell in a new project, whose pipeline has run once from a folder below it."""
    shell = new_shell(tmp_path_factory.mktemp("acme"))
    made = shell.flows("init", "acme")
    assert made == Ended(
        0,
        "".join(f"written  {path}\n" for path in WRITTEN)
        + f"\nThe project acme is in {shell.folder}/acme. Next:\n\n  cd acme && {commands('acme')}",
        "",
    )
    project = shell.below("acme")
    ran = project.below("dbt", "models").flows("run", "main")
    assert (ran.code, ran.err) == (0, "")
    assert "2 of 2 steps completed." in ran.out
    return project


def test_a_new_project_runs_at_once_and_leaves_everything_in_its_own_folder(acme: Shell) -> None:
    """The mart has its rows, nothing but .flows is new, and git does not see it."""
    assert rows(acme.folder / ".flows" / "warehouse" / "warehouse.duckdb", QUERY) == CITIES
    assert tuple(tree(acme.folder)) == WRITTEN
    assert (acme.folder / ".flows" / ".gitignore").read_text() == "*\n"


def test_the_pipeline_is_drawn(acme: Shell) -> None:
    """From any folder below."""
    assert acme.below("tests").flows("graph", "main") == Ended(
        0, "main\n  1 ── temperatures\n  2 ── dbt-build      after temperatures\n\n", ""
    )


def test_a_name_is_not_needed_to_see_what_there_is(acme: Shell) -> None:
    """Pipelines, then children, each with a sentence."""
    assert acme.below("dbt").flows("run") == Ended(
        2,
        "",
        "Pipelines\n"
        "  main          Load the temperatures, then build and test the dbt project.\n"
        "Children\n"
        "  temperatures  Load the temperatures of three cities.\n"
        "  dbt-build     Build the dbt project in the warehouse: source freshness, then `dbt build`.\n"
        "  dbt-command   Run one dbt command on the project: run, test, seed, snapshot, run-operation, clone, compile, "
        "show, ls and more.\n"
        "  sweep         Look for runs, Jobs and slots that nobody looks after any more, and end or revive them.\n"
        "  smoke         Say where this run takes place.\n"
        "\n"
        f"error: No flow is named. Where: {acme.folder}/prefect.yaml. "
        "Next: write `flows run NAME` with a name above.\n",
    )


def test_doctor_and_plan_and_state_know_the_project(acme: Shell) -> None:
    """Nothing is wrong; the plan has the project's nodes; production is the run before."""
    doctor = acme.flows("doctor")
    assert (doctor.code, doctor.err) == (0, "")
    lines = [line.split() for line in doctor.out.splitlines()]
    assert [line[0] for line in lines] == ["ok"] * 14
    assert ["ok", "deployments", "6", "in", f"{acme.folder}/prefect.yaml"] in lines
    assert ["ok", "steps", "2", "steps", "name", "deployments", "of", "prefect.yaml"] in lines
    assert ["ok", "dbt", "project", "acme", "in", f"{acme.folder}/dbt"] in lines
    plan = acme.flows("plan")
    assert (plan.code, plan.err) == (0, "")
    assert plan.out.startswith("7 nodes would run\n")
    state = acme.flows("state", "show")
    assert (state.code, state.err) == (0, "")


def test_any_dbt_command_runs_by_hand_and_its_rows_are_printed(acme: Shell) -> None:
    """In JSON's quotes or without, and in the page's words."""
    ran = acme.flows("run", "dbt-command", "--set", "command=\"show --inline 'select 1 as id' --vars {a: b}\"")
    assert (ran.code, ran.err) == (0, "")
    assert "- `dbt-command`: dbt show: 1 dbt nodes: 1 success\n" in ran.out
    assert "## Result\n\ndbt show: 1 row\n\n| id |\n| --- |\n| 1 |\n" in ran.out
    run = next(line.split("/")[-1] for line in ran.out.splitlines() if line.startswith("This run: "))
    assert "| id |\n| --- |\n| 1 |\n" in acme.flows("report", run).out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            'command="rum --select a"',
            "dbt refuses the command: No such command 'rum'. Where: parameter command. Next: did you mean run? ",
        ),
        (
            "command=run --target prod",
            "The option --target is not for a command of a run: ",
        ),
    ],
)
def test_a_command_that_dbt_does_not_know_is_refused_before_anything_starts(
    text: str, message: str, acme: Shell
) -> None:
    """One sentence and no run."""
    refused = acme.flows("run", "dbt-command", "--set", text)
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.startswith(f"error: {message}")
    assert len(refused.err.splitlines()) == 1


def test_a_run_is_reported_and_resumed(acme: Shell) -> None:
    """A child that failed is run again under the same id, and what completed is reused."""
    model = acme.folder / "dbt" / "models" / "marts" / "city_temperatures.sql"
    text = model.read_text()
    model.write_text(text.replace("min(celsius)", "min(kelvin)"))
    failed = acme.flows("run", "main")
    model.write_text(text)
    assert failed.code == 1
    run = next(line for line in failed.out.splitlines() if line.startswith("This run:")).rpartition("/")[2]
    assert "failed: dbt-build" in acme.flows("report", run).out
    resumed = acme.flows("resume", run)
    assert (resumed.code, resumed.err) == (0, "")
    assert "2 of 2 steps completed." in resumed.out


def test_the_project_registers_itself(acme: Shell, embedded: Embedded) -> None:
    """All deployments, in the work pool that the chart would name."""
    variables = {"PREFECT_API_URL": embedded.api, "FLOWS_WORK_POOL": "acme"}
    registered = acme.flows("register", **variables)
    assert registered.code == 0, registered.err
    names = {each.name for each in embedded.client.read_deployments() if each.work_pool_name == "acme"}
    assert names == {"main", "temperatures", "dbt-build", "dbt-command", "sweep", "smoke"}


@pytest.mark.parametrize("words", [("ruff", "check", "--no-cache", "."), ("pytest", "-q", "-p", "no:cacheprovider")])
def test_the_project_passes_its_own_checks(acme: Shell, words: tuple[str, ...]) -> None:
    """What its workflow runs."""
    done = acme.run(FLOWS.with_name(words[0]), *words[1:])
    assert done.code == 0, done.out


def test_a_second_init_writes_only_what_is_missing(acme: Shell, tmp_path: Path) -> None:
    """An edited file stays as it is."""
    folder = tmp_path / "acme"
    shutil.copytree(acme.folder, folder, ignore=shutil.ignore_patterns(".flows"))
    (folder / "values.yaml").unlink()
    (folder / "prefect.yaml").write_text((folder / "prefect.yaml").read_text() + "# edited\n")
    before = tree(folder)
    made = Shell(folder, acme.home).flows("init", ".")
    assert (made.code, made.err) == (0, "")
    assert [line for line in made.out.splitlines() if line.startswith("written")] == ["written  values.yaml"]
    assert tree(folder) == before | {"values.yaml": (acme.folder / "values.yaml").read_text()}


def test_a_project_for_postgres_runs_there_and_here(tmp_path: Path, postgres: PostgresDatabase) -> None:
    """DBT_TARGET chooses; the same rows in both."""
    shell = new_shell(tmp_path)
    assert shell.flows("init", "acme", "--warehouse", "postgres").code == 0
    project = shell.below("acme")
    ran = project.flows("run", "main", **postgres.environment())
    assert (ran.code, ran.err) == (0, "")
    assert postgres.execute(QUERY) == CITIES


def test_a_project_for_another_adapter_runs_here_without_a_child_that_loads(tmp_path: Path) -> None:
    """Its rows are a seed, and DuckDB is the warehouse until the profile is complete."""
    shell = new_shell(tmp_path)
    assert shell.flows("init", "acme", "--warehouse", "bigquery").code == 0
    project = shell.below("acme")
    ran = project.flows("run", "main")
    assert (ran.code, ran.err) == (0, "")
    file = project.folder / ".flows" / "warehouse" / "warehouse.duckdb"
    assert rows(file, QUERY) == [("Berlin", 2, 19.0, 20.0), ("Lima", 2, 17.0, 18.0), ("Nairobi", 2, 22.0, 23.0)]
