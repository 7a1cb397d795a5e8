"""The doors to Slack and PagerDuty against stand-ins that do badly: cause, message, and how often they are asked."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from flow_of_flows.alerts import pagerduty_events, slack_webhook
from flow_of_flows.alerts.notification import IncidentAction
from flow_of_flows.errors import ConfigurationError, FlowsError, PlatformError
from tests.fixtures.slack_pagerduty import ROUTING_KEY, Both, Reply

TODO_SLACK = " Next: correct the url of the Prefect block, or make a new webhook in Slack."
TODO_KEY = " Next: correct the routing key: the integration key of a service's Events API v2 integration."
PAYLOAD = {"payload": {"summary": "s", "source": "x", "severity": "error"}}


@pytest.fixture
def both(slack_pagerduty: Both, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Both:
    """The stand-ins, trusted, with short pauses between attempts."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    monkeypatch.setattr(slack_webhook, "RETRY", replace(slack_webhook.RETRY, first=0.01))
    monkeypatch.setattr(pagerduty_events, "PAUSE", 0.01)
    return slack_pagerduty


def post(url: str) -> None:
    """Send a message."""
    asyncio.run(slack_webhook.post(SecretStr(url), {"text": "hello"}))


def send(both: Both, key: str = ROUTING_KEY, action: IncidentAction = IncidentAction.TRIGGER) -> None:
    """Send an event."""
    pagerduty_events.send(SecretStr(key), both.url, action, "k", PAYLOAD if action is IncidentAction.TRIGGER else {})


@pytest.mark.usefixtures("redacted_output")
def test_a_message_and_an_incident_arrive_and_the_incident_is_resolved(
    both: Both, caplog: pytest.LogCaptureFixture
) -> None:
    """The address is in no log, not even httpx's own."""
    caplog.set_level(logging.DEBUG)
    post(both.webhook)
    send(both)
    send(both)
    assert (both.slack, both.incidents) == ([{"text": "hello"}], {"k": 2})
    send(both, action=IncidentAction.RESOLVE)
    send(both, action=IncidentAction.RESOLVE)
    assert both.incidents == {}
    assert "c4nary" not in caplog.text


@pytest.mark.parametrize(
    ("replies", "asked", "kind", "said"),
    [
        ([Reply(429, "rate_limited", {"retry-after": "0"})], 2, None, ""),
        ([Reply(429, "rate_limited", {"retry-after": "soon"})], 2, None, ""),
        ([Reply(500)] * 2, 3, None, ""),
        ([Reply(0)] * 2, 3, None, ""),
        ([Reply(500, "oops")] * 3, 3, PlatformError, "Slack answers 500 oops. Where: 127.0.0.1."),
        ([Reply(0)] * 3, 3, PlatformError, "Slack does not answer: RemoteProtocolError. Where: 127.0.0.1."),
        (
            [Reply(400, "invalid_payload")],
            1,
            ConfigurationError,
            f"Slack does not take the message: 400 invalid_payload. Where: 127.0.0.1.{TODO_SLACK}",
        ),
        (
            [Reply(302, headers={"location": "https://elsewhere.example"})],
            1,
            ConfigurationError,
            f"Slack does not take the message: 302. Where: 127.0.0.1.{TODO_SLACK}",
        ),
    ],
)
def test_slack_is_asked_again_only_when_that_can_help(
    both: Both, replies: list[Reply], asked: int, kind: type[FlowsError] | None, said: str
) -> None:
    """Three attempts at most."""
    both.script["slack"] = list(replies)
    if kind is None:
        post(both.webhook)
    else:
        with pytest.raises(kind) as caught:
            post(both.webhook)
        assert str(caught.value) == said
    assert both.asked == ["slack"] * asked


@pytest.mark.parametrize(
    ("replies", "asked", "kind", "said"),
    [
        ([Reply(429)], 2, None, ""),
        ([Reply(500)] * 2, 3, None, ""),
        ([Reply(0)] * 2, 3, None, ""),
        ([Reply(429)] * 3, 3, PlatformError, "PagerDuty answers 429."),
        ([Reply(503)] * 3, 3, PlatformError, "PagerDuty answers 503."),
        ([Reply(0)] * 3, 3, PlatformError, "PagerDuty does not answer: RemoteProtocolError."),
        ([Reply(202, "gibberish")], 1, ConfigurationError, "PagerDuty does not take the event: 202 gibberish."),
        ([Reply(401)], 1, ConfigurationError, "PagerDuty does not take the event: 401."),
    ],
)
def test_pagerduty_is_asked_again_only_when_that_can_help(
    both: Both, replies: list[Reply], asked: int, kind: type[FlowsError] | None, said: str
) -> None:
    """Its own client's attempts, bounded."""
    both.script["pagerduty"] = list(replies)
    if kind is None:
        send(both)
    else:
        with pytest.raises(kind) as caught:
            send(both)
        assert str(caught.value).startswith(said)
    assert both.asked == ["pagerduty"] * asked


def test_a_wrong_key_is_told_in_pagerdutys_words_without_the_key(both: Both) -> None:
    """The answer may repeat what was sent."""
    with pytest.raises(ConfigurationError) as caught:
        send(both, key="c4nary-too-short")
    assert str(caught.value).startswith("PagerDuty does not take the event: 400 ")
    assert str(caught.value).endswith(TODO_KEY)
    assert "c4nary" not in str(caught.value)
    both.script["pagerduty"] = [Reply(400, f"unknown key {ROUTING_KEY}")]
    with pytest.raises(ConfigurationError) as caught:
        send(both)
    assert ": 400 unknown key *****. Where: " in str(caught.value)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("c4nary", "Slack's address is not an http(s) address"),
        ("ftp://c4nary/x", "Slack's address is not an http(s) address"),
        ("http:///c4nary", "Slack's address is not an http(s) address"),
        ("http://127.0.0.1:9/services/c4nary", "Slack does not answer: ConnectError"),
    ],
)
def test_an_address_that_leads_nowhere_is_told_without_it(url: str, said: str, both: Both) -> None:
    """Only the host, at most."""
    with pytest.raises(FlowsError) as caught:
        post(url)
    assert caught.value.message == said
    assert "c4nary" not in str(caught.value)
    assert both.asked == []


def test_a_webhook_that_was_revoked_is_told_in_slacks_words(both: Both) -> None:
    """404 no_service."""
    with pytest.raises(ConfigurationError, match="404 no_service"):
        post(f"{both.url}/services/T0/B0/gone")


def test_work_in_the_background_hands_back_its_result_or_its_error_and_can_be_left() -> None:
    """A thread that blocks keeps nobody waiting."""

    def fail() -> None:
        raise KeyError("x")

    async def main() -> None:
        assert await pagerduty_events.in_background(lambda: 7) == 7
        with pytest.raises(KeyError):
            await pagerduty_events.in_background(fail)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await pagerduty_events.in_background(lambda: __import__("time").sleep(0.5))

    asyncio.run(main())
