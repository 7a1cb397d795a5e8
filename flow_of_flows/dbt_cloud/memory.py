"""Which runs in dbt Cloud a Prefect run has begun: ids in and out of artifacts of the run.

Beside the cause: a retry in dbt Cloud has none of ours, and causes are looked for only among the job's newest runs.
"""

from __future__ import annotations

import logging
from uuid import UUID

from flow_of_flows.prefect_api import artifacts as publish

logger = logging.getLogger(__name__)
KIND = "flows-dbt-cloud-run"


def remember(run: int) -> None:
    """Keep the id of a run with the current Prefect run; without one, do nothing."""
    if not publish.in_run():
        return
    try:
        publish.note(KIND, {"run": run})
    except Exception:  # a second way to find the run; the first one is its cause
        logger.warning("The id of run %d in dbt Cloud could not be kept", run, exc_info=True)


def recall(prefect_run: UUID) -> list[int]:
    """Ids of the runs that a Prefect run has begun; outside of a run none."""
    if not publish.in_run():
        return []
    return [note["run"] for note in publish.notes(KIND, prefect_run) if isinstance(note.get("run"), int)]
