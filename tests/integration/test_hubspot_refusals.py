"""What the hubspot child says when Airbyte refuses: what, where, who must act, and how often it was asked."""

from __future__ import annotations

import pytest

from flow_of_flows.airbyte import client
from flow_of_flows.errors import ConfigurationError, FlowsError, PlatformError
from tests.fixtures.airbyte import CONNECTION, PREFIX, SECRET, Airbyte, Refusal
from tests.fixtures.hubspot_child import configure, run

WHERE = "{url}" + PREFIX
CONNECTED = f"{WHERE}, connection {CONNECTION}"
SECRET_TODO = "correct the secret (FLOWS_SECRETS_AIRBYTE): client_id and client_secret, or token"
SERVER_TODO = "correct server_url in the secret: https://api.airbyte.com/v1, or https://<host>/api/public/v1"
IDS_TODO = "correct connection_id and server_url in the secret (FLOWS_SECRETS_AIRBYTE)"
RIGHTS_TODO = "give the application's user the right to read and run this connection (workspace editor)"
ASKED_ONCE, ASKED_FOUR = 1, 4
# What the first call answers: family, what, where, what to do, and how often it was asked.
BAD = {
    "POST /applications/token": [
        (
            Refusal(401, b'{"message": "Invalid client id or token"}'),
            ConfigurationError,
            "hand out a token: HTTP 401 Unauthorized (Invalid client id or token)",
            WHERE,
            SECRET_TODO,
            ASKED_ONCE,
        ),
        (
            Refusal(400, b'{"message": "Invalid client id or token"}'),
            ConfigurationError,
            "hand out a token: HTTP 400 Bad Request (Invalid client id or token)",
            WHERE,
            SECRET_TODO,
            ASKED_ONCE,
        ),
        (
            Refusal(404, b"<html>"),
            ConfigurationError,
            "hand out a token: HTTP 404 Not Found",
            WHERE,
            IDS_TODO,
            ASKED_ONCE,
        ),
        (
            Refusal(302, b"", {"location": "https://elsewhere.example.com"}),
            ConfigurationError,
            "hand out a token: HTTP 302 Found",
            WHERE,
            SERVER_TODO,
            ASKED_ONCE,
        ),
        (
            Refusal(429),
            PlatformError,
            "hand out a token: HTTP 429 Too Many Requests",
            WHERE,
            "run this again later",
            ASKED_FOUR,
        ),
        (
            Refusal(200, b"<html>"),
            PlatformError,
            "hand out a token: its answer is none of its API's",
            WHERE,
            f"look at what this address serves; {SERVER_TODO}",
            ASKED_FOUR,
        ),
        (
            Refusal(200, b'{"access_token": ""}'),
            PlatformError,
            "hand out a token: its answer is none of its API's",
            WHERE,
            f"look at what this address serves; {SERVER_TODO}",
            ASKED_FOUR,
        ),
        (
            Refusal(200, b'{"access', length=500),
            PlatformError,
            "hand out a token: RemoteProtocolError",
            WHERE,
            "check the address and the network; a sync that runs goes on, and the next run waits for it",
            ASKED_FOUR,
        ),
    ],
    "GET /connections/": [
        (
            Refusal(403, b'{"detail": "Forbidden for  user\\n7"}'),
            ConfigurationError,
            "show the connection: HTTP 403 Forbidden (Forbidden for user 7)",
            CONNECTED,
            RIGHTS_TODO,
            ASKED_ONCE,
        ),
        (Refusal(404), ConfigurationError, "show the connection: HTTP 404 Not Found", CONNECTED, IDS_TODO, ASKED_ONCE),
        (
            Refusal(200, b"[]"),
            PlatformError,
            "show the connection: its answer is none of its API's",
            CONNECTED,
            f"look at what this address serves; {SERVER_TODO}",
            ASKED_FOUR,
        ),
        (
            Refusal(200, b"<html>", {"content-type": "text/html"}),
            PlatformError,
            "show the connection: its answer is none of its API's",
            CONNECTED,
            f"look at what this address serves; {SERVER_TODO}",
            ASKED_FOUR,
        ),
        (
            Refusal(500, b'{"message": "Internal Server Error"}'),
            PlatformError,
            "show the connection: HTTP 500 Internal Server Error (Internal Server Error)",
            CONNECTED,
            "see whether Airbyte is up, then run this again: it goes on with a sync that runs",
            ASKED_FOUR,
        ),
    ],
    "POST /jobs": [
        (
            Refusal(400, b'{"title": "Bad request"}'),
            ConfigurationError,
            "start the sync: HTTP 400 Bad Request (Bad request)",
            CONNECTED,
            SERVER_TODO,
            ASKED_ONCE,
        ),
        (
            Refusal(409, b'{"message": "A reset is running"}'),
            PlatformError,
            "start the sync: HTTP 409 Conflict (A reset is running)",
            CONNECTED,
            "see the connection's jobs in Airbyte, then run this again",
            3,
        ),
    ],
}


@pytest.mark.parametrize(("call", "row"), [(call, row) for call, rows in BAD.items() for row in rows])
def test_a_refusal_says_what_where_and_who_must_act(
    airbyte: Airbyte, call: str, row: tuple[Refusal, type[FlowsError], str, str, str, int]
) -> None:
    """Only what may pass by itself is asked again; no secret is in the message."""
    answer, family, what, where, todo, asked = row
    airbyte.refuse(call, *[answer] * 9)
    with pytest.raises(family) as caught:
        run()
    assert str(caught.value) == f"Airbyte does not {what}. Where: {where.format(url=airbyte.url)}. Next: {todo}."
    assert airbyte.asked.count(call) == asked
    assert SECRET not in str(caught.value)
    assert airbyte.jobs == []


def test_a_token_that_is_never_taken_is_renewed_once(airbyte: Airbyte) -> None:
    """Then it is the credentials' fault."""
    airbyte.refuse("GET /connections/", *[Refusal(401)] * 9)
    with pytest.raises(ConfigurationError, match="show the connection: HTTP 401 Unauthorized"):
        run()
    assert airbyte.asked == ["POST /applications/token", "GET /connections/"] * 2


def test_a_token_of_ones_own_is_used_as_it_is(airbyte: Airbyte, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not asked for again when it is refused."""
    airbyte.tokens["mine"] = float("inf")
    configure(airbyte, monkeypatch, token="mine", client_id=None, client_secret=None)
    assert run().facts["job"] == 1
    airbyte.expire()
    airbyte.asked.clear()
    with pytest.raises(ConfigurationError, match="HTTP 401 Unauthorized"):
        run()
    assert airbyte.asked == ["GET /connections/"]


def test_nobody_there_is_a_platform_error(airbyte: Airbyte, monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that nothing listens on."""
    configure(airbyte, monkeypatch, server_url="http://127.0.0.1:9/v1")
    with pytest.raises(PlatformError) as caught:
        run()
    assert caught.value.fact == "Airbyte does not hand out a token: ConnectError. Where: http://127.0.0.1:9/v1."


def test_a_slow_answer_is_not_waited_for(airbyte: Airbyte, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call has its time."""
    monkeypatch.setattr(client, "READ_SECONDS", 0.1)
    airbyte.refuse("GET /connections/", *[Refusal(seconds=0.4)] * 4)
    with pytest.raises(PlatformError, match="Airbyte does not show the connection: ReadTimeout"):
        run()


@pytest.mark.parametrize("status", ["inactive", "deprecated", "locked"])
def test_a_connection_that_is_not_active_is_said_before_anything_is_started(airbyte: Airbyte, status: str) -> None:
    """Who enables it again is somebody in Airbyte."""
    airbyte.connection_status = status
    with pytest.raises(ConfigurationError) as caught:
        run()
    assert str(caught.value) == (
        f"The Airbyte connection HubSpot → warehouse is {status}. "
        f"Where: {airbyte.url}{PREFIX}, connection {CONNECTION}. "
        "Next: enable it in Airbyte, or name another in the secret (connection_id)."
    )
    assert airbyte.jobs == []
