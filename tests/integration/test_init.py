"""`flows init`, and everything a person does next in the folder that it writes."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest

from tests.commands import FLOWS, REPOSITORY, Ended
from tests.conditions import eventually
from tests.fixtures.git_host import GitHost
from tests.fixtures.new_projects import CITIES, QUERY, Shell, new_shell, rows, tree
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
# A dbt project that needs no loaded table, as teams have them: its profile's output is not named after the adapter.
DBT = {
    "dbt_project.yml": "name: books\nversion: '1.0'\nprofile: books\n",
    "models/counts.sql": "select count(*) as books from {{ ref('titles') }}\n",
    "seeds/titles.csv": "id,title\n1,Faust\n2,Momo\n",
}
PROFILE = "books:\n  target: dev\n  outputs:\n    dev: {type: duckdb, path: books.duckdb}\n"
COUNTS = "select books from counts"


def commands(name: str) -> str:
    """The five commands that come next, as they are printed."""
    chart = REPOSITORY / "helm"
    install = f"helm upgrade --install {name} {chart} --namespace {name} --create-namespace --values values.yaml"
    return (
        "uv run flows run main\n"
        "  uv run flows graph main\n"
        "  uv run pytest\n"
        f"  docker build --tag {name}:0.1.0 .\n"
        f"  {install}\n"
    )


def write(folder: Path, files: dict[str, str]) -> Path:
    """Write files below a folder."""
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder


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


def test_a_dbt_repository_gets_what_it_lacks_and_keeps_what_it_has(tmp_path: Path) -> None:
    """Nothing of it is changed, and its own profile is used."""
    shell = new_shell(tmp_path)
    own = {**DBT, "profiles.yml": PROFILE, "README.md": "Books.\n", ".gitignore": "target/\n"}
    own |= {"requirements.txt": "dbt-core==1.7.9\n"}
    write(shell.folder, own)
    made = shell.flows("init", ".", "--name", "library")
    lines = made.out.splitlines()
    assert (made.code, made.err) == (0, "")
    assert [line for line in lines if line.startswith("kept")] == ["kept     .gitignore", "kept     README.md"]
    assert [line.split()[1] for line in lines if line.startswith("written")] == [
        ".dockerignore",
        ".github/workflows/flows.yml",
        "Dockerfile",
        "library_flows/__init__.py",
        "library_flows/main.py",
        "library_flows/tests/test_main.py",
        "prefect.yaml",
        "profiles/profiles.yml",
        "pyproject.toml",
        "values.yaml",
    ]
    assert {path: text for path, text in tree(shell.folder).items() if path in own} == own
    # The image has what pyproject.toml asks for.
    assert (shell.folder / ".dockerignore").read_text().endswith("\nrequirements.txt\n")
    ran = shell.below("models").flows("run", "main")
    assert (ran.code, ran.err) == (0, "")
    assert f"Warehouse: the target of the dbt profile in {shell.folder}/profiles.yml" in ran.out
    assert rows(shell.folder / "books.duckdb", COUNTS) == [(2,)]
    # As a pod does it: with the connection of the platform's settings.
    pod = shell.flows("run", "main", DBT_PROFILES_DIR=str(shell.folder / "profiles"), DBT_TARGET="duckdb")
    assert (pod.code, pod.err) == (0, "")
    assert rows(shell.folder / ".flows" / "warehouse" / "warehouse.duckdb", "select books from analytics.counts") == [
        (2,)
    ]


def test_a_dbt_repository_with_a_pyproject_is_told_how_to_add_the_platform(tmp_path: Path) -> None:
    """The file stays as it is; the command comes before the others."""
    shell = new_shell(tmp_path)
    text = '[project]\nname = "books"\nversion = "1"\nrequires-python = ">=3.11"\n'
    write(shell.folder, {**DBT, "profiles.yml": PROFILE, "pyproject.toml": text})
    made = shell.flows("init", ".", "--name", "library")
    add = f"  uv add 'flow-of-flows[duckdb] @ file://{REPOSITORY}'\n"
    assert made.out.endswith(f" Next:\n\n{add}  {commands('library')}")
    assert (shell.folder / "pyproject.toml").read_text() == text


def test_a_dbt_project_elsewhere_is_copied_as_it_is(tmp_path: Path) -> None:
    """Without what tools have left in it; a missing profile is added to the copy."""
    shell = new_shell(tmp_path)
    left = {"target/manifest.json": "{}", "logs/dbt.log": "", ".git/HEAD": "ref: refs/heads/main\n"}
    source = write(tmp_path / "books", DBT | left)
    made = shell.flows("init", "library", "--dbt", str(source))
    assert (made.code, made.err) == (0, "")
    assert "written  dbt/profiles.yml\n" in made.out
    assert "written  dbt/ (the dbt project as it was: 3 files)\n" in made.out
    project = shell.below("library")
    copied = tree(project.folder / "dbt")
    assert set(copied) == {*DBT, "profiles.yml"}
    assert {path: copied[path] for path in DBT} == DBT
    assert tree(source, ()) == DBT | left
    ran = project.flows("run", "main")
    assert (ran.code, ran.err) == (0, "")
    file = project.folder / ".flows" / "warehouse" / "warehouse.duckdb"
    assert rows(file, "select books from analytics.counts") == [(2,)]


def test_a_dbt_project_below_the_folder_stays_in_its_place(tmp_path: Path) -> None:
    """The project around it says where it is."""
    shell = new_shell(tmp_path)
    write(shell.folder / "transform", DBT | {"profiles.yml": PROFILE})
    made = shell.flows("init", ".", "--name", "library", "--dbt", "transform")
    assert (made.code, made.err) == (0, "")
    assert 'dbt-project = "transform"\n' in (shell.folder / "pyproject.toml").read_text()
    assert shell.flows("run", "main").code == 0
    assert rows(shell.folder / "transform" / "books.duckdb", COUNTS) == [(2,)]


def test_a_dbt_project_is_fetched_from_a_git_host(tmp_path: Path, git_host: GitHost) -> None:
    """The files of its default branch, without its history."""
    shell = new_shell(tmp_path)
    git_host.token = False
    git_host.serve(write(tmp_path / "books", DBT | {"profiles.yml": PROFILE}))
    variables = {"FLOWS_REPOSITORY_CA_FILE": str(git_host.certificate)}
    made = shell.flows("init", "library", "--dbt", git_host.url(), **variables)
    assert (made.code, made.err) == (0, "")
    assert tree(shell.folder / "library" / "dbt", ()) == DBT | {"profiles.yml": PROFILE}


BROKEN = {"models/counts.sql": "select {{ ref('nothing') }}\n"}


def cases(folder: Path) -> dict[str, tuple[str, str]]:
    """The words of each command, and the message that it ends with; paths are those of the test."""
    file, books, used = folder / "file", folder / "books", folder / "used"
    return {
        "a file": (f"init {file}", f"This is a file. Where: {file}. Next: name a folder."),
        "below a file": (
            f"init {file}/acme",
            f"This is a file. Where: {file}. Next: name a folder.",
        ),
        "a folder that cannot be written": (
            "init /proc/acme",
            (
                "The project cannot be written: No such file or directory. Where: /proc/acme. "
                "Next: name a folder that can be written."
            ),
        ),
        "other things": (
            f"init {used}",
            (
                f"The folder is not empty, and it has no dbt project. Where: {used}. "
                "Next: name a new folder, or give the dbt project in it with --dbt."
            ),
        ),
        "no name": (
            "init 2024",
            (
                "'2024' is not a name for Kubernetes, Python and dbt. Where: folder {work}/2024. "
                "Next: choose a name with --name: lower-case letters, digits and dashes, beginning with a letter, "
                "at most 40 characters."
            ),
        ),
        "no adapter": (
            "init acme --warehouse My-SQL!",
            "'My-SQL!' is not the name of a dbt adapter. Where: --warehouse. Next: name one, such as postgres.",
        ),
        "no dbt project": (
            f"init acme --dbt {used}",
            f"There is no dbt_project.yml. Where: {used}. Next: name the folder that has it.",
        ),
        "a dbt project deeper down": (
            f"init acme --dbt {folder}",
            f"There is no dbt_project.yml. Where: {folder}. Next: there is one in books: name that folder.",
        ),
        "no folder": (
            f"init acme --dbt {folder}/none",
            f"There is no dbt_project.yml. Where: {folder}/none. Next: name the folder that has it.",
        ),
        "a project that does not parse": (
            f"init acme --dbt {books}",
            (
                "dbt refused the project: Compilation Error Model 'model.books.counts' (models/counts.sql) depends "
                f"on a node named 'nothing' which was not found. Where: {books}. "
                "Next: correct the project or the parameters; `dbt parse` in the project's folder shows the same."
            ),
        ),
        "a URL with a token": (
            "init acme --dbt https://me:canary-7f3a9c51@git.example.com/books.git",
            (
                "The repository's URL holds more than an address, such as a user or a token. Where: --dbt. "
                "Next: take it out; the token belongs into the secret that FLOWS_SECRETS_GITHUB names."
            ),
        ),
        "another protocol": (
            "init acme --dbt git@git.example.com:books.git",
            (
                "The repository's URL is not https. Where: --dbt. "
                "Next: give it as https://host/owner/name.git; ssh, http and files are not taken."
            ),
        ),
    }


@pytest.mark.parametrize("case", cases(Path()))
def test_bad_input_is_one_sentence_and_nothing_is_written(case: str, tmp_path: Path) -> None:
    """Exit code 2; the folder is as it was."""
    shell = new_shell(tmp_path)
    (tmp_path / "file").touch()
    write(tmp_path / "used", {"notes.txt": "…"})
    write(tmp_path / "books", {**DBT, **BROKEN})
    before = tree(tmp_path, ())
    words, message = cases(tmp_path)[case]
    ended = shell.flows(*words.split())
    assert ended == Ended(2, "", f"error: {message.format(work=shell.folder)}\n")
    assert tree(tmp_path, ()) == before
    assert list(shell.folder.iterdir()) == []


def test_a_git_host_that_cannot_be_reached_is_not_bad_input(tmp_path: Path) -> None:
    """Exit code 3, and nothing is written."""
    shell = new_shell(tmp_path)
    ended = shell.flows("init", "acme", "--dbt", "https://127.0.0.1:9/books.git")
    assert (ended.code, ended.out) == (3, "")
    assert ended.err.startswith("error: The git host cannot be reached: ")
    assert list(shell.folder.iterdir()) == []


def test_ctrl_c_while_a_repository_is_fetched_leaves_nothing(tmp_path: Path, git_host: GitHost) -> None:
    """Exit code 130, and no temporary folder."""
    shell = new_shell(tmp_path)
    git_host.hang = 60
    variables = {"FLOWS_REPOSITORY_CA_FILE": str(git_host.certificate)}
    with shell.started(FLOWS, "init", "acme", "--dbt", git_host.url(), **variables) as process:
        eventually(lambda: git_host.asked, "git has asked the host")
        assert [path.name.startswith(".flows-init-") for path in shell.folder.iterdir()] == [True]
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    assert list(shell.folder.iterdir()) == []


@pytest.mark.parametrize("words", ["run main", "graph main", "register", "doctor"])
def test_a_prefect_yaml_without_deployments_is_named(words: str, tmp_path: Path) -> None:
    """By every command that reads it."""
    shell = new_shell(tmp_path)
    (shell.folder / "prefect.yaml").write_text("name: acme\n")
    ended = shell.flows(*words.split(), PREFECT_API_URL="http://127.0.0.1:9/api" if words == "register" else "")
    said = "The deployments cannot be read: the file declares none. Where: "
    assert ended.code == 2
    assert said in (ended.out if words == "doctor" else ended.err)
