"""Publications on a folder and on S3: newer replaces older, whole, whoever writes at once, and the way back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest

from flows.errors import ConfigurationError, PlatformError
from flows.transform import production, publishing
from flows.transform.manifests import Identity
from flows.transform.production import Missing, Production
from flows.transform.publications import LOG
from flows.transform.publishing import HeldOff, publish, read_log, rollback
from flows.transform.store import Store, Stored
from tests.fixtures.stores import NOON, artifacts, made, manifest

ME = Identity("tiny", "duckdb", "1.11.16")


@pytest.fixture
def swept(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not in the log is taken for abandoned at once."""
    monkeypatch.setattr(publishing, "ABANDONED", timedelta(days=-1))


def do(store: Store, minute: int, text: str, keep: int = 10, made_of: Mapping[str, str] | None = None) -> str | None:
    """Publish; None, or why not."""
    ended = publish(store, made(minute, **(made_of or {})), artifacts(text), keep)
    return ended.reason if isinstance(ended, HeldOff) else None


def marks(store: Store) -> tuple[str, str]:
    """Whose manifest readers get, and whose is in `artifacts/`."""
    found = production.read(store, ME)
    assert isinstance(found, Production), found
    return mark(found.manifest), mark(store.read("artifacts/manifest.json") or b"")


def mark(data: bytes) -> str:
    """The mark of a manifest of `artifacts`."""
    return data.partition(b'"mark": "')[2].partition(b'"')[0].decode()


def at(minute: int) -> datetime:
    """So many minutes after noon."""
    return NOON + timedelta(minutes=minute)


@dataclass(frozen=True)
class Watched(Store):
    """A store that writes down what is written, and does something before a write."""

    inner: Store
    written: list[str] = field(default_factory=list)
    before: dict[str, Callable[[], object]] = field(default_factory=dict)

    def look(self, key: str) -> Stored | None:
        """Of the store within."""
        return self.inner.look(key)

    def write(self, key: str, data: bytes) -> None:
        """Written down."""
        self._meet(key)
        self.inner.write(key, data)

    def replace(self, key: str, data: bytes, version: str | None) -> bool:
        """Written down."""
        self._meet(key)
        return self.inner.replace(key, data, version)

    def folders(self, prefix: str) -> dict[str, datetime]:
        """Of the store within."""
        return self.inner.folders(prefix)

    def remove(self, prefix: str) -> None:
        """Of the store within."""
        self.inner.remove(prefix)

    def describe(self) -> str:
        """Of the store within."""
        return self.inner.describe()

    def _meet(self, key: str) -> None:
        self.written.append(key)
        if act := self.before.pop(key, None):
            act()


class Killed(BaseException):
    """The process ends here."""


def kill() -> None:
    """As SIGKILL does, nothing is put right afterwards."""
    raise Killed


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
    """Readers take what the log says and are told of the copies, which the next run puts right."""
    do(store, 1, "before")
    with pytest.raises(Killed):
        do(Watched(store, before={key: kill}), 2, "killed")
    assert marks(store) == ("killed", "before")
    found = production.read(store, ME)
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


@pytest.mark.parametrize(("what", "theirs"), [("project", "another"), ("adapter", "snowflake")])
def test_what_belongs_to_another_is_not_replaced(store: Store, what: str, theirs: str) -> None:
    """The store is not this run's, whoever is newer; nor is it compared with."""
    do(store, 1, "theirs", made_of={what: theirs})
    own = {"project": "tiny", "adapter": "duckdb"}[what]
    reason = f"it is of another {what}: {theirs}, and this run's is {own}"
    assert do(store, 2, "ours") == f"what is there is not this run's to replace: {reason}"
    store.write("artifacts/publications.json", b'{"publications": []}')
    key = {"project": "project_name", "adapter": "adapter_type"}[what]
    store.write("artifacts/manifest.json", manifest("theirs", **{key: theirs}))
    with pytest.raises(ConfigurationError) as caught:
        production.read(store, ME)
    assert str(caught.value) == (
        f"The production manifest is refused: {reason}. Where: {store.describe()}. "
        "Next: set FLOWS_STATE_STORE to the store of this project and warehouse."
    )


def test_what_changed_is_only_put_onto_what_it_was_compared_with(store: Store) -> None:
    """An older run in full may have built the rest anew, from other code, while this one ran."""
    do(store, 1, "compared with")
    watched = Watched(store, before={LOG: lambda: do(store, 2, "another")})
    reason = "production is not what this run compared with any more, and it built only what differed"
    assert publish(watched, made(3), artifacts("changed"), 10, onto=made(1).id) == HeldOff(reason)
    assert marks(store) == ("another", "another")
    assert not isinstance(publish(store, made(3), artifacts("changed"), 10, onto=made(2).id), HeldOff)
    assert marks(store) == ("changed", "changed")
    assert publish(store, made(4), artifacts("changed"), 10, onto="") == HeldOff(reason)


def test_a_manifest_that_another_tool_put_there_is_used_until_the_first_publication(store: Store) -> None:
    """As a bucket that dbt's artifacts were copied to before."""
    store.write("artifacts/manifest.json", manifest("copied"))
    assert marks(store) == ("copied", "copied")
    assert do(store, 1, "ours") is None
    assert marks(store) == ("ours", "ours")


def test_a_stranger_of_another_project_is_not_replaced(store: Store) -> None:
    """Its manifest says whose it is."""
    store.write("artifacts/manifest.json", manifest("theirs", project_name="another"))
    assert do(store, 1, "ours") == (
        "what is there is not this run's to replace: it is of another project: another, and this run's is tiny"
    )


@pytest.mark.parametrize(
    ("started", "reason"), [(2, "a run that started later has written its artifacts there"), (0, None)]
)
def test_run_results_of_another_tool_say_how_new_they_are(store: Store, started: int, reason: str | None) -> None:
    """As an earlier version of this package wrote them, without a log."""
    content = f'{{"metadata": {{"invocation_started_at": "{at(started).isoformat()}"}}}}'
    store.write("artifacts/run_results.json", content.encode())
    assert do(store, 1, "ours") == reason


BROKEN: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "it is not JSON, or only a part of it"),
    "half": (manifest("whole")[:100], "it is not JSON, or only a part of it"),
    "not text": (b"\xff\x00", "it is not JSON, or only a part of it"),
    "a list": (b"[]", "it is no manifest of dbt: it has no metadata or no nodes"),
    "run results": (b'{"metadata": {}, "results": []}', "it is no manifest of dbt: it has no metadata or no nodes"),
    "another schema": (manifest(dbt_schema_version="v12"), "it is no manifest of dbt: its schema is v12"),
    "an older dbt": (
        manifest(dbt_version="1.9.3"),
        "it is of another version of dbt: 1.9.3, and this run's is 1.11.16",
    ),
    "a newer dbt": (
        manifest(dbt_version="2.0.0"),
        "it is of another version of dbt: 2.0.0, and this run's is 1.11.16",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_manifest_that_is_of_no_use_is_refused_with_its_reason(store: Store, case: str) -> None:
    """And replaced by the next publication."""
    data, reason = BROKEN[case]
    store.write("artifacts/manifest.json", data)
    assert production.read(store, ME) == Missing(f"The production manifest is refused: {reason}")
    assert do(store, 1, "ours") is None
    assert marks(store) == ("ours", "ours")


def test_a_manifest_of_another_patch_of_dbt_is_used(store: Store) -> None:
    """Only a minor version changes what everything is made of."""
    store.write("artifacts/manifest.json", manifest("patch", dbt_version="1.11.2"))
    assert marks(store) == ("patch", "patch")


def test_a_damaged_publication_is_refused_with_its_reason(store: Store) -> None:
    """Something else wrote over the manifest, in both places."""
    do(store, 1, "ours")
    store.write("artifacts/manifest.json", b"{")
    store.write(f"{made(1).folder}/manifest.json", b"{")
    assert production.read(store, ME) == Missing(
        f"The production artifacts are refused: manifest.json of publication {made(1).id} is not what was published. "
        f"Where: {store.describe()}/{made(1).folder}."
    )


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        (b"{", "Invalid JSON: EOF while parsing an object at line 1 column 1"),
        (b'{"version": 2}', "version: Input should be 1"),
    ],
)
def test_a_log_that_cannot_be_read_is_neither_used_nor_replaced(store: Store, log: bytes, reason: str) -> None:
    """A later version of this package may have written it."""
    store.write(LOG, log)
    fact = f"The log of publications cannot be read: {reason}. Where: {store.describe()}/{LOG}."
    assert production.read(store, ME) == Missing(f"The production artifacts are refused: {fact}")
    with pytest.raises(ConfigurationError) as caught:
        do(store, 1, "ours")
    assert caught.value.fact == fact
    assert store.read(LOG) == log


def test_a_rollback_brings_an_earlier_publication_back_whole(store: Store) -> None:
    """As a new publication, so that it has its place in the order."""
    do(store, 1, "good")
    do(store, 2, "bad")
    back = rollback(store, None, at(3), keep=10)
    assert (back.origin, back.run, back.time) == (made(1).id, made(1).run, at(3))
    assert marks(store) == ("good", "good")
    assert store.read("artifacts/run_results.json") == b"results of good"
    assert len(read_log(store)[0].publications) == 3


def test_a_run_that_started_before_a_rollback_does_not_undo_it(store: Store) -> None:
    """It was built by what was rolled back from; one that starts afterwards publishes."""
    do(store, 1, "good")
    do(store, 2, "bad")
    rollback(store, None, at(5), keep=10)
    reason = f"production was rolled back to {made(1).id} after this run had started"
    assert do(store, 4, "also bad") == reason
    assert marks(store) == ("good", "good")
    assert do(store, 6, "mended") is None
    assert marks(store) == ("mended", "mended")


def test_a_run_that_publishes_while_a_rollback_is_made_is_not_lost(store: Store) -> None:
    """The rollback was decided on before it, and is refused."""
    do(store, 1, "good")
    do(store, 2, "bad")
    watched = Watched(store, before={LOG: lambda: do(store, 3, "newer")})
    with pytest.raises(PlatformError) as caught:
        rollback(watched, None, at(4), keep=10)
    assert caught.value.what == "Nothing was rolled back: a run has published meanwhile"
    assert marks(store) == ("newer", "newer")
    assert sorted(store.folders("history")) == [made(1).id, made(2).id, made(3).id]


def test_a_rollback_that_is_made_while_a_run_publishes_is_not_undone(store: Store) -> None:
    """The run looks at the log again."""
    do(store, 1, "good")
    do(store, 2, "bad")
    watched = Watched(store, before={LOG: lambda: rollback(store, None, at(4), keep=10)})
    reason = f"production was rolled back to {made(1).id} after this run had started"
    assert do(watched, 3, "also bad") == reason
    assert marks(store) == ("good", "good")


def test_rollbacks_go_back_run_by_run_and_pass_over_what_was_withdrawn(store: Store) -> None:
    """The second does not bring the first's bad run back, nor does one after a new run."""
    for minute in (1, 2, 3):
        do(store, minute, str(minute))
    rollback(store, None, at(4), keep=10)
    assert marks(store) == ("2", "2")
    rollback(store, None, at(5), keep=10)
    assert marks(store) == ("1", "1")
    do(store, 6, "6")
    rollback(store, None, at(7), keep=10)
    assert marks(store) == ("1", "1")


@pytest.mark.parametrize("name", [made(1).id, str(made(1).run)])
def test_a_rollback_goes_to_a_publication_by_its_id_or_its_runs(store: Store, name: str) -> None:
    """Any that is kept."""
    for minute in (1, 2, 3):
        do(store, minute, str(minute))
    rollback(store, name, at(4), keep=10)
    assert marks(store) == ("1", "1")


def test_a_rollback_has_somewhere_to_go(store: Store) -> None:
    """Else it says what there is."""
    for to, what in ((None, "There is no earlier publication"), ("nothing", "There is no publication nothing")):
        with pytest.raises(ConfigurationError) as caught:
            rollback(store, to, at(1), keep=10)
        assert caught.value.fact == f"{what}. Where: {store.describe()} (kept: none)."
    do(store, 1, "only")
    with pytest.raises(ConfigurationError) as caught:
        rollback(store, made(1).id, at(2), keep=10)
    assert caught.value.what == f"{made(1).id} is production already"


def test_a_rollback_never_brings_back_half_a_publication(store: Store) -> None:
    """A file that is gone, or another than was published."""
    do(store, 1, "good")
    do(store, 2, "bad")
    store.write(f"{made(1).folder}/run_results.json", b"half")
    with pytest.raises(ConfigurationError) as caught:
        rollback(store, None, at(3), keep=10)
    assert caught.value.what == f"run_results.json of publication {made(1).id} is not what was published"
    assert marks(store) == ("bad", "bad")


def test_a_clock_behind_does_not_put_a_rollback_before_what_it_replaces(store: Store) -> None:
    """Its place is after, whatever the machine's clock says."""
    do(store, 1, "good")
    do(store, 9, "bad")
    assert rollback(store, None, at(3), keep=10).time == at(9)
    assert marks(store) == ("good", "good")
