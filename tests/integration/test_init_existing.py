"""`flows init` around a dbt project that is there: in the folder, below it, elsewhere, or on a git host."""

from __future__ import annotations

from pathlib import Path

from tests.commands import REPOSITORY
from tests.fixtures.git_host import GitHost
from tests.fixtures.new_projects import COUNTS, DBT, PROFILE, commands, new_shell, rows, tree, write


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
