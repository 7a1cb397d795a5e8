"""Cancelling by whoever sees it first, Prefect's observer or the lease, and what the observer cannot see any more.

Wires both into Prefect's context of one run, whose parts are private; called by the supervisor.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

from prefect.runner._flow_run_executor import FlowRunExecutorContext

from flows.pod.claims import API_ERRORS

logger = logging.getLogger("prefect.flows.pod")


def cancels_once(context: FlowRunExecutorContext, run: UUID) -> Callable[[], Awaitable[None]]:
    """What cancels the run. Once: its hooks would run twice; but a failure is tried again, and ends nothing else."""
    manager: Any = context._cancellation_manager  # noqa: SLF001
    cancel_by_id = manager.cancel_by_id
    done = False

    async def cancel(identifier: UUID) -> None:
        nonlocal done
        if done:
            return
        done = True
        try:
            await cancel_by_id(identifier)
        except API_ERRORS:
            done = False
            logger.warning("The run could not be cancelled: the API does not answer; it is tried again")

    async def start() -> None:
        context._cancellation_task_group.start_soon(cancel, run)  # noqa: SLF001

    manager.cancel_by_id = cancel
    return start


def when_unobserved(context: FlowRunExecutorContext, then: Callable[[], None]) -> None:
    """Call something when Prefect's observer has given up, as it does in an outage of the API of 45 s."""
    wired: Any = context
    is_lost = wired._handle_cancellation_observer_failure  # noqa: SLF001

    def lost(runs: set[UUID]) -> None:
        is_lost(runs)
        then()

    wired._handle_cancellation_observer_failure = lost  # noqa: SLF001
