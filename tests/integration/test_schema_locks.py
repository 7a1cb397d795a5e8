"""The lock of a schema in each kind of store: who holds it, who waits, and when a place is free."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flow_of_flows.dbt import build_lock
from flow_of_flows.dbt.build_lock import BuildLock, WhenBusy
from flow_of_flows.dbt.locks import schema_lock
from flow_of_flows.dbt.locks.record import LockHolder, LockRecord, LockStore, PrefectVariables
from flow_of_flows.dbt.locks.schema_lock import SchemaLock
from flow_of_flows.dbt.locks.schemas import WrittenSchemas, written
from flow_of_flows.dbt.state import FolderStore, S3Store
from flow_of_flows.errors import PlatformError
from tests.conditions import eventually
from tests.fixtures.aws import BUCKET, REGION, STATE_POLICY, allowed_only
from tests.fixtures.broken_front import answering
from tests.fixtures.environment import set_variables
from tests.fixtures.locked_schemas import node, profile
from tests.fixtures.server import Embedded


@pytest.fixture(params=["folder", "s3", "prefect"])
def lock_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LockStore]:
    """A lock store of each kind."""
    if request.param == "folder":
        yield FolderStore(tmp_path / "state")
    elif request.param == "s3":
        request.getfixturevalue("bucket")
        yield S3Store(BUCKET, "team/", REGION)
    else:
        server: Embedded = request.getfixturevalue("embedded")
        with temporary_settings({PREFECT_API_URL: server.api}):
            yield PrefectVariables()


@dataclass(frozen=True)
class Builders:
    """Builders that share a store, each with a lock of its own on one warehouse."""

    store: LockStore
    key: str

    def lock(self, *schemas: str, run: UUID | None = None, process: str = "") -> SchemaLock:
        """Return the lock of one more builder."""
        token = uuid4().hex
        holder = LockHolder(token=token, run=run or uuid4(), title=f"run {token}", schemas=schemas, process=process)
        return SchemaLock(self.store, self.key, holder)

    @property
    def record(self) -> LockRecord:
        """What the store has."""
        return LockRecord.parse(self.store.look(self.key), "here")


@pytest.fixture
def builders(lock_store: LockStore) -> Builders:
    """Builders on a warehouse that nobody else uses."""
    return Builders(lock_store, f"locks/{uuid4().hex}/holders.json")


def test_of_two_builds_into_one_schema_the_second_waits(builders: Builders) -> None:
    """Until the first has left; a build into another schema does not."""
    one, two, other = builders.lock("a", "b"), builders.lock("b", "c"), builders.lock("d")
    assert one.try_acquire() is None
    assert two.try_acquire() == one.me
    assert other.try_acquire() is None
    one.release()
    assert two.try_acquire() is None
    assert builders.record.holders == (other.me, two.me)
    assert builders.record.fence == 3


def test_of_many_that_come_at_once_one_holds_the_lock(builders: Builders) -> None:
    """The others learn of it."""
    many = [builders.lock("a") for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        ahead = list(pool.map(SchemaLock.try_acquire, many))
    (holder,) = builders.record.holders
    assert sorted(busy.token if busy else holder.token for busy in ahead) == [holder.token] * 6
    assert ahead.count(None) == 1


def test_the_next_process_of_a_run_takes_over_at_once(builders: Builders) -> None:
    """The process before finds its lock lost."""
    run = uuid4()
    before, after = builders.lock("a", run=run), builders.lock("a", run=run)
    assert before.try_acquire() is None
    assert after.try_acquire() is None
    before.beat()
    assert before.lost == f"{after.me.title} took it over"
    assert not before.is_fresh
    after.beat()
    assert (after.lost, after.is_fresh) == (None, True)


def test_a_holder_without_heartbeats_loses_its_place_after_a_lease(
    builders: Builders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of whoever waits; one that beats keeps it."""
    monkeypatch.setattr(schema_lock, "LEASE_SECONDS", 1.0)
    silent, waiting = builders.lock("a"), builders.lock("a")
    assert silent.try_acquire() is None
    for _ in range(3):
        assert waiting.try_acquire() == builders.record.holders[0]
        silent.beat()
    eventually(lambda: waiting.try_acquire() is None, "the lease is over", within=20)
    silent.beat()
    assert silent.lost == f"{waiting.me.title} took it over"


@pytest.mark.parametrize("when_busy", ["fail", "skip"])
def test_a_dead_builder_keeps_nobody_from_building(
    when_busy: WhenBusy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that does not wait for a build at work watches the holder until its lease is over."""
    monkeypatch.setattr(schema_lock, "LEASE_SECONDS", 1.0)
    monkeypatch.setattr(build_lock, "POLL_SECONDS", 0.2)
    what = WrittenSchemas("postgres db:5432", frozenset({("shop", "analytics")}))
    killed = Builders(FolderStore(tmp_path / "state"), what.key).lock(*what.digests)
    assert killed.try_acquire() is None
    with BuildLock([killed.store], uuid4(), "the next run", when_busy).held(what):
        assert LockRecord.parse(killed.store.look(what.key), "here").holders[0].title == "the next run"


def test_a_holder_whose_process_is_gone_loses_its_place_at_once(builders: Builders) -> None:
    """On the same machine; one that lives keeps it."""
    script = "from flow_of_flows.dbt.locks.schema_lock import identity; print(identity())"
    gone = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip()
    dead, living, next_one = builders.lock("a", process=gone), builders.lock("b", process=schema_lock.identity()), "ab"
    assert (dead.try_acquire(), living.try_acquire()) == (None, None)
    assert builders.lock(*next_one).try_acquire(queue=False) == living.me
    assert builders.lock("a").try_acquire() is None


def test_those_that_wait_have_their_turn_in_the_order_in_which_they_came(builders: Builders) -> None:
    """A build into schemas of both the holder and the first that waits waits for the latter when the former is over."""
    one, two, three, four = (builders.lock(*schemas) for schemas in ("a", "ab", "bc", "d"))
    assert one.try_acquire() is None
    assert (two.try_acquire(), three.try_acquire(), four.try_acquire()) == (one.me, builders.record.queue[0], None)
    assert [waiting.token for waiting in builders.record.queue] == [two.me.token, three.me.token]
    one.release()
    assert three.try_acquire() == builders.record.queue[0]
    assert two.try_acquire() is None
    assert (three.try_acquire(), builders.record.holders) == (two.me, (four.me, two.me))
    two.release()
    assert three.try_acquire() is None
    assert builders.record.queue == ()


def test_a_build_that_is_tried_again_does_not_overtake_one_that_waited_for_it(builders: Builders) -> None:
    """Only the next attempt sees that the killed process is gone: it says so in the record, and waits its turn."""
    killed, waiting, retried = builders.lock("a", process="elsewhere 1 1"), builders.lock("a"), builders.lock("a")
    assert killed.try_acquire() is None
    assert waiting.try_acquire() == killed.me
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schema_lock, "is_gone", lambda identity: identity == "elsewhere 1 1")
        assert retried.try_acquire() == builders.record.queue[0]
    assert builders.record.holders == ()
    assert waiting.try_acquire() is None
    assert retried.try_acquire() == waiting.me


def test_who_stops_waiting_leaves_the_queue(builders: Builders) -> None:
    """At once, so that the next in it has its turn; one that does not wait takes no place."""
    one, two, three = (builders.lock("a") for _ in range(3))
    assert one.try_acquire() is None
    assert builders.lock("a").try_acquire(queue=False) == one.me
    assert two.try_acquire() == one.me
    assert three.try_acquire() == one.me
    one.release()
    two.release()
    assert three.try_acquire() is None


def test_who_waits_confirms_its_place_or_loses_it(builders: Builders, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a lease, as a holder does."""
    monkeypatch.setattr(schema_lock, "LEASE_SECONDS", 1.0)
    monkeypatch.setattr(schema_lock, "BEAT_SECONDS", 0.0)
    one, dead, alive = (builders.lock("a") for _ in range(3))
    assert (one.try_acquire(), dead.try_acquire(), alive.try_acquire()) == (None, one.me, one.me)
    assert alive.try_acquire() == one.me
    assert [waiting.beat for waiting in builders.record.queue] == [0, 1]
    one.release()
    eventually(lambda: alive.try_acquire() is None, "the lease is over", within=20)
    assert builders.record.queue == ()


def test_the_next_process_of_a_run_keeps_its_place_in_the_queue(builders: Builders) -> None:
    """The process before it is gone, and was not seen to be."""
    run = uuid4()
    one, before, later, after = (builders.lock("a", run=each) for each in (None, run, None, run))
    assert [lock.try_acquire() for lock in (one, before, later, after)] == [None, one.me, one.me, one.me]
    one.release()
    assert later.try_acquire() == builders.record.queue[0]
    assert after.try_acquire() is None


def test_a_store_that_fails_now_and_then_does_not_keep_a_dead_holders_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was watched in between adds up."""
    clock = [0.0]
    monkeypatch.setattr(schema_lock, "now", lambda: clock[0])
    builders = Builders(FolderStore(tmp_path / "state"), "locks/warehouse/holders.json")
    dead, waiting = builders.lock("a"), builders.lock("a")
    assert dead.try_acquire() is None
    look = FolderStore.look
    looks, free = 0, False
    while not free:
        looks += 1
        with monkeypatch.context() as patch:
            patch.setattr(FolderStore, "look", _away if looks % 10 == 0 else look)
            with suppress(PlatformError):
                free = waiting.try_acquire() is None
        clock[0] += 1.0
    # Of each ten seconds, the two beside the failed look do not count.
    assert looks == 1 + 34 + 2 * 4


def _away(_store: FolderStore, _key: str) -> None:
    raise PlatformError("away")


def test_a_lock_that_somebody_has_broken_is_lost(builders: Builders) -> None:
    """By an empty record."""
    one = builders.lock("a")
    assert one.try_acquire() is None
    found = builders.store.look(builders.key)
    assert found is not None
    assert builders.store.replace(builders.key, LockRecord().model_dump_json().encode(), found.version)
    one.beat()
    assert one.lost == "it was broken, or given to a build that is over"


def test_a_writer_that_slept_replaces_nothing(builders: Builders) -> None:
    """The version that it saw was passed meanwhile, and what others wrote stays."""
    store, key = builders.store, builders.key
    assert store.replace(key, b'{"holders": [1]}', None)
    seen = store.look(key)
    assert seen is not None
    for text in (b'{"holders": [2]}', b'{"holders": [3]}'):
        now = store.look(key)
        assert now is not None
        assert store.replace(key, text, now.version)
    assert not store.replace(key, b'{"holders": []}', seen.version)
    last = store.look(key)
    assert last is not None
    assert last.data == b'{"holders": [3]}'


def test_a_record_of_many_builds_fits(builders: Builders) -> None:
    """Forty builds of twenty schemas each; a value of Prefect's variables has 5,000 characters at most."""
    holders = tuple(builders.lock(*(uuid4().hex[:12] for _ in range(20))).me for _ in range(40))
    data = LockRecord(holders=holders).model_dump_json().encode()
    assert builders.store.replace(builders.key, data, None)
    assert builders.record.holders == holders


def test_a_damaged_record_is_refused(builders: Builders) -> None:
    """With what to do."""
    assert builders.store.replace(builders.key, b'{"holders": "none"}', None)
    with pytest.raises(PlatformError) as caught:
        builders.lock("a").try_acquire()
    assert caught.value.message == "The record of dbt's schema locks cannot be read"
    assert caught.value.hint == "see that no dbt build runs, then delete it; the next build writes a new one"


def test_a_dead_holder_of_two_stores_frees_both_after_one_lease(
    tmp_path: Path, embedded: Embedded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever waits in the first store watches the second one, too, and finds its lease over when it comes there."""
    monkeypatch.setattr(schema_lock, "LEASE_SECONDS", 4.0)
    schemas = written(profile(f"{uuid4()}.example.com"), [node("model", "analytics")])
    with temporary_settings({PREFECT_API_URL: embedded.api}):
        stores = (FolderStore(tmp_path / "state"), PrefectVariables())
    for store in stores:
        holder = LockHolder(token="dead", run=uuid4(), title="run dead", schemas=schemas.digests)
        assert SchemaLock(store, schemas.key, holder).try_acquire() is None
    attempts: list[LockStore] = []
    acquire = SchemaLock.try_acquire

    def noted(lock: SchemaLock, **options: bool) -> LockHolder | None:
        attempts.append(lock.store)
        return acquire(lock, **options)

    monkeypatch.setattr(SchemaLock, "try_acquire", noted)
    with BuildLock(stores, uuid4(), "a test").held(schemas) as fence:
        assert [lock.store for lock in fence.locks] == list(stores)
    # It was watched a moment later than the first, so its lease may end a moment later.
    assert attempts.count(stores[1]) <= 2


def test_an_api_that_refuses_variables_is_done_without(embedded: Embedded, caplog: pytest.LogCaptureFixture) -> None:
    """The log says which builds are not kept apart by it."""
    schemas = written(profile("db"), [node("model", "analytics")])
    with answering(embedded.api, status=403, method="POST", path="/variables/filter") as api:
        with temporary_settings({PREFECT_API_URL: api}):
            lock = BuildLock((PrefectVariables(),), uuid4(), "a test")
        with lock.held(schemas) as fence:
            assert fence.locks == []
    (line,) = (record.message for record in caplog.records if record.name == "flow_of_flows.dbt.build_lock")
    assert line.startswith(
        f"Builds into analytics are not kept apart by {api}/: The Prefect API does not let this process read variables"
    )


def test_a_store_that_may_only_be_read_is_done_without(
    aws_endpoint: str, bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for the artifacts that a build cannot keep there: the build goes on, and warns."""
    schemas = written(profile("db"), [node("model", "analytics")])
    objects, listing = STATE_POLICY["Statement"]
    policy = {**STATE_POLICY, "Statement": [{**objects, "Action": "s3:GetObject"}, listing]}
    with allowed_only(aws_endpoint, policy) as variables:
        set_variables(monkeypatch, variables)
        stores = (S3Store(bucket.name, "", REGION),)
        with BuildLock(stores, uuid4(), "a test").held(schemas) as fence:
            assert fence.locks == []
