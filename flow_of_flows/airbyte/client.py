"""The client of Airbyte's API, on top of the official one: calls of a connection in, values or a `FlowsError` out.

Every call has a time limit; one that changes nothing when it is made twice is made again after a throttling or a fault,
the trigger of a sync is not.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from flow_of_flows.airbyte import errors
from flow_of_flows.airbyte.job import Connection, SyncJob, SyncStatus
from flow_of_flows.errors import ConfigurationError, FlowsError, PlatformError
from flow_of_flows.messages import one_line
from flow_of_flows.redaction import public, redact, remember
from flow_of_flows.retrying import RetryPolicy
from flow_of_flows.secrets import AirbyteCredentials

T = TypeVar("T")
CONNECT_SECONDS, READ_SECONDS = 5.0, 30.0
# A call that changes nothing when it is made twice.
RETRY = RetryPolicy(first=1.0, factor=3.0, attempts=4, longest_requested=60.0)
LATEST = 20


@contextmanager
def opened(
    credentials: AirbyteCredentials, *, plain_http: bool, retry: RetryPolicy | None = None
) -> Iterator[AirbyteClient]:
    """The API of the credentials' connection.

    Args:
        credentials: of the API, with the address and the connection.
        plain_http: whether another host than this one may be without https.
        retry: how a call is made again; RETRY unless given.

    Raises:
        ConfigurationError: an address that would give the credentials away.
    """
    check(credentials.server_url, plain_http=plain_http)
    limits = httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS)
    # No redirects: a token or a client's secret goes to the address that was configured, and to no other.
    with httpx.Client(timeout=limits, follow_redirects=False) as http:
        yield AirbyteClient(Access(credentials, http), retry or RETRY)


class AirbyteClient:
    """One connection of Airbyte."""

    def __init__(self, way: Access, retry: RetryPolicy) -> None:
        """Bind the official client to the access; nothing is asked yet."""
        from airbyte_api import AirbyteAPI, models

        self._access, self._retry = way, retry
        self.connection_id = way.credentials.connection_id
        self._api = AirbyteAPI(
            server_url=way.server, client=way.http, security=lambda: models.Security(bearer_auth=way.token())
        )

    @property
    def server(self) -> str:
        """The API's address, for people."""
        return self._access.where

    @property
    def where(self) -> str:
        """The connection, for people."""
        return f"{self._access.where}, connection {self.connection_id}"

    def connection(self) -> Connection:
        """Return the connection itself."""
        from airbyte_api import api

        request = api.GetConnectionRequest(connection_id=self.connection_id)
        read = self._again(
            "show the connection", lambda: self._api.connections.get_connection(request=request).connection_response
        )
        return Connection(read.connection_id, read.name, read.status.value, read.status_reason)

    def jobs(self) -> tuple[SyncJob, ...]:
        """Its latest jobs, of every kind."""
        from airbyte_api import api

        request = api.ListJobsRequest(connection_id=self.connection_id, limit=LATEST, order_by="createdAt|DESC")
        read = self._again("list the jobs", lambda: self._api.jobs.list_jobs(request=request).jobs_response)
        return tuple(_job(entry) for entry in read.data)

    def job(self, number: int) -> SyncJob:
        """One job."""
        from airbyte_api import api

        request = api.GetJobRequest(job_id=number)
        return _job(self._again("show the job", lambda: self._api.jobs.get_job(request=request).job_response))

    def start(self) -> SyncJob:
        """Start a sync.

        Raises:
            ConflictError: a job of the connection runs already.
            PlatformError: no answer; whether it was started is not known.
        """
        from airbyte_api import models

        request = models.JobCreateRequest(connection_id=self.connection_id, job_type=models.JobTypeEnum.SYNC)
        return _job(self._once("start the sync", lambda: self._api.jobs.create_job(request=request).job_response))

    def cancel(self, number: int) -> None:
        """Cancel a job; one that is over stays as it is."""
        from airbyte_api import api

        request = api.CancelJobRequest(job_id=number)
        self._again("cancel the job", lambda: self._api.jobs.cancel_job(request=request).job_response)

    def reason(self, number: int) -> str | None:
        """Return why a job failed, where it can be known: only the internal API of a self-managed Airbyte says so."""
        server = self._access.server
        if not server.endswith("/api/public/v1"):
            return None
        try:
            answer = self._access.http.post(
                f"{server.removesuffix('/public/v1')}/v1/jobs/get",
                json={"id": number},
                headers={"authorization": f"Bearer {self._access.token()}"},
            )
            failures = answer.raise_for_status().json()["attempts"][-1]["attempt"]["failureSummary"]["failures"]
            said = failures[0].get("externalMessage") or failures[0].get("internalMessage")
        except (httpx.HTTPError, FlowsError, ValueError, LookupError, TypeError, AttributeError):
            return None
        return redact(one_line(said))[: errors.LONGEST] if said else None

    def _again(self, doing: str, call: Callable[[], T | None]) -> T:
        """Make a call that may be made twice."""
        return self._retry.call(
            lambda: self._once(doing, call),
            again=lambda error: isinstance(error, PlatformError),
        )

    def _once(self, doing: str, call: Callable[[], T | None]) -> T:
        """Make a call; with a new token, if Airbyte does not take the one it gave."""
        try:
            return self._translated(doing, call)
        except errors.UnauthorizedError as error:
            if not self._access.renew():
                raise error.refusal from error.__cause__
        try:
            return self._translated(doing, call)
        except errors.UnauthorizedError as error:
            raise error.refusal from error.__cause__

    def _translated(self, doing: str, call: Callable[[], T | None]) -> T:
        from airbyte_api import errors as sdk

        try:
            answer = call()
        except sdk.ResponseValidationError as error:
            raise errors.malformed(doing, self.where) from error
        except sdk.AirbyteAPIError as error:
            raise errors.answered(doing, error.status_code, error.body, error.headers, self.where) from error
        except (httpx.HTTPError, sdk.NoResponseError) as error:
            raise errors.unreachable(doing, error, self.where) from error
        if answer is None:
            raise errors.malformed(doing, self.where)
        return answer


def _job(read: Any) -> SyncJob:
    return SyncJob(read.job_id, SyncStatus(read.status.value), read.job_type.value, read.rows_synced, read.bytes_synced)


# Airbyte's tokens live for 3 minutes (self-managed) or 15 (Cloud); one that ends during a call is of no use.
SPARE_SECONDS = 30.0
UNSAID_SECONDS = 180.0
DOING = "hand out a token"


class Token(BaseModel):
    """Airbyte's answer to client credentials."""

    model_config = ConfigDict(hide_input_in_errors=True)

    access_token: SecretStr = Field(min_length=1)
    expires_in: float = UNSAID_SECONDS


@dataclass
class Access:
    """The token of one run; it is fetched when it is needed, and again shortly before it ends."""

    credentials: AirbyteCredentials
    http: httpx.Client
    _token: SecretStr | None = None
    _until: float = field(default=0.0)

    @property
    def server(self) -> str:
        """Address of the API, without a slash at its end."""
        return self.credentials.server_url.rstrip("/")

    @property
    def where(self) -> str:
        """The same for people."""
        return public(self.server)

    def token(self) -> str:
        """Return a token that is good for the next call.

        Raises:
            ConfigurationError: Airbyte does not know the client, or there is no such address.
            PlatformError: no answer, or none that makes sense.
        """
        if self.credentials.token is not None:
            return self.credentials.token.get_secret_value()
        if self._token is None or time.monotonic() >= self._until:
            self._fetch()
        assert self._token is not None
        return self._token.get_secret_value()

    def renew(self) -> bool:
        """Forget the token that was refused; False where there is no other one to be had."""
        fetched, self._token = self._token is not None, None
        return fetched

    def _fetch(self) -> None:
        secret = self.credentials.client_secret
        body = {
            "client_id": self.credentials.client_id,
            "client_secret": secret.get_secret_value() if secret else None,
            "grant-type": "client_credentials",
        }
        asked = time.monotonic()
        try:
            response = self.http.post(f"{self.server}/applications/token", json=body)
        except httpx.HTTPError as error:
            raise errors.unreachable(DOING, error, self.where) from error
        if response.status_code != HTTPStatus.OK:
            refusal = errors.refused(DOING, response.status_code, response.text, self.where)
            if response.status_code == HTTPStatus.BAD_REQUEST:  # how some versions say that they do not know the client
                raise ConfigurationError(refusal.message, location=self.where, hint=errors.CREDENTIALS_TODO)
            raise refusal
        try:
            answer = Token.model_validate_json(response.content)
        except ValidationError:
            raise errors.malformed(DOING, self.where) from None
        self._token = answer.access_token
        remember(answer.access_token.get_secret_value(), "token of Airbyte's API")
        self._until = asked + answer.expires_in - min(SPARE_SECONDS, answer.expires_in / 2)


def check(server_url: str, *, plain_http: bool) -> None:
    """Refuse an address that would give the credentials away.

    Args:
        server_url: address of the API.
        plain_http: another host than this one may be without https.

    Raises:
        ConfigurationError: no https to another host than this one, a user or password in it, or no address at all.
    """
    try:
        parts = urlsplit(server_url)
        host = parts.hostname or ""
    except ValueError:
        parts, host = urlsplit(""), ""
    if not host or parts.scheme not in {"http", "https"}:
        raise ConfigurationError("Airbyte's server_url is not an address", location="secret", hint=errors.ADDRESS_TODO)
    if parts.username or parts.password or parts.query:
        raise ConfigurationError(
            "Airbyte's server_url carries more than an address", location=public(server_url), hint=errors.ADDRESS_TODO
        )
    if parts.scheme == "http" and not plain_http and not _is_loopback(host):
        raise ConfigurationError(
            "Airbyte's server_url is not https: it would show the credentials to the network",
            location=public(server_url),
            hint="use https; for an Airbyte in the cluster's own network set FLOWS_AIRBYTE_PLAIN_HTTP=true",
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
