"""The hubspot child: an Airbyte connection in, HubSpot's tables in the warehouse out. Started by `daily-pipeline`.

Airbyte writes the tables; this child starts its sync, waits for it, and says how it ended.
"""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime, timedelta
from typing import Annotated

import httpx
from prefect.exceptions import PrefectHTTPStatusError
from pydantic import Field

from flows.child import child
from flows.credentials import AirbyteCredentials, read
from flows.report import publish
from flows.report.handback import ChildReport
from flows.settings import Settings

JOB = "flows-airbyte-job"
logger = logging.getLogger(__name__)


@child("hubspot")
def hubspot(limit_minutes: Annotated[int | None, Field(ge=1, le=24 * 60)] = None) -> ChildReport:
    """Sync HubSpot's contacts, companies and deals with Airbyte.

    Args:
        limit_minutes: Longest wait for the sync, which is cancelled after it; unset: FLOWS_AIRBYTE_LIMIT_MINUTES.
    """
    from flows.ingest.airbyte.client import opened
    from flows.ingest.airbyte.sync import Memory, Patience, sync

    settings = Settings.load()
    own = settings.airbyte
    credentials = read(settings.secrets.airbyte, AirbyteCredentials, settings.secrets)
    limit = timedelta(minutes=limit_minutes or own.limit_minutes)
    patience = Patience(limit, own.poll_seconds, own.poll_max_seconds)
    memory = Memory(lambda: _started(limit), _remember)
    began = time.monotonic()
    with opened(credentials, plain_http=own.plain_http) as airbyte:
        done = sync(airbyte, memory, patience)
    return ChildReport(
        summary=f"{done.connection.name}: {done.job.progress} synced by Airbyte (job {done.job.id})",
        warnings=("waited for a sync that already ran; what changed since its start comes with the next",)
        if done.adopted
        else (),
        facts={
            "job": done.job.id,
            "records": done.job.records or 0,
            "bytes": done.job.size or 0,
            "seconds": round(time.monotonic() - began, 2),
            "source": f"Airbyte connection {done.connection.name}",
        },
    )


def _started(limit: timedelta) -> int | None:
    """The job that an earlier pod of this run has waited for; not one so old that its rows are no longer news."""
    noted = _noted()
    now = datetime.now(UTC)
    return next((job for job, since in reversed(noted.items()) if now - since <= limit), None)


def _remember(job: int) -> None:
    if publish.in_run() and job not in _noted():
        try:
            publish.note(JOB, {"job": job, "since": datetime.now(UTC).isoformat()})
        except (httpx.HTTPError, PrefectHTTPStatusError):  # the sync runs; a next pod finds it among the active ones
            logger.warning("Job %d could not be kept with this run", job, exc_info=True)


def _noted() -> dict[int, datetime]:
    """Airbyte's jobs of this run and since when it has waited for them, oldest first."""
    run = publish.run_id()
    found = publish.notes(JOB, run) if run else []
    return dict(sorted((int(note["job"]), datetime.fromisoformat(note["since"])) for note in found))
