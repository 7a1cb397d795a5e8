"""Whether this run goes on elsewhere when its process is ended: what whoever ends it means by it. Called by children.

A child whose work goes on without it (a job in dbt Cloud, a sync of Airbyte) leaves that alone for the run that comes
back, and cancels it in every other case: nobody would look after it.
"""

from __future__ import annotations

# What a SIGTERM means where the run is started again, by Prefect or by its Job: see `flows.pod.orders`.
HANDED_BACK = ("reschedule", "relinquish")


def is_handed_back() -> bool:
    """Whether the run is started again in another process; not so if it is cancelled, late, or nobody has said why."""
    # Private; the prefect version is capped below 3.9. `flows.pod.ending` is the other end of it. The run's state would
    # tell less: it has to be asked for, and a run that is handed back, or is too late, is Running still.
    from prefect._internal.control_listener import get_intent

    return get_intent() in HANDED_BACK
