"""Runs of the Prefect API as values of the sweeper, and the filters that find them. Pure; called by `observed`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from prefect.client.schemas.filters import FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import FlowRun, State, StateType

from flow_of_flows.runs.resume import parse_key
from flow_of_flows.sweeper.job_location import UNSAID, Place
from flow_of_flows.sweeper.snapshot import SweptRun

PIPELINE = "pipeline"


def run(entry: FlowRun, place: Place = UNSAID) -> SweptRun:
    """A run of the API as a value."""
    state = entry.state
    if state is None:
        # Prefect makes every run with a state; one without would be neither active nor over.
        state = State(type=StateType.SCHEDULED)
    key = parse_key(entry.idempotency_key)
    return SweptRun(
        id=entry.id,
        name=entry.name,
        deployment=entry.deployment_id,
        state=state.id,
        type=state.type,
        state_name=state.name or "",
        since=state.timestamp,
        message=state.message or "",
        run_count=entry.run_count,
        is_pipeline=PIPELINE in entry.tags,
        parent=key[0] if key else None,
        due=entry.expected_start_time,
        place=place,
    )


def holds(state: State[Any]) -> bool:
    """Whether a run in this state can hold a slot of its deployment's limit."""
    # A run that waits for its next try in the same process keeps its slot.
    return state.type is not StateType.SCHEDULED or state.name == "AwaitingRetry"


def of_types(types: Iterable[StateType]) -> FlowRunFilterState:
    """The filter of runs in a state of one of these types."""
    return FlowRunFilterState(type=FlowRunFilterStateType(any_=list(types)))
