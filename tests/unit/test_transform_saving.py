"""What keeps a build's progress, by itself: who waits for a write, for how long, and how many writes there are."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

from flows.transform.events import Progress
from flows.transform.results import Node
from flows.transform.saving import Saver
from tests.conditions import eventually


def finish(progress: Progress, *nodes: str, status: str = "success") -> None:
    """What dbt says, in the thread that worked on them, of nodes that have ended."""
    for node in nodes:
        progress(_finished(node, status))


def _finished(node: str, status: str) -> SimpleNamespace:
    info = SimpleNamespace(unique_id=node)
    result = SimpleNamespace(status=status, execution_time=0.0, message="", num_failures=0)
    data = SimpleNamespace(node_info=info, run_result=result)
    return SimpleNamespace(info=SimpleNamespace(name="NodeFinished"), data=data)


def test_many_nodes_are_few_writes() -> None:
    """The first that finishes is written at once; of those that follow, one write takes all of an interval."""
    progress = Progress(str)
    writes: list[int] = []
    saver = Saver(progress, lambda: writes.append(-1), lambda done: writes.append(len(done)))
    with saver.saving():
        eventually(lambda: writes == [-1], "it has begun")
        for number in range(200):
            progress.finished[str(number)] = Node(str(number), "success", 0.0, "", None)
            progress.changed.set()
        eventually(lambda: writes[-1] > 0, "the nodes are written")

    assert writes[-1] == 200
    assert len(writes) <= 4
    assert saver.trouble is None


def test_dbt_goes_on_when_a_model_is_kept_and_at_once_after_a_test() -> None:
    """While the store writes, the thread that built a model waits; those who ran tests or skip models do not."""
    progress = Progress(str)
    writing, go_on = threading.Event(), threading.Event()
    kept: list[str] = []

    def write(done: Sequence[Node]) -> None:
        writing.set()
        assert go_on.wait(30)
        kept[:] = [node.id for node in done]

    saver = Saver(progress, lambda: None, write)
    with saver.saving(), ThreadPoolExecutor() as pool:
        one = pool.submit(finish, progress, "model.shop.one")
        assert writing.wait(30)
        two = pool.submit(finish, progress, "model.shop.two")
        pool.submit(finish, progress, "test.shop.one").result(1)
        pool.submit(finish, progress, "model.shop.three", status="skipped").result(1)
        assert [one.done(), two.done()] == [False, False]
        go_on.set()
        one.result(30)
        two.result(30)
        assert kept[:2] == ["model.shop.one", "model.shop.two"]


def test_a_store_that_hangs_holds_the_build_up_once() -> None:
    """Each thread that waits, then nobody, until the store has taken a write; from then on all wait again."""
    progress = Progress(str)
    hung = threading.Event()
    writes: list[int] = []

    def write(done: Sequence[Node]) -> None:
        if not writes:
            hung.wait(60)
        writes.append(len(done))

    saver = Saver(progress, lambda: None, write)
    with saver.saving(), ThreadPoolExecutor() as pool:
        first = [pool.submit(finish, progress, f"model.shop.{number}") for number in range(4)]
        for waited in first:
            waited.result(30)
        assert writes == []
        others = [f"model.shop.{number}" for number in range(4, 100)]
        pool.submit(finish, progress, *others).result(20)
        assert writes == []
        hung.set()
        eventually(lambda: writes[-1:] == [100], "the store takes it all")
        finish(progress, "model.shop.last")
        assert writes[-1] == 101
    assert saver.trouble is None
