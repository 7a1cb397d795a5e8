"""The state store keeps one promise on a folder and on S3: whole objects, and replacement on a condition."""

from __future__ import annotations

import threading

import pytest

from flow_of_flows.dbt.state import Store


def test_what_is_written_is_read_back_whole(store: Store) -> None:
    """Any bytes; a key that was never written has none."""
    assert store.read("runs/1/run.json") is None
    store.write("runs/1/run.json", b"\x00first")
    store.write("runs/1/run.json", b"second")
    assert store.read("runs/1/run.json") == b"second"


def test_a_key_is_created_once(store: Store) -> None:
    """A writer that expects nothing there learns that there is something."""
    assert store.replace("log.json", b"first", None)
    assert not store.replace("log.json", b"second", None)
    assert store.read("log.json") == b"first"


def test_only_the_version_that_was_seen_is_replaced(store: Store) -> None:
    """A version holds for one replacement, and not for a key that is gone."""
    store.write("log.json", b"first")
    seen = store.look("log.json")
    assert seen is not None
    assert store.replace("log.json", b"second", seen.version)
    assert not store.replace("log.json", b"third", seen.version)
    assert not store.replace("other.json", b"third", seen.version)
    assert store.read("log.json") == b"second"
    assert store.read("other.json") is None


def test_of_writers_at_once_one_wins(store: Store) -> None:
    """Eight that saw the same version."""
    store.write("log.json", b"start")
    seen = store.look("log.json")
    assert seen is not None
    won: list[int] = []
    start = threading.Barrier(8)

    def write(number: int) -> None:
        start.wait()
        if store.replace("log.json", str(number).encode(), seen.version):
            won.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [str(number).encode() for number in won] == [store.read("log.json")]


def test_folders_are_those_right_below(store: Store) -> None:
    """By name, also where files are deeper; a name that only begins alike is another folder."""
    for key in ("runs/1/a.json", "runs/1/b.json", "runs/2/c.json", "runs-old/3/d.json"):
        store.write(key, b"")
    assert sorted(store.folders("runs")) == ["1", "2"]
    assert store.folders("nothing") == {}


def test_a_folder_is_removed_with_all_that_is_in_it(store: Store) -> None:
    """And nothing else; one that is gone already is not an error."""
    for key in ("history/1/a.json", "history/1/b.json", "history/10/c.json"):
        store.write(key, b"")
    store.remove("history/1")
    store.remove("history/1")
    assert sorted(store.folders("history")) == ["10"]


@pytest.mark.parametrize("keep", [0, 2, 5])
def test_the_folders_that_were_written_to_last_are_kept(store: Store, keep: int) -> None:
    """The others go."""
    for number in range(3):
        store.write(f"runs/{number}/run.json", b"{}")
    written = sorted(store.folders("runs").items(), key=lambda folder: folder[1], reverse=True)

    store.prune("runs", keep)

    assert set(store.folders("runs")) == {name for name, _ in written[:keep]}
