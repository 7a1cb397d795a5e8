"""Sync an Airbyte connection inside a child: start the sync, wait for it, and report how it ended.

It waits for a sync that already runs instead of starting a second one, cancels it when this run is ended or its time
is over, and leaves it alone when this pod only has to go: the run comes back and waits on.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import httpx
from prefect.exceptions import PrefectHTTPStatusError, TerminationSignal

from flow_of_flows.airbyte.client import AirbyteClient, opened
from flow_of_flows.airbyte.job import WAITING, Connection, SyncJob, SyncStatus, must_be_active, to_wait_for
from flow_of_flows.child_report import ChildReport
from flow_of_flows.errors import Cause, FlowsError, PlatformError
from flow_of_flows.prefect_api import artifacts
from flow_of_flows.retrying import PollPause, RetryPolicy
from flow_of_flows.secrets import AirbyteCredentials, read
from flow_of_flows.settings import Settings
from flow_of_flows.signals import is_rescheduled

logger = logging.getLogger(__name__)
# A start of which is not known whether it succeeded.
RETRY = RetryPolicy(first=2.0, longest=10.0, factor=2.5, attempts=4)
# So long Airbyte may be away during a sync.
OUTAGE_SECONDS = 600.0

JOB = "flows-airbyte-job"


@dataclass(frozen=True)
class Memory:
    """What outlives this process: the job that this run has started."""

    started: Callable[[], int | None]
    remember: Callable[[int], None]


@dataclass(frozen=True)
class SyncLimits:
    """How long to wait for a sync, and how often to look."""

    limit: timedelta
    low: float
    high: float


@dataclass(frozen=True)
class Synced:
    """A sync that succeeded.

    Attributes:
        adopted: it ran already when this run began to wait.
    """

    connection: Connection
    job: SyncJob
    adopted: bool


def sync(airbyte: AirbyteClient, memory: Memory, limits: SyncLimits) -> Synced:
    """Sync the connection.

    Args:
        airbyte: the connection.
        memory: the job that an earlier pod of this run has waited for.
        limits: the limits of the sync and of its polling.

    Raises:
        ConfigurationError: the connection is not there, or not active.
        PlatformError: the sync failed, was cancelled in Airbyte, or took too long; or Airbyte is away.
    """
    deadline = time.monotonic() + limits.limit.total_seconds()
    connection = airbyte.connection()
    must_be_active(connection, airbyte.where)
    job: SyncJob | None = None
    try:
        job, adopted = _begin(airbyte, memory)
        memory.remember(job.id)
        job = _wait(airbyte, job, limits, deadline)
    except (KeyboardInterrupt, TerminationSignal):
        _leave(airbyte, job)
        raise
    if job.status is not SyncStatus.SUCCEEDED:
        raise _ended(airbyte, job)
    return Synced(connection, job, adopted)


def _own(airbyte: AirbyteClient, memory: Memory) -> SyncJob | None:
    """Return the job that this run has started before, unless it failed."""
    number = memory.started()
    job = airbyte.job(number) if number is not None else None
    if job is None or job.status in {SyncStatus.FAILED, SyncStatus.CANCELLED}:
        return None
    logger.info("Job %d was started by this run before: waiting for it", job.id)
    return job


def _begin(airbyte: AirbyteClient, memory: Memory) -> tuple[SyncJob, bool]:
    """Return the sync to wait for, and whether it was there before: a lost answer is looked up, not asked for again."""
    if job := _own(airbyte, memory):
        return job, False
    start = _Start(airbyte)
    return RETRY.call(start.look_or_start, again=start.is_unknown, log=start.log)


@dataclass
class _Start:
    """A start of a sync that is made again only where the one before came to nothing.

    Attributes:
        newest: number of the latest job before the first start.
        unknown: the error of a start of which is not known whether it succeeded.
    """

    airbyte: AirbyteClient
    newest: int | None = None
    unknown: PlatformError | None = None

    def look_or_start(self) -> tuple[SyncJob, bool]:
        """Return the job to wait for, and whether it was there before."""
        jobs = self.airbyte.jobs()
        if found := to_wait_for(jobs, self.newest):
            adopted = self.newest is None or found.id <= self.newest
            logger.info("Job %d %s: waiting for it", found.id, "runs already" if adopted else "was started after all")
            return found, adopted
        self.newest = max((job.id for job in jobs), default=0) if self.newest is None else self.newest
        try:
            job = self.airbyte.start()
        except PlatformError as error:
            self.unknown = error
            raise
        logger.info("Job %d started: a sync of connection %s", job.id, self.airbyte.connection_id)
        return job, False

    def is_unknown(self, error: BaseException) -> bool:
        """Return whether the start failed; reading the jobs is retried by the client itself."""
        return error is self.unknown

    def log(self, _: BaseException, pause: float) -> None:  # noqa: ARG002 - what the policy passes
        """Log the start of which nothing is known."""
        assert self.unknown is not None
        logger.warning("%s Looking whether it was started.", self.unknown.fact)


def _wait(airbyte: AirbyteClient, job: SyncJob, limits: SyncLimits, deadline: float) -> SyncJob:
    """Return the job when it is over; what changes goes into the log."""
    pause, answered = PollPause(limits.low, limits.high, factor=1.5), time.monotonic()
    while not job.is_over:
        if time.monotonic() >= deadline:
            raise _too_long(airbyte, job, limits.limit)
        time.sleep(max(0.0, min(pause.next(), deadline - time.monotonic())))
        before = job
        try:
            job, answered = airbyte.job(job.id), time.monotonic()
        except PlatformError as error:
            if time.monotonic() - answered > OUTAGE_SECONDS:
                raise
            logger.warning("%s The sync goes on meanwhile.", error.fact)
        if job != before:
            logger.info("Job %d is %s: %s", job.id, job.status, job.progress)
            pause.changed()
    return job


def _too_long(airbyte: AirbyteClient, job: SyncJob, limit: timedelta) -> PlatformError:
    waited = f"{limit.total_seconds() / 60:g} min"
    state = "has not begun" if job.status in WAITING else f"is not over ({job.progress})"
    _cancel(airbyte, job)
    return PlatformError(
        f"Job {job.id} {state} after {waited}, and was cancelled",
        location=airbyte.where,
        hint="see in Airbyte what it waits for, or give it more time (FLOWS_AIRBYTE_LIMIT_MINUTES)",
        cause=Cause.TIMEOUT,
    )


def _ended(airbyte: AirbyteClient, job: SyncJob) -> PlatformError:
    if job.status is SyncStatus.CANCELLED:
        return PlatformError(
            f"Job {job.id} was cancelled in Airbyte ({job.progress})",
            location=airbyte.where,
            hint="find out who cancelled it; then run this again",
        )
    reason = airbyte.reason(job.id)
    return PlatformError(
        f"Job {job.id} failed in Airbyte: {reason or 'this API does not say why'} ({job.progress})",
        location=airbyte.where,
        hint="see the log of the job in Airbyte, mend the source or the destination, then run this again",
    )


def _leave(airbyte: AirbyteClient, job: SyncJob | None) -> None:
    """Cancel the sync, unless the run comes back: it goes on then, and is waited for."""
    if is_rescheduled():
        logger.info("This pod has to go; the sync goes on")
        return
    try:
        found = job or to_wait_for(airbyte.jobs(), None)
    except FlowsError as error:
        logger.error("%s The sync may still run: cancel it in Airbyte.", error)  # noqa: TRY400 - the sentence is enough
        return
    if found:
        _cancel(airbyte, found)


def _cancel(airbyte: AirbyteClient, job: SyncJob) -> None:
    try:
        airbyte.cancel(job.id)
    except FlowsError as error:
        logger.error("%s The sync may still run: cancel job %d in Airbyte.", error, job.id)  # noqa: TRY400 - the same
    else:
        logger.info("Job %d was cancelled", job.id)


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
    limits = SyncLimits(limit, own.poll_seconds, own.poll_max_seconds)
    memory = Memory(lambda: _started(limit), _remember)
    began = time.monotonic()
    with opened(credentials, plain_http=own.plain_http) as airbyte:
        done = sync(airbyte, memory, limits)
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
    if artifacts.in_run() and job not in _noted():
        try:
            artifacts.note(JOB, {"job": job, "since": datetime.now(UTC).isoformat()})
        except (httpx.HTTPError, PrefectHTTPStatusError):  # the sync runs; a next pod finds it among the active ones
            logger.warning("Job %d could not be kept with this run", job, exc_info=True)


def _noted() -> dict[int, datetime]:
    """Airbyte's jobs of this run and since when it has waited for them, oldest first."""
    run = artifacts.run_id()
    found = artifacts.notes(JOB, run) if run else []
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
