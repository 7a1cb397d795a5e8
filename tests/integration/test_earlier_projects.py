"""Projects of every minor version so far run on the present platform, unchanged: the promise of docs/versioning.md.

A folder of `fixtures/earlier_projects` is what `flows init` of that version wrote. That of the present version changes
with the templates until it is released: `REGENERATE=1 pytest tests/integration/test_earlier_projects.py`.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from flow_of_flows.scaffold.rendering import render
from tests.commands import REPOSITORY
from tests.fixtures.new_projects import ACME, CITIES, PLATFORM, QUERY, Shell, new_shell, rows, tree

FOLDERS = REPOSITORY / "tests/fixtures/earlier_projects"
PRESENT = PLATFORM.version.rpartition(".")[0]
EARLIER = sorted(folder.name for folder in FOLDERS.iterdir())


@pytest.fixture(params=EARLIER)
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Shell:
    """A shell in a copy of the project of one version."""
    shell = new_shell(tmp_path)
    shutil.copytree(FOLDERS / request.param, shell.folder / "acme-data")
    return shell.below("acme-data")


def test_the_project_of_the_present_version_is_what_init_writes() -> None:
    """So that the next version is tested with what teams have."""
    written = {str(path): text for path, text in render(ACME).items()}
    if os.environ.get("REGENERATE"):
        shutil.rmtree(FOLDERS / PRESENT, ignore_errors=True)
        for path, text in written.items():
            (FOLDERS / PRESENT / path).parent.mkdir(parents=True, exist_ok=True)
            (FOLDERS / PRESENT / path).write_text(text)
    assert tree(FOLDERS / PRESENT) == written


def test_a_project_of_an_earlier_version_runs(project: Shell) -> None:
    """Its pipeline completes with the same rows, its own tests pass, and no command warns of anything."""
    ran = project.flows("run", "main")
    assert (ran.code, ran.err) == (0, "")
    assert "2 of 2 steps completed." in ran.out
    assert rows(project.folder / ".flows/warehouse/warehouse.duckdb", QUERY) == CITIES
    doctor = project.flows("doctor")
    assert (doctor.code, doctor.err) == (0, "")
    tested = project.run("pytest", "-q", "-p", "no:cacheprovider")
    assert tested.code == 0, tested.out + tested.err
