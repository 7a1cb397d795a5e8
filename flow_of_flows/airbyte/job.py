"""What Airbyte says of a sync, as values, and what follows: jobs in, a choice, a pause or a refusal out. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from flow_of_flows.errors import ConfigurationError


class SyncStatus(StrEnum):
    """Status of a job, in Airbyte's words."""

    PENDING = "pending"
    QUEUED = "queued"
    RUNNING = "running"
    # An attempt failed, and Airbyte makes another one.
    INCOMPLETE = "incomplete"
    FAILED = "failed"
    SUCCEEDED = "succeeded"
    CANCELLED = "cancelled"


OVER = frozenset({SyncStatus.FAILED, SyncStatus.SUCCEEDED, SyncStatus.CANCELLED})
WAITING = frozenset({SyncStatus.PENDING, SyncStatus.QUEUED})
UNITS = ("bytes", "kB", "MB", "GB")
STEP = 1000


@dataclass(frozen=True)
class SyncJob:
    """One job of a connection.

    Attributes:
        kind: sync, reset, refresh or clear.
        records: rows written so far; None where Airbyte does not say.
        size: bytes written so far.
    """

    id: int
    status: SyncStatus
    kind: str = "sync"
    records: int | None = None
    size: int | None = None

    @property
    def is_over(self) -> bool:
        """Whether it will not change any more."""
        return self.status in OVER

    @property
    def progress(self) -> str:
        """Records and bytes, for people."""
        return f"{self.records or 0:,} records, {_size(self.size or 0)}"


@dataclass(frozen=True)
class Connection:
    """A connection of Airbyte: from a source to a destination."""

    id: str
    name: str
    status: str
    reason: str | None = None


def must_be_active(connection: Connection, where: str) -> None:
    """Refuse a connection that Airbyte would not sync.

    Args:
        connection: the connection of the secret.
        where: address of the API, without credentials.

    Raises:
        ConfigurationError: it is inactive, deprecated or locked.
    """
    if connection.status != "active":
        reason = f" ({connection.reason})" if connection.reason else ""
        raise ConfigurationError(
            f"The Airbyte connection {connection.name} is {connection.status}{reason}",
            location=where,
            hint="enable it in Airbyte, or name another in the secret (connection_id)",
        )


def to_wait_for(jobs: Iterable[SyncJob], newest_known: int | None) -> SyncJob | None:
    """Return the sync to wait for instead of starting one.

    Args:
        jobs: the connection's latest jobs.
        newest_known: the newest job's id before a trigger whose answer was lost; None before the first trigger.

    Returns:
        One that is not over, or else one that is newer than what was known: the lost trigger's own.
    """
    syncs = sorted((job for job in jobs if job.kind == "sync"), key=lambda job: job.id, reverse=True)
    active = (job for job in syncs if not job.is_over)
    newer = (job for job in syncs if newest_known is not None and job.id > newest_known)
    return next(active, None) or next(newer, None)


def _size(count: float) -> str:
    for unit in UNITS:
        if count < STEP or unit == UNITS[-1]:
            break
        count /= STEP
    return f"{count:,.0f} {unit}" if unit == UNITS[0] else f"{count:,.1f} {unit}"
