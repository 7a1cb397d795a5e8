"""What keeps a build's progress, by itself: who waits for a write, for how long, and how many writes there are."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from flow_of_flows.dbt import run_artifacts
from flow_of_flows.dbt.events import DbtProgress
from flow_of_flows.dbt.results import Node
from flow_of_flows.dbt.run_artifacts import Checkpointer
from tests.conditions import eventually


def finish(progress: DbtProgress, *nodes: str, status: str = "success") -> None:
    """What dbt says of nodes that have ended."""
    result = SimpleNamespace(status=status, execution_time=0.0, message="", num_failures=0, adapter_response={})
    for node in nodes:
        _say(progress, "NodeFinished", node_info=SimpleNamespace(unique_id=node), run_result=result)


def start(progress: DbtProgress, node: str) -> None:
    """What dbt says, in the thread that works on it, before it executes a node."""
    _say(progress, "NodeExecuting", node_info=SimpleNamespace(unique_id=node))


def _say(progress: DbtProgress, name: str, **data: object) -> None:
    progress(SimpleNamespace(info=SimpleNamespace(name=name), data=SimpleNamespace(**data)))


def test_many_nodes_are_few_writes() -> None:
    """The first that finishes is written at once; of those that follow, one write takes all of an interval."""
    progress = DbtProgress()
    writes: list[int] = []
    checkpointer = Checkpointer(progress, lambda: writes.append(-1), lambda done: writes.append(len(done)))
    with checkpointer.running():
        eventually(lambda: writes == [-1], "it has begun")
        for number in range(200):
            finish(progress, f"model.shop.{number}")
        eventually(lambda: writes[-1] > 0, "the nodes are written")

    assert writes[-1] == 200
    assert len(writes) <= 4
    assert checkpointer.problem is None


def test_the_end_of_a_build_waits_for_the_last_write_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not for the pause behind it, however long: the checkpointer's thread is over when the block is."""
    monkeypatch.setattr(run_artifacts, "INTERVAL_SECONDS", 3600.0)
    progress = DbtProgress()
    writes: list[int] = []
    checkpointer = Checkpointer(progress, lambda: None, lambda done: writes.append(len(done)))
    with checkpointer.running():
        eventually(lambda: checkpointer.problem is None, "it has begun")
        finish(progress, "model.shop.one")

    assert [thread.name for thread in threading.enumerate() if thread.name == "dbt-checkpointer"] == []
    assert writes == [1]


def test_dbt_builds_the_next_model_when_the_last_is_kept_and_runs_tests_at_once() -> None:
    """While the store writes, who wants to build waits; who runs a test does not. Nobody waits for tests and skips."""
    progress = DbtProgress()
    writing, go_on = threading.Event(), threading.Event()
    kept: list[str] = []

    def write(done: Sequence[Node]) -> None:
        writing.set()
        assert go_on.wait(30)
        kept[:] = [node.id for node in done]

    checkpointer = Checkpointer(progress, lambda: None, write)
    with checkpointer.running(), ThreadPoolExecutor() as pool:
        start(progress, "model.shop.one")
        finish(progress, "model.shop.one")
        assert writing.wait(30)
        two = pool.submit(start, progress, "model.shop.two")
        three = pool.submit(start, progress, "seed.shop.three")
        pool.submit(start, progress, "test.shop.one").result(1)
        assert [two.done(), three.done()] == [False, False]
        go_on.set()
        two.result(30)
        three.result(30)
        assert kept == ["model.shop.one"]
        go_on.clear()
        finish(progress, "model.shop.two", status="skipped")
        finish(progress, "test.shop.one", status="pass")
        pool.submit(start, progress, "model.shop.four").result(1)
        go_on.set()


def test_a_store_that_hangs_holds_the_build_up_once() -> None:
    """Each thread that waits, then nobody, until the store has taken a write; from then on all wait again."""
    progress = DbtProgress()
    hung = threading.Event()
    writes: list[int] = []

    def write(done: Sequence[Node]) -> None:
        if not writes:
            hung.wait(60)
        writes.append(len(done))

    def build(*nodes: str) -> None:
        for node in nodes:
            start(progress, node)
            finish(progress, node)

    checkpointer = Checkpointer(progress, lambda: None, write)
    with checkpointer.running(), ThreadPoolExecutor() as pool:
        first = [pool.submit(build, f"model.shop.{number}") for number in range(4)]
        for waited in first:
            waited.result(30)
        assert writes == []
        others = [f"model.shop.{number}" for number in range(4, 100)]
        pool.submit(build, *others).result(20)
        assert writes == []
        hung.set()
        eventually(lambda: writes[-1:] == [100], "the store takes it all")
        build("model.shop.last")
        start(progress, "model.shop.after")
        assert writes[-1] == 101
    assert checkpointer.problem is None
