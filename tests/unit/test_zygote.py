"""The small parts of the embedded session's processes: messages to the fork server, and the server's Retry-After."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from flow_of_flows.forking.forkserver import LENGTH, frame
from flow_of_flows.server import Message, Receive, Send, retry_soon


@pytest.mark.parametrize("message", [{}, {"run": "a", "pid": 3}, {"environment": {"COLOUR": "grün"}}])
def test_a_frame_is_its_length_and_its_json(message: dict[str, Any]) -> None:
    """The length counts bytes."""
    text = frame(message)
    assert json.loads(text[LENGTH:]) == message
    assert int.from_bytes(text[:LENGTH], "big") == len(text) - LENGTH


def test_a_frame_byte_by_byte() -> None:
    """Four bytes, big end first."""
    assert frame({"pid": 1}) == b'\x00\x00\x00\x0a{"pid": 1}'


def answered(*messages: Message) -> list[Message]:
    """What a client receives from an app that sends these messages."""
    received: list[Message] = []

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        assert scope == {"type": "http"}
        assert await receive() == {"type": "http.request"}
        for message in messages:
            await send(message)

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        received.append(message)

    asyncio.run(retry_soon(app)({"type": "http"}, receive, send))
    return received


def test_a_busy_server_names_a_short_time() -> None:
    """Only the head of a 503 changes."""
    body = {"type": "http.response.body", "body": b"busy"}
    assert answered({"type": "http.response.start", "status": 503, "headers": [(b"a", b"b")]}, body) == [
        {"type": "http.response.start", "status": 503, "headers": [(b"a", b"b"), (b"retry-after", b"0.1")]},
        body,
    ]


@pytest.mark.parametrize("status", [200, 409, 500])
def test_other_answers_pass_as_they_are(status: int) -> None:
    """They ask no client to try again."""
    start = {"type": "http.response.start", "status": status, "headers": []}
    assert answered(start, {"type": "lifespan.startup.complete"}) == [start, {"type": "lifespan.startup.complete"}]
