"""The record of who builds into which schemas of one warehouse, and who waits, and the stores that keep it.

Every state store is one, and so are the variables of the Prefect API. It has no compare-and-swap, so each version is a
variable of its own: a variable's name is unique, and of two writers that saw the same version one creates the next.
Prefect's concurrency limits do not serve: their lease lasts a minute at least and is checked later, and a server that
restarts forgets it.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Literal, Protocol
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import PrefectHTTPStatusError
from pydantic import BaseModel, ConfigDict, ValidationError

from flow_of_flows.dbt.state import Stored
from flow_of_flows.errors import ConfigurationError, PlatformError

SETTINGS = {"timeout": 10.0}
REFUSED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)


class LockStore(Protocol):
    """A store of records with compare-and-swap; every state store is one."""

    def look(self, key: str) -> Stored | None:
        """Return the bytes under a key with their version, None if there are none."""
        ...

    def replace(self, key: str, data: bytes, version: str | None) -> bool:
        """Put bytes under a key if what is there still has this version; return whether it had."""
        ...

    def describe(self) -> str:
        """Return where this is, for people."""
        ...


class LockHolder(BaseModel):
    """One build that holds schemas, or waits for them.

    Attributes:
        token: tells processes apart; the same run has another one in its next pod.
        title: the run, its flow and who started it, for a sentence.
        schemas: digests of what it writes.
        process: tells others of its machine whether it lives.
        beat: counts the heartbeats.
        waits: it is in the queue.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    token: str
    run: UUID
    title: str
    schemas: tuple[str, ...]
    process: str = ""
    beat: int = 0
    waits: bool = False

    def conflicts(self, other: LockHolder) -> bool:
        """Return whether both write to the same schema."""
        return not set(self.schemas).isdisjoint(other.schemas)


class LockRecord(BaseModel):
    """The builds that write to one warehouse now.

    Attributes:
        fence: the fencing token: a number that grows with each build that takes a place.
        queue: the builds that wait, first come first.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    version: Literal[1] = 1
    fence: int = 0
    holders: tuple[LockHolder, ...] = ()
    queue: tuple[LockHolder, ...] = ()

    @classmethod
    def parse(cls, found: Stored | None, where: str) -> LockRecord:
        """Read a stored record; an absent one has no holders.

        Args:
            found: what the store has under the key.
            where: the store, for messages.

        Raises:
            PlatformError: it is damaged.
        """
        if found is None:
            return cls()
        try:
            return cls.model_validate_json(found.data)
        except ValidationError as error:
            raise PlatformError(
                "The record of dbt's schema locks cannot be read",
                location=where,
                hint="see that no dbt build runs, then delete it; the next build writes a new one",
            ) from error

    def holder(self, token: str) -> LockHolder | None:
        """Return the holder with this token."""
        return next((holder for holder in self.holders if holder.token == token), None)

    def waiting(self, token: str) -> LockHolder | None:
        """Return the build in the queue with this token."""
        return next((waiting for waiting in self.queue if waiting.token == token), None)

    def ahead_of(self, me: LockHolder) -> LockHolder | None:
        """Return whom a build waits for: a holder, else a build before it in the queue; None if its turn is now."""
        before = itertools.takewhile(lambda waiting: waiting.run != me.run, self.queue)
        return next((each for each in (*self.holders, *before) if each.conflicts(me) and each.run != me.run), None)

    def living(self, is_over: Callable[[LockHolder], bool]) -> LockRecord:
        """Return the record without the builds that are over."""
        holders = tuple(holder for holder in self.holders if not is_over(holder))
        return self.model_copy(
            update={"holders": holders, "queue": tuple(each for each in self.queue if not is_over(each))}
        )

    def acquired(self, me: LockHolder) -> LockRecord:
        """Return the record with one more holder, who takes over what earlier processes of its run have."""
        return LockRecord(
            fence=self.fence + 1,
            holders=(*(holder for holder in self.holders if holder.run != me.run), me),
            queue=tuple(waiting for waiting in self.queue if waiting.run != me.run),
        )

    def queued(self, me: LockHolder) -> LockRecord:
        """Return the record with a build in the queue: at its end, or at the place of an earlier process of its run."""
        mine = me.model_copy(update={"waits": True})
        places = [mine if waiting.run == me.run else waiting for waiting in self.queue]
        return self.model_copy(update={"queue": tuple(places if mine in places else [*places, mine])})

    def beaten(self, token: str) -> LockRecord:
        """Return the record with one more heartbeat of a build."""
        return self.model_copy(update={"holders": _beaten(self.holders, token), "queue": _beaten(self.queue, token)})

    def without(self, token: str) -> LockRecord:
        """Return the record without a build."""
        return self.living(lambda holder: holder.token == token)


def _beaten(holders: Iterable[LockHolder], token: str) -> tuple[LockHolder, ...]:
    return tuple(
        holder.model_copy(update={"beat": holder.beat + 1}) if holder.token == token else holder for holder in holders
    )


@dataclass(frozen=True)
class PrefectVariables:
    """The variables of the Prefect API that this process uses.

    A record's bytes are the variable's tag: its value may have 5,000 characters at most.
    """

    client: SyncPrefectClient = field(default_factory=lambda: get_client(SETTINGS, sync_client=True))

    def look(self, key: str) -> Stored | None:
        """Return the newest version of a record, None if there is none."""
        with self._translated("read"):
            found = self._versions(key)
        if not found:
            return None
        newest = max(found)
        return Stored(str(found[newest]["tags"][0]).encode(), str(newest))

    def replace(self, key: str, data: bytes, version: str | None) -> bool:
        """Create the version after the one that was seen, and remove that one."""
        mine = int(version or 0) + 1
        with self._translated("write"):
            if not self._create(key, mine, data):
                return False
            found = self._versions(key)
            # A writer that slept creates a version that others have passed: the newest alone counts.
            superseded = mine != max(found, default=mine)
            for number, variable in found.items():
                if number < mine or (superseded and number == mine):
                    self._delete(variable["id"])
        return not superseded

    def describe(self) -> str:
        """Return the address of the API."""
        return str(self.client.api_url)

    def _versions(self, key: str) -> dict[int, dict[str, Any]]:
        """Return the variables of a record by version."""
        prefix = _prefix(key)
        answer = self.client.request("POST", "/variables/filter", json={"variables": {"name": {"like_": prefix}}})
        named = ((variable["name"].removeprefix(prefix), variable) for variable in answer.json())
        return {int(number): variable for number, variable in named if number.isdigit()}

    def _create(self, key: str, version: int, data: bytes) -> bool:
        value = f"dbt builds that run now: {len(json.loads(data)['holders'])}; deleting this breaks their locks"
        body = {"name": f"{_prefix(key)}{version}", "value": value, "tags": [data.decode()]}
        try:
            self.client.request("POST", "/variables/", json=body)
        except PrefectHTTPStatusError as error:
            if error.response.status_code != HTTPStatus.CONFLICT:
                raise
            return self._is_mine(key, version, data)
        return True

    def _is_mine(self, key: str, version: int, data: bytes) -> bool:
        """Return whether the version is this writer's: a request whose answer was lost is sent again."""
        found = self._versions(key).get(version)
        return found is not None and found["tags"] == [data.decode()]

    def _delete(self, identifier: str) -> None:
        try:
            self.client.request("DELETE", "/variables/{id}", path_params={"id": identifier})
        except PrefectHTTPStatusError as error:
            # Another writer has removed it.
            if error.response.status_code != HTTPStatus.NOT_FOUND:
                raise

    @contextmanager
    def _translated(self, verb: str) -> Iterator[None]:
        try:
            yield
        except (PrefectHTTPStatusError, httpx.HTTPError) as error:
            if isinstance(error, PrefectHTTPStatusError) and error.response.status_code in REFUSED:
                raise ConfigurationError(
                    f"The Prefect API does not let this process {verb} variables, where dbt's schema locks are",
                    location=self.describe(),
                    hint="allow the API key of the job pods to read, create and delete variables",
                ) from error
            raise PlatformError(
                f"The Prefect API did not {verb} a schema lock: {error or type(error).__name__}",
                location=self.describe(),
                hint="bring the server back, then run again",
            ) from error


def _prefix(key: str) -> str:
    return "flows-" + re.sub(r"[^a-z0-9]+", "-", key) + "-"
