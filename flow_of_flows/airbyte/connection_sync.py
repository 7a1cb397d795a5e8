"""The work of a child that syncs an Airbyte connection: starts the sync, waits for it, and reports how it ended."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime, timedelta

import httpx
from prefect.exceptions import PrefectHTTPStatusError

from flow_of_flows.airbyte.client import opened
from flow_of_flows.airbyte.job import must_be_active
from flow_of_flows.airbyte.sync import Memory, SyncLimits, sync
from flow_of_flows.child_report import ChildReport
from flow_of_flows.prefect_api import artifacts as publish
from flow_of_flows.retrying import RetryPolicy
from flow_of_flows.secrets import AirbyteCredentials, read
from flow_of_flows.settings import Settings

JOB = "flows-airbyte-job"
logger = logging.getLogger(__name__)


def sync_connection(limit_minutes: int | None = None) -> ChildReport:
    """Sync the connection that the secret FLOWS_SECRETS_AIRBYTE names, inside a child.

    A sync that already runs is waited for instead of started again; a later pod of the same run goes on waiting.

    Args:
        limit_minutes: longest wait for the sync, which is cancelled after it; unset: FLOWS_AIRBYTE_LIMIT_MINUTES.

    Returns:
        The child's report, with the job's id, its records, bytes and seconds as facts.

    Raises:
        ConfigurationError: the secret or the connection cannot be used.
        PlatformError: Airbyte does not answer, or the sync failed or took too long.
    """
    settings = Settings.load()
    own = settings.airbyte
    credentials = read(settings.secrets.airbyte, AirbyteCredentials, settings.secrets)
    limit = timedelta(minutes=limit_minutes or own.limit_minutes)
    patience = SyncLimits(limit, own.poll_seconds, own.poll_max_seconds)
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
    """Return the job that an earlier pod of this run has waited for, unless it is older than the limit."""
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


def probe(settings: Settings) -> str:
    """Get a token and read the connection; nothing is started.

    Raises:
        ConfigurationError: no secret, wrong credentials, no right to the connection, or it is not active.
        PlatformError: Airbyte is away.
    """
    if not settings.airbyte.enabled:
        return "not enabled (FLOWS_AIRBYTE_ENABLED)"
    credentials = read(settings.secrets.airbyte, AirbyteCredentials, settings.secrets)
    with opened(credentials, plain_http=settings.airbyte.plain_http, retry=RetryPolicy(attempts=1)) as airbyte:
        connection = airbyte.connection()
        must_be_active(connection, airbyte.where)
        return f"connection {connection.name} ({connection.status}) on {airbyte.server}"
