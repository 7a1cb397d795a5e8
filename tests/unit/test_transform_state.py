"""The state store on a folder: whole writes, and what a run leaves to go on from."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from uuid import UUID

import pytest

from flow_of_flows.dbt.state import FolderStore
from flow_of_flows.dbt.state.saved_runs import KEPT_RUNS, begin_run, finish_run, read_run, save_results, save_run
from flow_of_flows.errors import PlatformError
from tests.fixtures.stores import SAVED

RUN = UUID(int=1)


def test_writes_leave_nothing_half_done(tmp_path: Path) -> None:
    """A write leaves its file and no other."""
    store = FolderStore(tmp_path)
    store.write("a/b.json", b"1")
    store.write("a/b.json", b"2")

    assert [(path.name, path.read_bytes()) for path in (tmp_path / "a").iterdir()] == [("b.json", b"2")]


def test_saved_run_comes_back(tmp_path: Path) -> None:
    """What was kept of a run is read back whole; an id that left nothing gives nothing."""
    store = FolderStore(tmp_path)
    save_run(store, RUN, SAVED, {"run_results.json": b"results"})

    digest = hashlib.sha256(b"results").hexdigest()
    assert read_run(store, RUN) == (SAVED.model_copy(update={"digest": digest}), b"results")
    assert read_run(store, UUID(int=2)) is None


def test_results_that_were_replaced_since_are_not_complete(tmp_path: Path) -> None:
    """A process that was thought dead may write the results of less."""
    store = FolderStore(tmp_path)
    save_run(store, RUN, SAVED, {"run_results.json": b"all"})
    save_results(store, RUN, b"some")

    found = read_run(store, RUN)

    assert found is not None
    assert (found[0].complete, found[1]) == (False, b"some")


def test_a_run_that_begins_as_another_one_removes_what_it_left(tmp_path: Path) -> None:
    """The results of one project are no start for another; those of the same stay until they are replaced."""
    store = FolderStore(tmp_path)
    begun = SAVED.model_copy(update={"complete": False})
    for project, left in (
        ("p", ["run.json", "run_results.json", "sources.json"]),
        ("q", ["run.json", "run_results.json"]),
    ):
        save_run(store, RUN, SAVED, {"run_results.json": b"all", "sources.json": b"{}"})
        begin_run(store, RUN, begun.model_copy(update={"project": project}), {"run_results.json": b"none"})

        found = read_run(store, RUN)
        assert found is not None
        assert (found[0].project, found[0].complete, found[1]) == (project, False, b"none")
        assert sorted(path.name for path in (tmp_path / "runs" / str(RUN)).iterdir()) == left


def test_of_a_run_that_succeeded_what_says_so_is_kept(tmp_path: Path) -> None:
    """The manifest goes."""
    store = FolderStore(tmp_path)
    save_run(store, RUN, SAVED, {"manifest.json": b"large", "run_results.json": b"some"})

    finish_run(store, RUN, SAVED, b"all")

    found = read_run(store, RUN)
    assert found is not None
    assert (found[0].done, found[0].complete, found[1]) == (True, True, b"all")
    assert sorted(path.name for path in (tmp_path / "runs" / str(RUN)).iterdir()) == ["run.json", "run_results.json"]


def test_saved_run_of_another_version_is_not_used(tmp_path: Path) -> None:
    """A description that does not fit is as good as none."""
    store = FolderStore(tmp_path)
    save_run(store, RUN, SAVED, {"run_results.json": b"results"})
    store.write(f"runs/{RUN}/run.json", b'{"another": 1}')

    assert read_run(store, RUN) is None


def test_only_the_newest_runs_are_kept(tmp_path: Path) -> None:
    """The run that was written to longest ago goes when one too many is kept."""
    store = FolderStore(tmp_path)
    runs = [UUID(int=number) for number in range(KEPT_RUNS + 1)]
    for number, run in enumerate(runs[:-1]):
        store.write(f"runs/{run}/run.json", b"{}")
        os.utime(tmp_path / "runs" / str(run), (number, number))
    os.utime(tmp_path / "runs" / str(runs[0]), None)

    save_run(store, runs[-1], SAVED, {"run_results.json": b"{}"})

    assert {folder.name for folder in (tmp_path / "runs").iterdir()} == {str(run) for run in runs if run != runs[1]}


def test_store_that_is_a_file(tmp_path: Path) -> None:
    """A folder that cannot be used is named, with the setting that names it."""
    (tmp_path / "file").write_text("")
    store = FolderStore(tmp_path / "file")

    with pytest.raises(PlatformError, match=r"^The state store cannot be used: Not a directory\. Where: .*/file\."):
        store.read("a")
    with pytest.raises(PlatformError, match=r"^The state store cannot be used: File exists\. Where: .*/file\."):
        store.replace("a", b"", None)
