"""The client of dbt Cloud's API: requests in, `data` of the answers out, or one sentence of what went wrong.

Plain httpx rather than prefect-dbt's classes (prefect_dbt.cloud, 0.7): importing any of them imports dbt (1 s and 58
MiB more, measured, in a pod that runs no dbt). The client knows neither 429 nor 5xx; its task for the trigger is tried
three times more, which starts a job again whose answer was lost; its polling does not back off, and leaves the job
running when it is cancelled or its time is over; its retry selects nodes instead of using the API's own. The
credentials block holds up: `flows register` makes one, for other flows to use.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
from pydantic import JsonValue, TypeAdapter, ValidationError

from flow_of_flows.dbt_cloud.models import CloudJob, CloudRun
from flow_of_flows.errors import ConfigurationError, FlowsError, PlatformError
from flow_of_flows.messages import one_line
from flow_of_flows.retrying import RetryPolicy, retry_after
from flow_of_flows.secrets import DbtCloudCredentials
from flow_of_flows.settings.systems import DbtCloudSettings

T = TypeVar("T")
logger = logging.getLogger(__name__)

RETRY = RetryPolicy(first=1.0)
CONNECT_SECONDS = 10.0
UNAUTHORIZED, FORBIDDEN, NOT_FOUND, TOO_MANY, SERVER_ERROR = 401, 403, 404, 429, 500
LATER = "run again later; it goes on with its run in dbt Cloud"
# Errors before anything was sent: the request can be made again whatever it does.
NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class Again(Exception):  # noqa: N818 - not an error yet
    """The request may be made again.

    Attributes:
        error: what to say if it is not.
        lost: whether dbt Cloud may have done what it was asked for.
        after: seconds that it asks to wait.
    """

    def __init__(self, error: FlowsError, *, lost: bool, after: float = 0.0) -> None:
        super().__init__(str(error))
        self.error = error
        self.lost = lost
        self.after = after


class UnknownIdError(ConfigurationError):
    """dbt Cloud has nothing of this id, or does not show it to this token."""


class DbtCloudClient:
    """Requests to one account.

    Args:
        credentials: token, account and host; a host may have its scheme (`http://…`) for a stand-in.
        settings: how patient to be.
        secret: name of the secret, for messages.
    """

    def __init__(self, credentials: DbtCloudCredentials, settings: DbtCloudSettings, secret: str) -> None:
        self.base = base_address(credentials.host)
        self.account = credentials.account_id
        self._settings = settings
        self._secret = secret
        token = credentials.api_token.get_secret_value()
        self._client = httpx.Client(
            base_url=f"{self.base}/api/v2/accounts/{self.account}/",
            headers={"authorization": f"Bearer {token}", "accept": "application/json"},
            timeout=httpx.Timeout(settings.request_seconds, connect=min(CONNECT_SECONDS, settings.request_seconds)),
            # The token must not follow to another host.
            follow_redirects=False,
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def retried(self, call: Callable[[], T], *, retry_seconds: float | None = None) -> T:
        """Make a call that may be made twice until it is answered, or patience is over.

        Args:
            call: makes one request.
            retry_seconds: seconds until it gives up; the setting, unless given.

        Raises:
            FlowsError: what the last answer means.
        """
        policy = replace(RETRY, seconds=self._settings.patience_seconds if retry_seconds is None else retry_seconds)
        try:
            return policy.call(call, again=lambda error: isinstance(error, Again), requested=_after, log=_log)
        except Again as again:
            raise again.error from again.__cause__

    def once(
        self,
        method: str,
        path: str,
        what: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: Mapping[str, JsonValue] | None = None,
        seconds: float | None = None,
    ) -> httpx.Response:
        """Make one request.

        Args:
            method: GET or POST.
            path: below the account.
            what: what it is about, for messages: `job 7`.
            params: of the query.
            body: JSON to send.
            seconds: time limit, where it is not the setting's.

        Raises:
            Again: dbt Cloud did not answer, or not now.
            ConfigurationError: it refuses, and will refuse again.
        """
        where = f"{self.base}, account {self.account}, {what}"
        try:
            timeout = httpx.USE_CLIENT_DEFAULT if seconds is None else seconds
            response = self._client.request(method, path, params=params, json=body, timeout=timeout)
        except httpx.TransportError as error:
            text = one_line(error) or "no answer"
            failure = PlatformError(
                f"dbt Cloud does not answer: {type(error).__name__}: {text}",
                location=where,
                hint=f"check the network and https://status.getdbt.com, then {LATER}",
            )
            raise Again(failure, lost=not isinstance(error, NOT_SENT)) from error
        if response.is_success:
            return response
        raise self._refused(response, what, where)

    def malformed(self, what: str, reason: str) -> Again:
        """Return the exception for an answer that does not fit the API: it may be incomplete.

        Args:
            what: what the request is about.
            reason: what does not fit.
        """
        return Again(
            PlatformError(
                f"dbt Cloud's answer is not what its API says: {reason}",
                location=f"{self.base}, account {self.account}, {what}",
                hint=f"check the host in the secret {self._secret}; a proxy may answer in its place; else {LATER}",
            ),
            lost=True,
        )

    def _refused(self, response: httpx.Response, what: str, where: str) -> Exception:
        code, said = response.status_code, _message(response)
        if code == UNAUTHORIZED:
            return ConfigurationError(
                f"dbt Cloud does not accept the token{said}",
                location=where,
                hint=f"put a valid service token into the secret {self._secret}",
            )
        if code == FORBIDDEN:
            todo = "give the service token a permission set that may read and run the job (Job Admin)"
            return ConfigurationError(f"The token may not do this{said}", location=where, hint=todo)
        if code == NOT_FOUND:
            todo = f"correct account_id, job_id and host in the secret {self._secret}, and what the token may see"
            return UnknownIdError(f"dbt Cloud does not know {what}{said}", location=where, hint=todo)
        if code == TOO_MANY:
            failure = PlatformError(f"dbt Cloud gets too many requests{said}", location=where, hint=LATER)
            return Again(failure, lost=False, after=retry_after(response.headers))
        if code >= SERVER_ERROR:
            todo = f"check https://status.getdbt.com, then {LATER}"
            failure = PlatformError(f"dbt Cloud fails with HTTP {code}{said}", location=where, hint=todo)
            return Again(failure, lost=True, after=retry_after(response.headers))
        todo = "correct what the message names"
        return ConfigurationError(f"dbt Cloud refuses with HTTP {code}{said}", location=where, hint=todo)


def base_address(host: str) -> str:
    """Base address of a host as the secret names it; https unless it says otherwise."""
    return host.rstrip("/") if "://" in host else f"https://{host.rstrip('/')}"


def _message(response: httpx.Response) -> str:
    """Return what the API says for its users, as the end of a sentence; empty for an answer that is not the API's."""
    try:
        status = response.json()["status"]
        text = one_line(status["user_message"])
    except (ValueError, KeyError, TypeError):
        return ""
    return f": {text}" if text else ""


def _after(error: BaseException) -> float:
    return error.after if isinstance(error, Again) else 0.0


def _log(error: BaseException, pause: float) -> None:
    logger.warning("%s Asking again in %.0f s", error.error.fact if isinstance(error, Again) else error, pause)


LISTED = 100
# A cancel has to fit into the time that a pod is given to end.
CANCEL_SECONDS = 8.0
JOB, RUN, RUNS = TypeAdapter(CloudJob), TypeAdapter(CloudRun), TypeAdapter(list[CloudRun])


class Lost(Exception):  # noqa: N818 - whether it is an error is not known
    """Whether dbt Cloud did what it was asked for is not known: its answer was lost.

    Attributes:
        error: what to say if it cannot be found out.
    """

    def __init__(self, error: FlowsError) -> None:
        super().__init__(str(error))
        self.error = error


class Cloud:
    """The job of the secret and its runs. A context: it keeps connections open."""

    def __init__(self, credentials: DbtCloudCredentials, settings: DbtCloudSettings, *, secret: str) -> None:
        self._client = DbtCloudClient(credentials, settings, secret)
        self.job_id = credentials.job_id

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def job(self) -> CloudJob:
        """Return the job."""
        return self._read(JOB, f"jobs/{self.job_id}/", {}, f"job {self.job_id}")

    def run(self, run: int) -> CloudRun:
        """Return a run with its cause, its steps and what they have printed."""
        return self._read(RUN, f"runs/{run}/", {"include_related": _related("run_steps", "trigger")}, f"run {run}")

    def runs(self) -> list[CloudRun]:
        """Return the newest runs of the job with their causes, newest first."""
        query = {"job_definition_id": self.job_id, "order_by": "-id", "limit": LISTED}
        found = self._read(
            RUNS, "runs/", query | {"include_related": _related("trigger")}, f"runs of job {self.job_id}"
        )
        return sorted(found, key=lambda run: run.id, reverse=True)

    def trigger(self, body: Mapping[str, JsonValue]) -> CloudRun:
        """Start a run of the job.

        Raises:
            Lost: there may be a new run, or not.
        """
        return self._start(f"jobs/{self.job_id}/run/", f"job {self.job_id}", body)

    def retry(self, run: int) -> CloudRun:
        """Start a run that goes on from where a failed one stopped.

        Raises:
            Lost: there may be a new run, or not.
            ConfigurationError: dbt Cloud refuses.
        """
        return self._start(f"runs/{run}/retry/", f"run {run}", {})

    def cancel(self, run: int) -> None:
        """Cancel a run; cancelling twice does no harm."""
        path, what = f"runs/{run}/cancel/", f"run {run}"
        seconds = CANCEL_SECONDS / 2
        self._client.retried(lambda: self._client.once("POST", path, what, seconds=seconds), retry_seconds=seconds)

    def artifact(self, run: int, name: str, *, step: int | None = None) -> bytes | None:
        """Return a file that a run left; of its last step unless said otherwise. None if there is none.

        Args:
            run: id of the run in dbt Cloud.
            name: name of the file, such as run_results.json.
            step: number of the step that wrote it; the last one by default.
        """
        path, what = f"runs/{run}/artifacts/{name}", f"{name} of run {run}"
        params = {} if step is None else {"step": step}
        try:
            return self._client.retried(lambda: self._client.once("GET", path, what, params=params)).content
        except UnknownIdError:
            return None

    def artifact_address(self, run: int, name: str) -> str:
        """Return the address of a file that a run left; who opens it needs a token.

        Args:
            run: id of the run.
            name: of the file.
        """
        return f"{self._client.base}/api/v2/accounts/{self._client.account}/runs/{run}/artifacts/{name}"

    def page(self, run: CloudRun) -> str:
        """Return the address of a run's page, for people."""
        return run.href or f"{self._client.base}/deploy/{self._client.account}/runs/{run.id}"

    def _read(self, shape: TypeAdapter[T], path: str, params: Mapping[str, Any], what: str) -> T:
        return self._client.retried(
            lambda: self._data(shape, self._client.once("GET", path, what, params=params), what)
        )

    def _start(self, path: str, what: str, body: Mapping[str, JsonValue]) -> CloudRun:
        """Start a run by a POST, which is made again only if dbt Cloud has not started anything yet."""

        def call() -> CloudRun:
            try:
                return self._data(RUN, self._client.once("POST", path, what, body=body), what)
            except Again as again:
                if again.lost:
                    raise Lost(again.error) from again
                raise

        return self._client.retried(call)

    def _data(self, shape: TypeAdapter[T], response: httpx.Response, what: str) -> T:
        """`data` of an answer, which every answer of the API has next to its `status`."""
        try:
            return shape.validate_python(response.json()["data"])
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            place = ".".join(str(part) for part in ("data", *first["loc"]))
            raise self._client.malformed(what, f"{place}: {first['msg']}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise self._client.malformed(what, "it is not a JSON object with data") from error


def _related(*names: str) -> str:
    """Return a list in the query, as the API wants it: JSON."""
    return json.dumps(names, separators=(",", ":"))
