"""The calls of dbt Cloud's API v2 that the child makes: ids in, values out.

Read from the API's documentation (https://docs.getdbt.com/dbt-cloud/api-v2) and dbt Labs' own client (dbt-mcp); the
same calls are what tests/fixtures/dbt_cloud.py answers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
from pydantic import JsonValue, TypeAdapter, ValidationError

from flow_of_flows.dbt_cloud.client import Again, DbtCloudClient, UnknownIdError
from flow_of_flows.dbt_cloud.models import CloudJob, CloudRun
from flow_of_flows.errors import FlowsError
from flow_of_flows.secrets import DbtCloudCredentials
from flow_of_flows.settings.dbt_cloud import DbtCloudSettings

T = TypeVar("T")
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
        self._door = DbtCloudClient(credentials, settings, secret)
        self.job_id = credentials.job_id

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._door.close()

    def job(self) -> CloudJob:
        """The job."""
        return self._read(JOB, f"jobs/{self.job_id}/", {}, f"job {self.job_id}")

    def run(self, run: int) -> CloudRun:
        """A run with its cause, its steps and what they have printed."""
        return self._read(RUN, f"runs/{run}/", {"include_related": _related("run_steps", "trigger")}, f"run {run}")

    def runs(self) -> list[CloudRun]:
        """The newest runs of the job with their causes, newest first."""
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
        self._door.patiently(lambda: self._door.once("POST", path, what, seconds=seconds), patience=seconds)

    def artifact(self, run: int, name: str, *, step: int | None = None) -> bytes | None:
        """A file that a run left; of its last step unless said otherwise. None if there is none."""
        path, what = f"runs/{run}/artifacts/{name}", f"{name} of run {run}"
        params = {} if step is None else {"step": step}
        try:
            return self._door.patiently(lambda: self._door.once("GET", path, what, params=params)).content
        except UnknownIdError:
            return None

    def artifact_address(self, run: int, name: str) -> str:
        """Address of a file that a run left; who opens it needs a token."""
        return f"{self._door.base}/api/v2/accounts/{self._door.account}/runs/{run}/artifacts/{name}"

    def page(self, run: CloudRun) -> str:
        """Address of a run's page, for people."""
        return run.href or f"{self._door.base}/deploy/{self._door.account}/runs/{run.id}"

    def _read(self, shape: TypeAdapter[T], path: str, params: Mapping[str, Any], what: str) -> T:
        return self._door.patiently(lambda: self._data(shape, self._door.once("GET", path, what, params=params), what))

    def _start(self, path: str, what: str, body: Mapping[str, JsonValue]) -> CloudRun:
        """A POST that starts a run: made again only where dbt Cloud has not done anything yet."""

        def call() -> CloudRun:
            try:
                return self._data(RUN, self._door.once("POST", path, what, body=body), what)
            except Again as again:
                if again.lost:
                    raise Lost(again.error) from again
                raise

        return self._door.patiently(call)

    def _data(self, shape: TypeAdapter[T], response: httpx.Response, what: str) -> T:
        """`data` of an answer, which every answer of the API has beside its `status`."""
        try:
            return shape.validate_python(response.json()["data"])
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            place = ".".join(str(part) for part in ("data", *first["loc"]))
            raise self._door.malformed(what, f"{place}: {first['msg']}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise self._door.malformed(what, "it is no JSON object with data") from error


def _related(*names: str) -> str:
    """A list in the query, as the API wants it: JSON."""
    return json.dumps(names, separators=(",", ":"))
