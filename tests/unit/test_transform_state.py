"""The state store on a folder: whole writes, and only a newer run replaces production."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from flows.errors import PlatformError
from flows.transform.state import KEPT_RUNS, SavedRun, fetch_production, publish, read_run, save_run
from flows.transform.store import FolderStore

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
RUN = UUID(int=1)
SAVED = SavedRun(project="p", target="t", dbt="1", select=None, exclude=None, vars={}, full_refresh=False)


def artifacts(started: datetime, text: str) -> dict[str, bytes]:
    """Artifacts of a run."""
    results = json.dumps({"metadata": {"invocation_started_at": started.isoformat()}, "results": []})
    return {"manifest.json": text.encode(), "run_results.json": results.encode()}


def test_newer_run_replaces_older(tmp_path: Path) -> None:
    """The artifacts of a later run replace those of an earlier one."""
    store = FolderStore(tmp_path / "state")

    assert publish(store, artifacts(NOON, "first"), NOON)
    later = NOON + timedelta(seconds=1)
    assert publish(store, artifacts(later, "second"), later)

    assert store.read("artifacts/manifest.json") == b"second"


def test_older_run_never_replaces_newer(tmp_path: Path) -> None:
    """A run that started earlier and ends later leaves what is there."""
    store = FolderStore(tmp_path)
    publish(store, artifacts(NOON, "newer"), NOON)

    earlier = NOON - timedelta(seconds=1)
    assert not publish(store, artifacts(earlier, "older"), earlier)

    assert store.read("artifacts/manifest.json") == b"newer"
    assert store.read("artifacts/run_results.json") == artifacts(NOON, "")["run_results.json"]


def test_manifest_is_written_last(tmp_path: Path) -> None:
    """Who sees a manifest sees all of its run."""
    written: list[str] = []

    class Recorder(FolderStore):
        def write(self, key: str, data: bytes) -> None:
            written.append(key)
            super().write(key, data)

    publish(Recorder(tmp_path), {**artifacts(NOON, "m"), "sources.json": b"{}"}, NOON)

    assert written == ["artifacts/run_results.json", "artifacts/sources.json", "artifacts/manifest.json"]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"metadata": {}}', b'{"metadata": {"invocation_started_at": 1}}']
)
def test_unreadable_results_are_replaced(tmp_path: Path, content: bytes) -> None:
    """What does not say when it started holds nobody off."""
    store = FolderStore(tmp_path)
    store.write("artifacts/run_results.json", content)

    assert publish(store, artifacts(NOON, "new"), NOON)


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

    assert read_run(store, RUN) == (SAVED, b"results")
    assert read_run(store, UUID(int=2)) is None


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

    save_run(store, runs[-1], SAVED, {})

    assert {folder.name for folder in (tmp_path / "runs").iterdir()} == {str(run) for run in runs if run != runs[1]}


def test_production_is_fetched_for_dbt(tmp_path: Path) -> None:
    """A manifest and what is beside it are copied; without a manifest nothing is."""
    store = FolderStore(tmp_path / "state")
    assert not fetch_production(store, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()

    publish(store, artifacts(NOON, "m"), NOON)

    assert fetch_production(store, tmp_path / "copy")
    assert sorted(path.name for path in (tmp_path / "copy").iterdir()) == ["manifest.json", "run_results.json"]


def test_store_that_is_a_file(tmp_path: Path) -> None:
    """A folder that cannot be used is named, with the setting that names it."""
    (tmp_path / "file").write_text("")
    store = FolderStore(tmp_path / "file")

    with pytest.raises(PlatformError, match=r"^The state store cannot be used: Not a directory\. Where: .*/file\."):
        store.read("a")
    with pytest.raises(PlatformError, match=r"^The state store cannot be used: File exists\. Where: .*/file\."):
        publish(store, {}, NOON)
