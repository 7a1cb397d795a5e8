"""The files of a new project get into its folder: all of them or none, and never over one that exists."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from flow_of_flows.errors import ConfigurationError, PlatformError
from flow_of_flows.scaffold.placement import Placed, place, staged
from tests.fixtures.new_projects import tree


def fill(stage: Path) -> None:
    """Write three files."""
    (stage / "flows").mkdir()
    for path in ("README.md", "flows/a.py", "flows/b.py"):
        (stage / path).write_text("new\n")


def test_a_new_folder_appears_at_once(tmp_path: Path) -> None:
    """With its parents, and with the permissions of any folder."""
    folder = tmp_path / "deep" / "acme"
    with staged(folder) as stage:
        fill(stage)
        assert not folder.exists()
        assert place(stage, folder) == Placed((Path("README.md"), Path("flows/a.py"), Path("flows/b.py")), ())
    assert tree(tmp_path) == {f"deep/acme/{path}": "new\n" for path in ("README.md", "flows/a.py", "flows/b.py")}
    (tmp_path / "plain").mkdir()
    assert folder.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_what_exists_is_kept(tmp_path: Path) -> None:
    """Files, and links that lead nowhere."""
    (tmp_path / "README.md").write_text("old\n")
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows" / "a.py").symlink_to("nowhere")
    with staged(tmp_path) as stage:
        fill(stage)
        placed = place(stage, tmp_path)
    assert placed == Placed((Path("flows/b.py"),), (Path("README.md"), Path("flows/a.py")))
    assert tree(tmp_path) == {"README.md": "old\n", "flows/b.py": "new\n"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", "flows"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), PlatformError("The git host cannot be reached")])
def test_an_interruption_leaves_nothing(tmp_path: Path, error: BaseException) -> None:
    """Neither the folder nor its parents."""

    def interrupted() -> None:
        with staged(tmp_path / "deep" / "acme") as stage:
            fill(stage)
            raise error

    with pytest.raises(type(error)):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_placed_undoes_the_others(tmp_path: Path) -> None:
    """In a folder with other files, only they are left: here a file is where a folder has to be."""
    (tmp_path / "notes.txt").write_text("old\n")
    (tmp_path / "flows").write_text("a file\n")

    def obstructed() -> None:
        with staged(tmp_path) as stage:
            fill(stage)
            place(stage, tmp_path)

    with pytest.raises(ConfigurationError) as caught:
        obstructed()
    assert str(caught.value) == (
        f"The project cannot be written: Not a directory. Where: {tmp_path}. Next: name a folder that can be written."
    )
    assert tree(tmp_path) == {"flows": "a file\n", "notes.txt": "old\n"}


def test_a_full_disk_is_not_bad_input(tmp_path: Path) -> None:
    """The operator must act: exit code 3."""

    def full() -> None:
        with staged(tmp_path / "acme"):
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(PlatformError) as caught:
        full()
    assert str(caught.value) == (
        f"The disk is full: No space left on device. Where: {tmp_path / 'acme'}. "
        "Next: free some space, then run it again."
    )
    assert list(tmp_path.iterdir()) == []
