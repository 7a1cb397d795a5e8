"""Follows one pipeline run to its end, and cancels it on Ctrl-C. A client and a run in, an answer out."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun

from flows.dispatch.launch import Api
from flows.dispatch.observe import observe
from flows.dispatch.outcome import Verdict
from flows.dispatch.plan import Pipeline
from flows.local.progress import Progress
from flows.report.answers import Answer

LOOK_SECONDS = 0.5
CANCEL_SECONDS = 30.0
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


async def follow(client: PrefectClient, pipeline: Pipeline, run: UUID, progress: Progress) -> Answer:
    """Show a run until it is over.

    The first Ctrl-C (or SIGTERM) cancels the run and waits for its children to stop; a second one stops waiting.
    """
    api = Api(client)
    with stops() as stop:
        while True:
            answer = await _look(api, pipeline, await api.read(run), progress)
            if answer.verdict is not Verdict.RUNNING:
                return answer
            if stop.is_set():
                return await _cancel(api, pipeline, run, progress, stop)
            await _pause(stop, LOOK_SECONDS)


async def _look(api: Api, pipeline: Pipeline, run: FlowRun, progress: Progress) -> Answer:
    answer = await observe(api, pipeline, run)
    nested = {}
    for outcome in answer.outcomes:
        inner = pipeline.step(outcome.step).pipeline
        if inner and outcome.child:
            nested[outcome.step] = await observe(api, inner, await api.read(outcome.child.id))
    progress.show(answer, nested)
    return answer


async def _cancel(api: Api, pipeline: Pipeline, run: UUID, progress: Progress, stop: asyncio.Event) -> Answer:
    stop.clear()
    await api.cancel(run)
    deadline = asyncio.get_running_loop().time() + CANCEL_SECONDS
    while True:
        answer = await _look(api, pipeline, await api.read(run), progress)
        at_work = any(outcome.child and not outcome.child.is_final for outcome in answer.outcomes)
        late = asyncio.get_running_loop().time() > deadline
        if late or stop.is_set() or (answer.verdict is not Verdict.RUNNING and not at_work):
            return answer
        await _pause(stop, LOOK_SECONDS)


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return


@contextmanager
def stops() -> Iterator[asyncio.Event]:
    """An event that is set by Ctrl-C or SIGTERM."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for name in STOP_SIGNALS:
        loop.add_signal_handler(name, stop.set)
    try:
        yield stop
    finally:
        for name in STOP_SIGNALS:
            loop.remove_signal_handler(name)
