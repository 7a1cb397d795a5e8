"""Bad input of `flows init` and interruptions: one sentence, and nothing is written."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.commands import FLOWS, Ended
from tests.conditions import eventually
from tests.fixtures.git_host import GitHost
from tests.fixtures.new_projects import DBT, new_shell, tree, write

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
