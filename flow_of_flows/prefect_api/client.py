"""A Prefect API that answers, or one sentence: waits for it, and refuses wrong credentials at once."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TypeVar
from uuid import UUID

import httpx
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import WorkerFilter, WorkerFilterStatus
from prefect.client.schemas.objects import FlowRun, Worker, WorkQueue
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, get_current_settings, temporary_settings

from flow_of_flows import prefect_requests
from flow_of_flows.errors import ConfigurationError, PlatformError
from flow_of_flows.retrying import RetryTimeout, detail

T = TypeVar("T")
MANY = 200
# Type of the work pools whose runs are Jobs.
KUBERNETES = "kubernetes"


class PrefectApi:
    """Calls to one API that outlive its restarts, within a bound.

    Attributes:
        client: Prefect's own.
        url: the API's address, for messages.
    """

    def __init__(self, client: PrefectClient, *, seconds: float) -> None:
        self.client = client
        self.url = str(client.api_url).rstrip("/")
        self._retry = RetryTimeout(self.url, seconds, "start the API, or correct PREFECT_API_URL; then run this again")

    async def call(self, call: Callable[[], Awaitable[T]]) -> T:
        """Return the answer to a call that may be made again.

        Raises:
            ConfigurationError: the API refuses these credentials.
            PlatformError: it does not answer in time.
            PrefectHTTPStatusError: it answers that the call is wrong.
        """
        return await self._retry.call(call)

    async def find(self, call: Callable[[], Awaitable[T]]) -> T | None:
        """Return the answer to a read of one object; None if there is no such object."""
        try:
            return await self.call(call)
        except ObjectNotFound:
            return None

    async def all(self, page: Callable[[int], Awaitable[list[T]]]) -> list[T]:
        """Return all items of a paged listing; `page` is called with the offset of each page."""
        items: list[T] = []
        while True:
            found = await self.call(functools.partial(page, len(items)))
            items += found
            if len(found) < MANY:
                return items

    async def online_workers(self, pool: str) -> list[Worker]:
        """Return the workers of a work pool that are online."""
        online = WorkerFilter(status=WorkerFilterStatus(any_=["ONLINE"]))
        return await self.call(lambda: self.client.read_workers_for_work_pool(pool, worker_filter=online))


def is_full(queue: WorkQueue) -> bool:
    """Return whether all slots of a work queue are taken."""
    return queue.concurrency_limit is not None and (queue.active_slots or 0) >= queue.concurrency_limit


@asynccontextmanager
async def connected(*, seconds: float) -> AsyncIterator[PrefectApi]:
    """Open a client of the configured API, as soon as it answers.

    Raises:
        ConfigurationError: none is configured, or it refuses these credentials.
        PlatformError: it does not answer in time.
    """
    prefect_requests.guard()
    if not get_current_settings().api.url:
        raise ConfigurationError(
            "There is no Prefect API to register with", location="PREFECT_API_URL", hint="set it to the API's address"
        )
    # Prefect's own client would sleep through a 503 before this one can say that it waits.
    with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):
        try:
            async with get_client(httpx_settings={"timeout": httpx.Timeout(30, connect=10)}) as client:
                api = PrefectApi(client, seconds=seconds)
                await _look(api)
                yield api
        except httpx.UnsupportedProtocol as error:
            raise ConfigurationError(
                f"PREFECT_API_URL is not an address: {error}",
                location="environment",
                hint="write it as https://host/api",
            ) from error


async def _look(api: PrefectApi) -> None:
    """Read something that every Prefect API has.

    Raises:
        ConfigurationError: what answers is not a Prefect API.
        PlatformError: it does not work.
    """
    try:
        await api.call(lambda: api.client.read_work_pools(limit=1))
    except PrefectHTTPStatusError as error:
        if error.response.status_code == HTTPStatus.NOT_FOUND:
            raise foreign(api.url) from error
        raise PlatformError(
            f"The Prefect API does not answer as one: {detail(error)}",
            location=api.url,
            hint="correct PREFECT_API_URL, or see what answers there",
        ) from error


def foreign(address: str) -> ConfigurationError:
    """Return the error that something else answers at the address of the API."""
    return ConfigurationError(
        "This is not a Prefect API", location=address, hint="correct PREFECT_API_URL; it usually ends with /api"
    )


# Less is nothing: the server tells whole seconds, and its answer was under way.
TOLERANCE = timedelta(seconds=10)


def ahead(date: str | None, asked: datetime, answered: datetime) -> timedelta:
    """Return how far this machine's clock is ahead of the server's; negative where it is behind.

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
    """Read a flow run, and how far this machine's clock is ahead of the server's; see `ahead`.

    Args:
        client: an open Prefect client.
        run: id of the run.
    """
    asked = datetime.now(UTC)
    answer = await client.request("GET", "/flow_runs/{id}", path_params={"id": run})
    return FlowRun.model_validate(answer.json()), ahead(answer.headers.get("date"), asked, datetime.now(UTC))
