"""Ends the runs that an earlier session left at work when it was killed. A client in.

Its processes died with it (`flow_of_flows.forking.process`) without a last state. Still active, such a run could not be
resumed, and a parent would wait for such a child indefinitely.
"""

from __future__ import annotations

import logging

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.states import Crashed

from flow_of_flows.runs.resume import parse_key
from flow_of_flows.runs.suspension import Stance, stance

logger = logging.getLogger(__name__)
ACTIVE = [StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING, StateType.CANCELLING, StateType.PAUSED]
MESSAGE = "Its process ended with the session that it ran in."


async def end_orphans(client: PrefectClient) -> None:
    """Set every run that an earlier session left behind to Crashed."""
    which = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=ACTIVE)))
    while orphans := [run for run in await client.read_flow_runs(flow_run_filter=which) if _is_orphan(run)]:
        for run in orphans:
            logger.warning("%s was left behind by an earlier session", run.name)
            await client.set_flow_run_state(run.id, Crashed(message=MESSAGE), force=True)


def _is_orphan(run: FlowRun) -> bool:
    """Whether it belongs to an earlier session; not so a run that is scheduled for later, or suspended."""
    if run.state is None or stance(run.state) is Stance.SUSPEND:
        return False
    return not run.state.is_scheduled() or parse_key(run.idempotency_key) is not None
