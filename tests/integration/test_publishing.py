"""Publications on a folder and on S3: newer replaces older, whole, whoever writes at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from flow_of_flows.dbt.state import Store, publishing
from flow_of_flows.dbt.state.publications import LOG
from flow_of_flows.dbt.state.publishing import Production, PublicationConflict, publish, read_log
from tests.fixtures.publications import ME, Killed, Watched, do, kill, marks
from tests.fixtures.stores import artifacts, made


@pytest.fixture
def swept(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not in the log is taken for abandoned at once."""
    monkeypatch.setattr(publishing, "ABANDONED", timedelta(days=-1))


def test_files_come_first_then_the_log_then_the_copies_with_the_manifest_last(store: Store) -> None:
    """Who sees a manifest sees all of its run."""
    watched = Watched(store)
    assert do(watched, 1, "a") is None
    folder = made(1).folder
    assert watched.written == [
        f"{folder}/manifest.json",
        f"{folder}/run_results.json",
        LOG,
        "artifacts/run_results.json",
        "artifacts/manifest.json",
    ]


def test_a_newer_run_replaces_an_older_one_and_never_the_other_way(store: Store) -> None:
    """By when they started, not by when they end."""
    assert do(store, 2, "second") is None
    assert do(store, 1, "first") == f"run {made(2).run} started later and has published"
    assert marks(store) == ("second", "second")
    assert do(store, 3, "third") is None
    assert marks(store) == ("third", "third")
    assert sorted(store.folders("history")) == [made(2).id, made(3).id]


def test_an_older_run_that_publishes_at_once_does_not_win(store: Store) -> None:
    """It read the log before the newer one wrote it."""
    watched = Watched(store, before={LOG: lambda: do(store, 2, "newer")})
    assert do(watched, 1, "older") == f"run {made(2).run} started later and has published"
    assert marks(store) == ("newer", "newer")
    assert sorted(store.folders("history")) == [made(2).id]


def test_a_newer_run_that_meets_an_older_one_goes_on(store: Store) -> None:
    """It lost the race for the log, and replaces what it lost to."""
    watched = Watched(store, before={LOG: lambda: do(store, 1, "older")})
    assert do(watched, 2, "newer") is None
    assert marks(store) == ("newer", "newer")


@pytest.mark.parametrize("copied", ["artifacts/run_results.json", "artifacts/manifest.json"])
def test_copies_of_a_run_that_was_overtaken_stop(store: Store, copied: str) -> None:
    """The newer one publishes while the older one copies: no file of the older one is left."""
    watched = Watched(store, before={copied: lambda: do(store, 2, "newer")})
    assert do(watched, 1, "older") is None
    assert marks(store) == ("newer", "newer")
    assert store.read("artifacts/run_results.json") == b"results of newer"


@pytest.mark.parametrize("key", [f"{made(2).folder}/manifest.json", f"{made(2).folder}/run_results.json", LOG])
@pytest.mark.usefixtures("swept")
def test_a_run_killed_before_the_log_has_published_nothing(store: Store, key: str) -> None:
    """What it left is removed by the next."""
    do(store, 1, "before")
    with pytest.raises(Killed):
        do(Watched(store, before={key: kill}), 2, "killed")
    assert marks(store) == ("before", "before")
    do(store, 3, "after")
    assert marks(store) == ("after", "after")
    assert sorted(store.folders("history")) == [made(1).id, made(3).id]


@pytest.mark.parametrize("key", ["artifacts/run_results.json", "artifacts/manifest.json"])
def test_a_run_killed_after_the_log_has_published_all_of_it(store: Store, key: str) -> None:
    """Readers take what the log says and warn about the copies, which the next run corrects."""
    do(store, 1, "before")
    with pytest.raises(Killed):
        do(Watched(store, before={key: kill}), 2, "killed")
    assert marks(store) == ("killed", "before")
    found = publishing.read_production(store, ME)
    assert isinstance(found, Production)
    assert found.run_results == b"results of killed"
    (warning,) = found.warnings
    assert warning == (
        f"artifacts/manifest.json is not that of publication {made(2).id}: something else changed it, or a run was "
        f"stopped while it published. That in {made(2).folder} is used"
    )
    do(store, 3, "after")
    assert marks(store) == ("after", "after")


def test_six_runs_at_once_end_with_the_newest(store: Store) -> None:
    """In threads, in no order."""
    with ThreadPoolExecutor(6) as pool:
        ended = list(pool.map(lambda minute: do(store, minute, str(minute)), (5, 1, 12, 3, 8, 11)))
    assert ended[2] is None
    assert marks(store) == ("12", "12")
    assert store.read("artifacts/run_results.json") == b"results of 12"
    times = [entry.time for entry in read_log(store)[0].publications]
    assert times == sorted(times, reverse=True)


@pytest.mark.usefixtures("swept")
def test_only_so_many_publications_are_kept(store: Store) -> None:
    """The oldest go, in the log and in the store."""
    for minute in range(1, 5):
        do(store, minute, str(minute), keep=2)
    assert [entry.id for entry in read_log(store)[0].publications] == [made(4).id, made(3).id]
    assert sorted(store.folders("history")) == [made(3).id, made(4).id]


def test_what_changed_is_only_put_onto_what_it_was_compared_with(store: Store) -> None:
    """An older run in full may have built the rest anew, from other code, while this one ran."""
    do(store, 1, "compared with")
    watched = Watched(store, before={LOG: lambda: do(store, 2, "another")})
    reason = "production is not what this run compared with any more, and it built only what differed"
    assert publish(watched, made(3), artifacts("changed"), 10, base=made(1).id) == PublicationConflict(reason)
    assert marks(store) == ("another", "another")
    assert not isinstance(publish(store, made(3), artifacts("changed"), 10, base=made(2).id), PublicationConflict)
    assert marks(store) == ("changed", "changed")
    assert publish(store, made(4), artifacts("changed"), 10, base="") == PublicationConflict(reason)
