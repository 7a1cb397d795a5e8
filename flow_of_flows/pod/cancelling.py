"""Cancelling by whoever sees it first, Prefect's observer or the lease, and what the observer cannot see any more.

Wires both into Prefect's context of one run, whose parts are private; called by the supervisor.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.runner._flow_run_executor import FlowRunExecutorContext

from flow_of_flows.errors import FlowsError
from flow_of_flows.pod.lease_records import API_ERRORS

logger = logging.getLogger("prefect.flows.pod")
# For the first try; the hook is the second.
HAND_ON_SECONDS = 10.0


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
            await asyncio.gather(cancel_by_id(identifier), _hand_on(context.client, run))
        except API_ERRORS:
            done = False
            logger.warning("The run could not be cancelled: the API does not answer; it is tried again")

    async def start() -> None:
        context._cancellation_task_group.start_soon(cancel, run)  # noqa: SLF001

    manager.cancel_by_id = cancel
    return start


async def _hand_on(client: PrefectClient, run: UUID) -> None:
    """Ask a pipeline's children to stop while it stops itself.

    Its hook does the same, but only once its engine is over and its flow is imported: that took 17 s on a busy node.
    """
    from flow_of_flows.prefect_api.launch import RunsClient

    api = RunsClient(client, patience=HAND_ON_SECONDS)
    try:
        await api.cancel_children(await api.read(run))
    except FlowsError as error:
        logger.warning("The children could not be asked to stop yet: %s", error)


def when_unobserved(context: FlowRunExecutorContext, then: Callable[[], None]) -> None:
    """Call something when Prefect's observer has given up, as it does in an outage of the API of 45 s."""
    wired: Any = context
    is_lost = wired._handle_cancellation_observer_failure  # noqa: SLF001

    def lost(runs: set[UUID]) -> None:
        is_lost(runs)
        then()

    wired._handle_cancellation_observer_failure = lost  # noqa: SLF001
