"""Follows a run of the configured API to its end, and answers Ctrl-C: a run in, its answer out.

The run goes on without its follower. So Ctrl-C asks what to do where a person can answer, and detaches elsewhere.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol, TypeVar
from uuid import UUID

from prefect.client.schemas.objects import DeploymentStatus, FlowRun, StateType, WorkQueue

from flow_of_flows.errors import PlatformError
from flow_of_flows.limits import API_OUTAGE_SECONDS
from flow_of_flows.local.progress import RunProgress
from flow_of_flows.prefect_api import client
from flow_of_flows.prefect_api.client import PrefectApi, is_full
from flow_of_flows.prefect_api.launch import RunsClient
from flow_of_flows.retrying import LONGEST_PAUSE, detail
from flow_of_flows.summary.run_summary import RunSummary
from flow_of_flows.summary.terminal import Terminal

T = TypeVar("T")
TICK_SECONDS = 1.0
SLOWER = 1.3
# A worker polls every few seconds; the Prefect server calls a run late after 15 s.
UNCLAIMED_SECONDS = 15.0
# The server's automation starts a pipeline run that crashed again within a second or two.
REVIVAL_SECONDS = 10.0
QUESTION = "Cancel the run? Otherwise it goes on without this terminal. [y/N] "


class Subject(Protocol):
    """What is followed. `Look` is one for a pipeline."""

    latest: FlowRun | None
    shown: object

    async def at_work(self) -> bool:
        """Read and show how the run stands; whether it or one of its children is still at work."""


class DetachedError(Exception):
    """A person turned away from a run whose API is away."""


@dataclass
class Stop:
    """What the signals of this process ask for.

    Attributes:
        asked: Ctrl-C or SIGTERM came.
        ending: it was SIGTERM, which leaves no time for a question.
    """

    asked: asyncio.Event = field(default_factory=asyncio.Event)
    ending: bool = False

    def interrupt(self) -> None:
        """Note a Ctrl-C."""
        self.asked.set()

    def terminate(self) -> None:
        """Note a SIGTERM."""
        self.ending = True
        self.asked.set()


@dataclass
class Follower:
    """Follows one run.

    Attributes:
        api: gives up at once: the follower itself waits for an API that is away, and says so.
        configured: the same API, for what keeps a run from starting.
        look: the run.
        conclude: reads the answer of the run, once it is over.
        poll: shortest and longest interval of two reads, seconds.
        terminal: where the person runs commands.
    """

    api: RunsClient
    configured: client.PrefectApi
    look: Subject
    run: UUID
    conclude: Callable[[], Awaitable[RunSummary]]
    progress: RunProgress
    poll: tuple[float, float]
    terminal: Terminal
    stop: Stop = field(default_factory=Stop)
    cancelling: bool = False
    changed: float = 0
    diagnosed: float = 0
    crashed: float = 0

    async def follow(self) -> RunSummary | None:
        """Show the run until it is over and return its answer; None if a person turns away from it before.

        Raises:
            PlatformError: the API did not answer for too long.
        """
        with signals(self.stop):
            try:
                return await self._to_the_end()
            except DetachedError:
                return None

    async def _to_the_end(self) -> RunSummary | None:
        pause, before = self.poll[0], None
        while await self._is_at_work():
            if self.look.shown != before:
                pause, before, self.changed = self.poll[0], self.look.shown, self._now()
                self.progress.hint("")
            else:
                await self._diagnose()
            await self._wait(pause)
            pause = min(pause * SLOWER, self.poll[1])
            if self.stop.asked.is_set() and await self._detaches():
                return None
        return await self._retried(self.conclude)

    async def _retried(self, call: Callable[[], Awaitable[T]]) -> T:
        """Return the answer of an API that may be away meanwhile; that it is, is said once."""
        deadline, pause, away = self._now() + API_OUTAGE_SECONDS, self.poll[0], False
        while True:
            try:
                answer = await call()
            except PlatformError as error:
                why = detail(error.__cause__) if isinstance(error.__cause__, Exception) else error.message
                if self._now() > deadline:
                    raise self._gone(why) from error
                self.progress.hint(f"The Prefect API does not answer ({why}); the run goes on, trying again.")
            else:
                if away:
                    self.progress.hint("The Prefect API answers again.")
                return answer
            away = True
            await self._wait(pause)
            if self.stop.asked.is_set():
                raise DetachedError
            pause = min(pause * 2, LONGEST_PAUSE)

    def _gone(self, why: str) -> PlatformError:
        return PlatformError(
            f"The Prefect API did not answer for {API_OUTAGE_SECONDS:.0f} s: {why}",
            location=self.configured.url,
            hint=f"bring it back, then run `{self.terminal.command(f'flows report {self.run} --follow')}`",
        )

    async def _diagnose(self) -> None:
        """Say why a run does not start, from some seconds on and every now and then."""
        run, now = self.look.latest, self._now()
        if run is None or run.state is None or not run.state.is_scheduled():
            return
        if now > self.changed + UNCLAIMED_SECONDS and now > self.diagnosed + UNCLAIMED_SECONDS:
            self.diagnosed = now
            self.progress.hint(await self._retried(lambda: reason(self.configured, run)))

    async def _is_at_work(self) -> bool:
        at_work = await self._retried(self.look.at_work)
        run = self.look.latest
        crashed = run is not None and run.state is not None and run.state.type is StateType.CRASHED
        # A run that was never seen at work crashed long ago.
        self.crashed = (self.crashed or self._now()) if crashed and self.changed else 0
        return at_work or self._now() < self.crashed + REVIVAL_SECONDS * bool(self.crashed)

    async def _wait(self, seconds: float) -> None:
        """Wait for the next read, or for a signal; the clock of the table goes on."""
        deadline = self._now() + seconds
        while (left := deadline - self._now()) > 0 and not self.stop.asked.is_set():
            await self._signal(min(left, TICK_SECONDS))
            self.progress.redraw()

    async def _signal(self, within: float) -> None:
        try:
            await asyncio.wait_for(self.stop.asked.wait(), within)
        except TimeoutError:
            return

    async def _detaches(self) -> bool:
        """Return whether to stop following; a person who is asked may have the run cancelled instead."""
        if self.cancelling or self.stop.ending or not can_answer():
            return True
        self.stop.asked.clear()
        with self.progress.hidden():
            answer = await question(QUESTION, self.stop.asked)
        if not answer.lower().startswith("y"):
            return True
        self.cancelling = True
        await self._retried(lambda: self.api.cancel(self.run))
        return False

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


@contextmanager
def signals(stop: Stop) -> Iterator[None]:
    """Note Ctrl-C and SIGTERM instead of ending, as long as the block runs."""
    loop = asyncio.get_running_loop()
    handlers = {signal.SIGINT: stop.interrupt, signal.SIGTERM: stop.terminate}
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    try:
        yield
    finally:
        for number in handlers:
            loop.remove_signal_handler(number)


def can_answer() -> bool:
    """Return whether a person at a terminal can answer: a process in the background would be stopped if it asked."""
    try:
        return os.isatty(sys.stdin.fileno()) and os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except (OSError, ValueError):
        return False


async def question(text: str, interrupted: asyncio.Event) -> str:
    """Return the line that a person answers; empty at the end of input, or on another Ctrl-C.

    Args:
        text: the question.
        interrupted: set by Ctrl-C.
    """
    sys.stderr.write(text)
    sys.stderr.flush()
    loop, descriptor = asyncio.get_running_loop(), sys.stdin.fileno()
    answered = asyncio.Event()
    loop.add_reader(descriptor, answered.set)
    waiting = {asyncio.create_task(event.wait()) for event in (answered, interrupted)}
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        loop.remove_reader(descriptor)
        for task in waiting:
            task.cancel()
    if answered.is_set():
        return os.read(descriptor, 1024).decode(errors="replace").strip()
    sys.stderr.write("\n")
    return ""


WAITS = "the run waits"


async def reason(api: PrefectApi, run: FlowRun) -> str:
    """Return what keeps a scheduled run from being taken up; empty where nothing is known to.

    Args:
        api: where the run is.
        run: a run that is scheduled and late.
    """
    if run.work_pool_name is None:
        return await _unserved(api, run)
    pool = await api.call(lambda: api.client.read_work_pool(run.work_pool_name or ""))
    if pool.is_paused:
        return f"Work pool {pool.name} is paused; {WAITS} until it is resumed."
    if not await api.online_workers(pool.name):
        return f"No worker of work pool {pool.name} is online; {WAITS} until one is."
    return _held_up(await _queue(api, run), pool.name)


async def _unserved(api: PrefectApi, run: FlowRun) -> str:
    if run.deployment_id is None:
        return ""
    deployment = run.deployment_id
    found = await api.call(lambda: api.client.read_deployment(deployment))
    if found.status is DeploymentStatus.READY:
        return ""
    return f"Deployment {found.name} has no work pool, and no process serves it; {WAITS} until one does."


async def _queue(api: PrefectApi, run: FlowRun) -> WorkQueue | None:
    if run.work_queue_id is None:
        return None
    queue = run.work_queue_id
    return await api.find(lambda: api.client.read_work_queue(queue))


def _held_up(queue: WorkQueue | None, pool: str) -> str:
    if queue is None:
        return ""
    if queue.is_paused:
        return f"Work queue {queue.name} of work pool {pool} is paused; {WAITS} until it is resumed."
    if is_full(queue):
        return f"All {queue.concurrency_limit} slots of work queue {queue.name} are taken; {WAITS} for one."
    return ""
