"""The folder of a laptop run: one session at a time, and one sentence when that cannot be."""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from flow_of_flows.errors import ConfigurationError, PlatformError
from flow_of_flows.home import Home

API = "http://127.0.0.1:4200/api"


def test_a_session_makes_its_folders_and_tells_its_address(tmp_path: Path) -> None:
    """Other commands find the server; afterwards they do not."""
    home = Home(tmp_path / "home")
    assert home.running_api() is None
    with home.session(API):
        assert home.running_api() == API
        assert json.loads(home.session_file.read_text()) == {"pid": os.getpid(), "api": API}
        assert sorted(path.name for path in home.folder.iterdir()) == [
            ".gitignore",
            "logs",
            "prefect",
            "session.json",
            "session.lock",
        ]
    assert home.running_api() is None
    assert not home.session_file.exists()


def test_a_second_session_of_the_same_folder_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    """One sentence that says who is in the way."""
    home = Home(tmp_path)
    with home.session(API):
        with pytest.raises(ConfigurationError) as caught, home.session("http://127.0.0.1:4201/api"):
            pass
        assert home.running_api() == API
    assert str(caught.value) == (
        f"Another session uses this project folder. Where: {tmp_path} (see session.json). "
        "Next: wait for it, stop it, or set FLOWS_HOME to another folder."
    )
    with home.session(API):
        assert home.running_api() == API


def test_a_session_that_failed_leaves_the_folder_free(tmp_path: Path) -> None:
    """Whatever ended it."""
    home = Home(tmp_path)
    with pytest.raises(LookupError), home.session(API):
        raise LookupError
    assert home.running_api() is None


def test_the_file_of_a_session_that_died_counts_for_nothing(tmp_path: Path) -> None:
    """A dead process holds no lock, and its address is nobody's."""
    home = Home(tmp_path)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    home.session_file.write_text(json.dumps({"pid": dead.pid, "api": "http://127.0.0.1:1/api"}))
    assert home.running_api() is None
    with home.session(API):
        assert home.running_api() == API


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '{"pid": "me", "api": "x"}'])
def test_a_file_that_is_no_sessions_counts_for_nothing(text: str, tmp_path: Path) -> None:
    """Half written or not ours."""
    home = Home(tmp_path)
    home.session_file.write_text(text)
    assert home.running_api() is None


@pytest.mark.parametrize("place", ["home", "home/below"])
def test_a_file_in_the_place_of_the_folder_is_told(place: str, tmp_path: Path) -> None:
    """Or in the place of one above it."""
    (tmp_path / "home").touch()
    with pytest.raises(PlatformError) as caught, Home(tmp_path / place).session(API):
        pass
    assert str(caught.value) == (
        f"The folder of this project cannot be written: Not a directory. Where: {tmp_path / place / 'prefect'}. "
        "Next: make it writable, free some space, or set FLOWS_HOME to another folder."
    )


def test_a_folder_that_nobody_can_write_is_told() -> None:
    """Also for root, whom permissions do not stop: the kernel makes nothing below /proc."""
    with pytest.raises(PlatformError) as caught, Home(Path("/proc/home")).session(API):
        pass
    assert str(caught.value) == (
        "The folder of this project cannot be written: No such file or directory. Where: /proc/home. "
        "Next: make it writable, free some space, or set FLOWS_HOME to another folder."
    )


def test_a_full_disk_is_told_and_the_lock_given_back(tmp_path: Path) -> None:
    """The file of the session cannot be written; a device that is always full stands in for it."""
    home = Home(tmp_path)
    home.session_file.symlink_to("/dev/full")
    with pytest.raises(PlatformError) as caught, home.session(API):
        pass
    assert str(caught.value).startswith("The folder of this project cannot be written: No space left on device. ")
    with (tmp_path / "session.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_database_that_is_adopted_has_nothing_of_a_server_that_was_killed(tmp_path: Path) -> None:
    """SQLite would take such a log for that of the new database."""
    other, home = Home(tmp_path / "other"), Home(tmp_path / "home")
    for each in (other, home):
        each.prefect.mkdir(parents=True)
    with closing(sqlite3.connect(other.database)) as database:
        database.execute("create table flow (id)")
    leftovers = [home.prefect / f"prefect.db-{end}" for end in ("wal", "shm")]
    for leftover in leftovers:
        leftover.write_bytes(b"of another database")
    home.adopt(other)
    assert [leftover.exists() for leftover in leftovers] == [False, False]
    with closing(sqlite3.connect(home.database)) as database:
        assert database.execute("select count(*) from flow").fetchall() == [(0,)]
