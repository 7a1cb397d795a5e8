"""The client of the Prefect API: how long it waits for an answer. A real HTTP server gives scripted answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import UUID

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import PrefectHTTPStatusError

from flow_of_flows.errors import ConfigurationError, PlatformError
from flow_of_flows.prefect_api.launch import RunsClient
from tests.fixtures.http_server import Response, responding

T = TypeVar("T")
RUN = UUID("00000000-0000-4000-8000-00000000000e")
FLOW_RUN = FlowRun(id=RUN, flow_id=RUN, name="keen-owl")
NO_JSON = b"<html>Bad Gateway</html>"


@dataclass
class Server:
    """An API that gives these answers, one per request; the last one repeats."""

    answers: list[tuple[int, bytes]] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    url: str = ""

    def will(self, *answers: tuple[int, Any]) -> None:
        """Script the answers: a status with its JSON, or with bytes as they are."""
        self.answers = [(status, _bytes(body)) for status, body in answers]

    def next(self, request: str) -> tuple[int, bytes]:
        """The answer to a request; like any server that is not asked to, it gives no CSRF token."""
        if "/csrf-token" in request:
            return 404, b"{}"
        self.requests.append(request)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def _bytes(body: Any) -> bytes:
    return body if isinstance(body, bytes) else json.dumps(body).encode()


@pytest.fixture
def server() -> Iterator[Server]:
    """A scripted API on a free port."""
    script = Server()

    with responding(lambda asked: Response(*script.next(f"{asked.method} {asked.path}"))) as address:
        script.url = f"{address}/api"
        yield script


def ask(url: str, call: Callable[[RunsClient], Awaitable[T]], *, retry_seconds: float = 30) -> T:
    """Make one call."""

    async def once() -> T:
        async with PrefectClient(url) as client:
            return await call(RunsClient(client, retry_seconds=retry_seconds))

    return asyncio.run(once())


def test_a_call_outlives_a_server_that_restarts(server: Server) -> None:
    """Two answers of 500, which Prefect's own client takes for final, then the run."""
    server.will((500, {"detail": "database is locked"}), (500, NO_JSON), (200, FLOW_RUN.model_dump(mode="json")))
    assert ask(server.url, lambda api: api.read(RUN)).name == "keen-owl"
    assert server.requests == [f"GET /api/flow_runs/{RUN}"] * 3


def test_an_answer_that_blames_the_caller_is_final(server: Server) -> None:
    """Asking again would be answered the same."""
    server.will((409, {"detail": "no such filter"}))
    with pytest.raises(PrefectHTTPStatusError):
        ask(server.url, lambda api: api.children(RUN))
    assert server.requests == ["POST /api/flow_runs/filter"]


def test_a_run_that_does_not_exist_is_said_so_at_once(server: Server) -> None:
    """404 is an answer."""
    server.will((404, {"detail": "Flow run not found"}))
    with pytest.raises(ConfigurationError) as caught:
        ask(server.url, lambda api: api.read(RUN))
    assert str(caught.value) == (f"There is no run {RUN}. Where: {server.url}/. Next: copy the id from the run's page.")
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("body", "detail"), [({"detail": "database is locked"}, "database is locked"), (NO_JSON, "status 500")]
)
def test_a_server_that_does_not_recover_is_the_operators_turn(server: Server, body: Any, detail: str) -> None:
    """After the patience, one sentence with the last answer."""
    server.will((500, body))
    with pytest.raises(PlatformError) as caught:
        ask(server.url, lambda api: api.read(RUN), retry_seconds=0.1)
    assert str(caught.value) == (
        f"The Prefect API did not answer: {detail}. Where: {server.url}/. "
        "Next: bring the server back, then retry this run: it goes on where it stopped."
    )


def test_a_server_that_is_not_there_is_the_operators_turn() -> None:
    """Nobody listens on the port."""
    with pytest.raises(PlatformError) as caught:
        ask("http://127.0.0.1:9/api", lambda api: api.read(RUN), retry_seconds=0.1)
    assert str(caught.value) == (
        "The Prefect API did not answer: All connection attempts failed. Where: http://127.0.0.1:9/api/. "
        "Next: bring the server back, then retry this run: it goes on where it stopped."
    )


def test_a_deployment_that_refuses_its_parameters_is_the_authors_turn(server: Server) -> None:
    """The API's own words, and the child they are about."""
    server.will((409, {"detail": "Error creating flow run: 'thread' is not a parameter"}))
    with pytest.raises(ConfigurationError) as caught:
        ask(
            server.url,
            lambda api: api.start(
                "dbt-build/dbt-build",
                pipeline_run=RUN,
                step="dbt-build",
                attempt=1,
                parameters={"thread": 4},
                job_variables={},
                name="keen-owl-dbt-build",
            ),
        )
    assert str(caught.value) == (
        "Step dbt-build cannot start: Error creating flow run: 'thread' is not a parameter. "
        "Where: dbt-build/dbt-build. Next: correct its parameters or job variables."
    )


def test_more_children_than_a_page_are_read_page_by_page(server: Server) -> None:
    """A full page is followed by another read, a short one is the last; runs of others are left out."""
    full = [_run(f"{RUN}/n{number:03}/1") for number in range(200)]
    rest = [_run(f"{RUN}/n000/2"), _run("scheduled 2026-01-01"), _run(None)]
    server.will((200, full), (200, rest))
    children = ask(server.url, lambda api: api.children(RUN))
    assert server.requests == ["POST /api/flow_runs/filter"] * 2
    assert [(child.step, child.attempt) for child in children[:3]] == [("n000", 1), ("n000", 2), ("n001", 1)]
    assert len(children) == 201


def _run(key: str | None) -> dict[str, Any]:
    run = FlowRun(flow_id=RUN, name="keen-owl", idempotency_key=key)
    return {**run.model_dump(mode="json"), "created": "2026-01-02T06:00:00Z"}
