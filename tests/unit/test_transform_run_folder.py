"""The folder of a run: its own, gone with it, and the next run removes what a killed one has left."""

from __future__ import annotations

import errno
import fcntl
from pathlib import Path

import pytest

from flow_of_flows.dbt.project import folder_of_run
from flow_of_flows.errors import PlatformError


def test_two_runs_at_once_have_a_folder_each(tmp_path: Path) -> None:
    """Neither removes the other's; both are gone afterwards."""
    with folder_of_run(tmp_path / "dbt", "dbt's files") as one, folder_of_run(tmp_path / "dbt", "dbt's files") as two:
        assert {one, two} == set((tmp_path / "dbt").iterdir())
    assert list((tmp_path / "dbt").iterdir()) == []


def test_what_a_killed_run_has_left_goes_with_the_next_one(tmp_path: Path) -> None:
    """Nobody holds its lock; a folder without a lock is one that is being made, and what belongs to no run stays."""
    for name in ("run-dead/target", "run-young", "other"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("run-dead", "other"):
        (tmp_path / name / "lock").touch()
    with folder_of_run(tmp_path, "dbt's files") as ours:
        assert set(tmp_path.iterdir()) == {ours, tmp_path / "run-young", tmp_path / "other"}


def test_a_file_system_without_locks_is_good_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can tell there whether a run is alive: its folder stays."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    (tmp_path / "run-old").mkdir()
    (tmp_path / "run-old" / "lock").touch()
    with folder_of_run(tmp_path, "dbt's files") as ours:
        assert set(tmp_path.iterdir()) == {ours, tmp_path / "run-old"}
    assert list(tmp_path.iterdir()) == [tmp_path / "run-old"]


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    """With what it is for."""
    (tmp_path / "file").touch()
    with pytest.raises(PlatformError) as caught, folder_of_run(tmp_path / "file" / "dbt", "dbt's files"):
        pass
    assert str(caught.value) == (
        "The folder for dbt's files cannot be made: Not a directory. "
        f"Where: {tmp_path}/file/dbt. Next: set FLOWS_HOME to a folder that can be written."
    )
