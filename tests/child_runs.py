"""Child runs as values, for the tests of what reads them. No server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from prefect.client.schemas.objects import StateType

from flow_of_flows.runs.outcome import ChildRun

SIX = datetime(2026, 1, 2, 6, 0, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def child_run(
    step: str,
    state: StateType = StateType.COMPLETED,
    *,
    attempt: int = 1,
    begin: int = 0,
    seconds: int = 60,
    state_name: str = "",
    message: str = "",
) -> ChildRun:
    """A run of one child.

    Args:
        step: the step it is for.
        state: type of its state.
        attempt: its number.
        begin: seconds after six o'clock at which it is created and starts.
        seconds: for how long it runs, if it is over.
        state_name: name of its state; the default is that of the type.
        message: of its state.
    """
    started = SIX + timedelta(seconds=begin)
    run = ChildRun(
        id=run_id(step, attempt, begin),
        name=f"keen-owl-{step}",
        step=step,
        attempt=attempt,
        created=started,
        state=state,
        state_name=state_name or state.value.capitalize(),
        message=message,
        started=started,
        ended=started + timedelta(seconds=seconds),
    )
    if run.is_final:
        return run
    return ChildRun(**{**run.__dict__, "ended": None})


def run_id(step: str, attempt: int = 1, begin: int = 0) -> UUID:
    """The same id for the same run."""
    return UUID(int=sum(map(ord, step)) * 1_000_000 + attempt * 100_000 + begin, version=4)
