"""Slack: the message of a notification, the address from its block, and the only caller of its webhook."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import httpx
from prefect.client.orchestration import PrefectClient
from prefect.exceptions import ObjectNotFound
from pydantic import SecretStr

from flow_of_flows.alerts.notification import Failure, Notification, Part
from flow_of_flows.alerts.redact import cut, redact_line
from flow_of_flows.errors import ConfigurationError, PlatformError
from flow_of_flows.redaction import remember
from flow_of_flows.retrying import RetryPolicy, ThrottledError, retry_after
from flow_of_flows.runs.outcome import Verdict
from flow_of_flows.summary.run_summary import REUSED
from flow_of_flows.summary.terminal import REGISTER

# Type of the Prefect block that holds the address.
SLACK_TYPE = "slack-webhook"
# Slack's own limits: characters of a header and of a section.
HEADER, SECTION = 150, 3000
MARKS = {Verdict.COMPLETED: "✅", Verdict.DEGRADED: "⚠️", Verdict.FAILED: "❌", Verdict.CANCELLED: "⛔"}


def message(notification: Notification) -> dict[str, Any]:
    """Return the message; a notification on a phone shows its `text`."""
    title = headline(notification)
    blocks = [
        {"type": "header", "text": {"type": "plain_text", "text": cut(title, HEADER), "emoji": True}},
        _section(_summary(notification)),
        *(_section(_failure(failure)) for failure in notification.failures),
    ]
    if notification.more_failures:
        blocks.append(_section(f"… and {notification.more_failures} more failed steps, on the run's page."))
    if notification.warnings:
        blocks.append(_section("*Warnings*\n" + "\n".join(f"• {escape(text)}" for text in notification.warnings)))
    if notification.verdict is not Verdict.COMPLETED:
        blocks.append(_section(_rerun(notification)))
    return {"text": escape(f"{title}: {notification.summary}"), "blocks": blocks}


def headline(notification: Notification) -> str:
    """Return the end of the run in a few words."""
    state = "recovered" if notification.recovered_from else str(notification.verdict)
    return f"{MARKS.get(notification.verdict, '')} {notification.pipeline} {state} ({notification.environment})".strip()


def escape(text: str) -> str:
    """Return a text that Slack shows literally, without mentions, links or the end of a code block."""
    plain = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("`", "'")
    # A zero-width space: @channel stays readable, but does not notify the channel.
    return plain.replace("@", "@\u200b")


def _summary(notification: Notification) -> str:
    name = escape(notification.name)
    run = f"<{_address(notification.url)}|{name}>" if notification.url else f"`{name}` (`{notification.run}`)"
    before = f" The run before it {_ended(notification.recovered_from)}." if notification.recovered_from else ""
    return f"{escape(notification.summary)}.{before} Run {run}."


def _failure(failure: Failure) -> str:
    step = f"<{_address(failure.url)}|{escape(failure.step)}>" if failure.url else escape(failure.step)
    lines = [f"*{step} failed: {escape(failure.cause)}*", escape(failure.why)]
    lines += [_part(part) for part in failure.parts]
    if failure.more:
        lines.append(f"… and {failure.more} more, in the child run.")
    # Cut the middle, since the end is what has to be read.
    todo = f"*What to do:* {escape(failure.todo)}"
    return cut("\n".join(lines), SECTION - len(todo) - 1) + "\n" + todo


def _part(part: Part) -> str:
    owner = f", owner {escape(part.owner)}" if part.owner else ""
    return f"• `{escape(part.name)}` ({escape(part.status)}{owner}): {escape(part.message)}"


def _rerun(notification: Notification) -> str:
    return f"*What to rerun:* Press *Retry* on the run's page, or run `{notification.resume}`. {REUSED}"


def _ended(state: str) -> str:
    return {"cancelled": "was cancelled"}.get(state, state)


def _address(url: str) -> str:
    return url.replace("&", "&amp;").replace("<", "%3C").replace(">", "%3E").replace("|", "%7C")


def _section(text: str) -> dict[str, Any]:
    # verbatim: Slack does not turn names, channels and addresses into links.
    return {"type": "section", "text": {"type": "mrkdwn", "text": cut(text, SECTION), "verbatim": True}}


SECONDS = 5.0
RETRY = RetryPolicy(attempts=3, longest_requested=10.0)
TODO = "correct the url of the Prefect block, or make a new webhook in Slack"


async def post(url: SecretStr, message: Mapping[str, Any]) -> None:
    """Send a message.

    Args:
        url: address of the webhook.
        message: the body.

    Raises:
        ConfigurationError: Slack rejects the message for good.
        PlatformError: Slack did not answer, or was too busy, on every attempt.
    """
    address = _webhook_address(url)
    # httpx logs the address of every request.
    for part in (url.get_secret_value(), str(address), address.path):
        remember(part, "Slack's address")
    async with httpx.AsyncClient(timeout=SECONDS, follow_redirects=False) as client:
        await RETRY.call_async(
            lambda: _attempt(client, address, message), again=lambda error: isinstance(error, PlatformError)
        )


async def _attempt(client: httpx.AsyncClient, address: httpx.URL, message: Mapping[str, Any]) -> None:
    """Send a message once; a PlatformError may be temporary, a ConfigurationError is not."""
    try:
        response = await client.post(address, json=message)
    except httpx.HTTPError as error:
        # The error's text may contain the address, its type does not.
        raise PlatformError(f"Slack does not answer: {type(error).__name__}", location=address.host) from None
    if response.is_success:
        return
    answer = f"{response.status_code} {redact_line(response.text, 80)}".strip()
    if response.status_code == HTTPStatus.TOO_MANY_REQUESTS or response.is_server_error:
        busy = ThrottledError(f"Slack answers {answer}", location=address.host)
        busy.seconds = retry_after(response.headers)
        raise busy
    raise ConfigurationError(f"Slack does not take the message: {answer}", location=address.host, hint=TODO)


async def webhook_url(client: PrefectClient, block: str) -> SecretStr:
    """Return Slack's address from its block.

    Args:
        client: client of the API.
        block: name of the block.

    Raises:
        ConfigurationError: there is no such block, or it has no address.
    """
    where = f"{str(client.api_url).rstrip('/')}, block {SLACK_TYPE}/{block}"
    try:
        document = await client.read_block_document_by_name(block, SLACK_TYPE, include_secrets=True)
    except ObjectNotFound as error:
        raise ConfigurationError(
            "There is no Prefect block with Slack's address",
            location=where,
            hint=f"{REGISTER} with the secret that FLOWS_SECRETS_SLACK names, or set FLOWS_ALERTS_SLACK=false",
        ) from error
    address = document.data.get("url")
    if not isinstance(address, str) or not address:
        raise ConfigurationError("The Prefect block has no url", location=where, hint="give it Slack's address")
    remember(address, where)
    return SecretStr(address)


def _webhook_address(url: SecretStr) -> httpx.URL:
    try:
        address = httpx.URL(url.get_secret_value())
    except httpx.InvalidURL:
        address = None
    if address is None or address.scheme not in ("http", "https") or not address.host:
        raise ConfigurationError("Slack's address is not an http(s) address", location="Prefect block", hint=TODO)
    return address
