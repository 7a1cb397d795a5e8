"""Starts the flow runs of one test on the embedded server, waits for their ends, and reads what they left."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar
from uuid import UUID

import httpx
from prefect.client.orchestration import PrefectClient, SyncPrefectClient
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterKey,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import TERMINAL_STATES, FlowRun
from prefect.settings import (
    PREFECT_API_AUTH_STRING,
    PREFECT_API_KEY,
    PREFECT_API_URL,
    PREFECT_CLIENT_CSRF_SUPPORT_ENABLED,
    PREFECT_CLIENT_MAX_RETRIES,
    PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED,
    PREFECT_HOME,
    PREFECT_SERVER_ALLOW_EPHEMERAL_MODE,
    temporary_settings,
)
from prefect.states import AwaitingRetry, Cancelled, Cancelling

from flow_of_flows.dispatch.pipeline import Pipeline
from flow_of_flows.dispatch.status import answer_of, observe
from flow_of_flows.errors import ConfigurationError, PlatformError
from flow_of_flows.prefect_api.runs import RunsReader
from flow_of_flows.settings import Settings
from flow_of_flows.summary.run_summary import RunSummary
from flow_of_flows.testing.embedded import EmbeddedServer
from flow_of_flows.testing.environment import Isolation
from flow_of_flows.testing.faults import InjectedFault
from flow_of_flows.testing.server import RunContext

T = TypeVar("T")
POLL_SECONDS = 0.1
CANCEL_SECONDS = 20.0
OUTAGE_SECONDS = 10.0
EVERYTHING = 200
LOG_LINES = 30
ACTIVE = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(not_any_=list(TERMINAL_STATES))))


class Launcher:
    """Runs flows for one test.

    Args:
        server: of the session; started when the first run needs it.
        isolation: the test's environment, as it is when a run starts.
        sections: receives title and text of what each run left, for the report of the test.
    """

    def __init__(self, server: EmbeddedServer, isolation: Isolation, sections: list[tuple[str, str]]) -> None:
        self.isolation = isolation
        self.server = server
        self._sections = sections
        self._started = self._interrupted = False

    def run(
        self, deployment: str, parameters: Mapping[str, Any], faults: Sequence[InjectedFault] = (), *, timeout: float
    ) -> FlowRun:
        """Run a deployment to its end, and return its run.

        Args:
            deployment: its name in prefect.yaml.
            parameters: of the run.
            faults: planned for its steps.
            timeout: seconds until it is cancelled.

        Raises:
            ConfigurationError: the server, which reads prefect.yaml when it starts, does not have it.
            PlatformError: the server does not start, or the run is not over in time.
        """
        known = self.server.address().deployments
        if deployment not in known:
            raise ConfigurationError(
                f"The embedded server of this test session has no deployment {deployment}",
                hint="declare it in the prefect.yaml of the folder that pytest runs in",
            )
        self._prepare(faults)
        with self._client() as client:
            created = client.create_flow_run_from_deployment(known[deployment], parameters=dict(parameters))
            return self._end_of(client, created.id, timeout=timeout)

    def retry(self, run: UUID, faults: Sequence[InjectedFault] = (), *, timeout: float) -> FlowRun:
        """Run the rest of a run that is over, as the UI's Retry button does, and return it.

        Args:
            run: its id.
            faults: planned for its steps.
            timeout: seconds until it is cancelled.

        Raises:
            PlatformError: the server is gone, or the run is not over in time.
        """
        self._prepare(faults)
        with self._client() as client:
            client.set_flow_run_state(run, AwaitingRetry())
            return self._end_of(client, run, timeout=timeout)

    def _prepare(self, faults: Sequence[InjectedFault]) -> None:
        self._started = True
        self.server.put(RunContext(environment=self.isolation.variables(), faults=tuple(faults)))

    @contextmanager
    def _client(self) -> Iterator[SyncPrefectClient]:
        api = self.server.address().api
        with without_api(self.isolation), SyncPrefectClient(api) as client:
            try:
                yield client
            except httpx.TransportError as error:
                raise self.server.failure() from error

    def _end_of(self, client: SyncPrefectClient, run: UUID, *, timeout: float) -> FlowRun:
        try:
            return self._polled(client, run, timeout)
        except KeyboardInterrupt:
            self._interrupted = True
            raise

    def _polled(self, client: SyncPrefectClient, run: UUID, timeout: float) -> FlowRun:
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if not self.server.is_up:
                raise self.server.failure()
            read = client.read_flow_run(run)
            if read.state and read.state.is_final():
                return read
            time.sleep(POLL_SECONDS)
        raise PlatformError(
            f"The run was not over after {timeout:g} s",
            location=f"log files in {self.server.logs}",
            hint="find out what it waits for, or give it more time: timeout=…",
        )

    def summary(self, plan: Pipeline | None, run: FlowRun, flow: str, settings: Settings) -> RunSummary:
        """Read how a run ended, with the reports of its children.

        Args:
            plan: its steps, if it is a pipeline.
            run: the run.
            flow: name of its flow.
            settings: of the test.
        """
        return self._asked(lambda api: answer_of(api, plan, flow, run.id, settings))

    def nested(self, plan: Pipeline, run: UUID) -> RunSummary:
        """Read how a run of a step that is a pipeline itself ended.

        Args:
            plan: its steps.
            run: its id.
        """

        async def read(api: RunsReader) -> RunSummary:
            return await observe(api, plan, await api.read(run))

        return self._asked(read)

    def page(self, run: UUID) -> str:
        """Read the Markdown on a run's page; empty if it published none."""
        chosen = ArtifactFilter(
            flow_run_id=ArtifactFilterFlowRunId(any_=[run]), key=ArtifactFilterKey(any_=["answers"])
        )
        with self._client() as client:
            found = sorted(client.read_artifacts(artifact_filter=chosen), key=lambda one: str(one.created))
        return str(found[-1].data) if found else ""

    def log(self, run: str) -> str:
        """Return the last lines that the process of a run has printed.

        Args:
            run: name of the run.
        """
        file = self.server.logs / f"{run}.log"
        lines = file.read_text(errors="replace").splitlines() if file.exists() else []
        return "\n".join(lines[-LOG_LINES:])

    def show(self, title: str, text: str) -> None:
        """Add a section to the report of the test, which pytest prints if it fails."""
        self._sections.append((title, text.strip()))

    def close(self) -> None:
        """End what still runs, so that the next test does not meet it; after Ctrl-C, the server's end does that."""
        if not self._started or self._interrupted or not self.server.is_up:
            return
        with self._client() as client:
            deadline = time.monotonic() + CANCEL_SECONDS
            while active := client.read_flow_runs(flow_run_filter=ACTIVE, limit=EVERYTHING):
                is_late = time.monotonic() > deadline
                for run in active:
                    if is_late or (run.state and run.state.is_scheduled()):
                        client.set_flow_run_state(run.id, Cancelled(), force=True)
                    elif run.state and not run.state.is_cancelling():
                        client.set_flow_run_state(run.id, Cancelling(), force=True)
                time.sleep(POLL_SECONDS)

    def _asked(self, ask: Callable[[RunsReader], Coroutine[Any, Any, T]]) -> T:
        async def work() -> T:
            async with PrefectClient(self.server.address().api) as client:
                return await ask(RunsReader(client, retry_seconds=OUTAGE_SECONDS))

        with without_api(self.isolation):
            return finished(work)


@contextmanager
def without_api(isolation: Isolation) -> Iterator[None]:
    """Hide the Prefect API and the profile of the developer from this process until the block ends.

    Prefect may have read them before: when a conftest imported the project.
    """
    with temporary_settings(
        {
            PREFECT_API_URL: None,
            PREFECT_API_KEY: None,
            PREFECT_API_AUTH_STRING: None,
            PREFECT_HOME: isolation.prefect,
            PREFECT_CLIENT_CSRF_SUPPORT_ENABLED: False,
            PREFECT_CLIENT_MAX_RETRIES: 2,
            PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED: False,
            PREFECT_SERVER_ALLOW_EPHEMERAL_MODE: False,
        }
    ):
        yield


def finished(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine to its end in a thread of its own, since the test may have an event loop that runs."""
    context = contextvars.copy_context()
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(context.run, lambda: asyncio.run(work())).result()
