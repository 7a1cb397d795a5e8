"""How far this machine's clock is ahead of the Prefect server's: what the server said in, a difference out. Pure.

The server says when runs began and ended; a deadline that counts from there is of its clock, and so is the time for
which a run is scheduled. Called by `dispatch.reads` and `pod.ending`.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime

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
