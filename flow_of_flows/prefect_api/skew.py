"""How far this machine's clock is ahead of the Prefect server's: what the server said in, a difference out.

The server says when runs began and ended; a deadline that counts from there is of its clock, and so is the time for
which a run is scheduled. Asked by `dispatch.reads` and `pod.ending`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun

# Less is nothing: the server tells whole seconds, and its answer was under way.
TOLERANCE = timedelta(seconds=10)


def ahead(date: str | None, asked: datetime, answered: datetime) -> timedelta:
    """What to take from this machine's time to have the server's; negative where its clock is behind.

    Args:
        date: the header `Date` of an answer of the server; None or nonsense tells nothing.
        asked: when it was asked, by this machine's clock.
        answered: when the answer was there.
    """
    try:
        theirs = parsedate_to_datetime(date or "")
    except ValueError:
        return timedelta()
    if theirs.tzinfo is None or asked - TOLERANCE <= theirs <= answered + TOLERANCE:
        return timedelta()
    return answered - theirs


async def read(client: PrefectClient, run: UUID) -> tuple[FlowRun, timedelta]:
    """A flow run, and what the answer tells of the two clocks; see `ahead`."""
    asked = datetime.now(UTC)
    answer = await client.request("GET", "/flow_runs/{id}", path_params={"id": run})
    return FlowRun.model_validate(answer.json()), ahead(answer.headers.get("date"), asked, datetime.now(UTC))
