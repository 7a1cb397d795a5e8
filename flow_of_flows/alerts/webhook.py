"""The one door to Slack: an address and a message in, nothing out once Slack has taken it.

Up to three attempts, for what another attempt can help: no answer, 429 (as long as Slack says), 5xx. The address is a
secret: it is in no error and in no log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import httpx
from pydantic import SecretStr

from flow_of_flows.alerts.redact import scrub
from flow_of_flows.errors import ConfigurationError, FlowsError, PlatformError
from flow_of_flows.redaction import remember

ATTEMPTS, SECONDS, PAUSE = 3, 5.0, 0.5
MOST_PAUSE = 10.0
TODO = "correct the url of the Prefect block, or make a new webhook in Slack"


async def post(url: SecretStr, message: Mapping[str, Any]) -> None:
    """Send a message.

    Raises:
        ConfigurationError: Slack does not take it, and never will.
        PlatformError: Slack did not answer, or was too busy, each time.
    """
    address = _address(url)
    # httpx logs the address of every request.
    for part in (url.get_secret_value(), str(address), address.path):
        remember(part, "Slack's address")
    async with httpx.AsyncClient(timeout=SECONDS, follow_redirects=False) as client:
        for attempt in range(1, ATTEMPTS + 1):
            error, pause = await _attempt(client, address, message)
            if error is None:
                return
            if pause is None or attempt == ATTEMPTS:
                raise error
            await asyncio.sleep(min(max(pause, PAUSE * 2 ** (attempt - 1)), MOST_PAUSE))


async def _attempt(
    client: httpx.AsyncClient, address: httpx.URL, message: Mapping[str, Any]
) -> tuple[FlowsError | None, float | None]:
    """What went wrong, if anything did, and after how many seconds another attempt may help."""
    try:
        response = await client.post(address, json=message)
    except httpx.HTTPError as error:
        # Its words may hold the address, its name does not.
        return PlatformError(f"Slack does not answer: {type(error).__name__}", where=address.host), 0.0
    if response.is_success:
        return None, None
    said = f"{response.status_code} {scrub(response.text, 80)}".strip()
    if response.status_code == HTTPStatus.TOO_MANY_REQUESTS or response.is_server_error:
        return PlatformError(f"Slack answers {said}", where=address.host), _retry_after(response)
    return ConfigurationError(f"Slack does not take the message: {said}", where=address.host, todo=TODO), None


def _retry_after(response: httpx.Response) -> float:
    value = response.headers.get("retry-after", "")
    return float(value) if value.isascii() and value.isdigit() else 0.0


def _address(url: SecretStr) -> httpx.URL:
    try:
        address = httpx.URL(url.get_secret_value())
    except httpx.InvalidURL:
        address = None
    if address is None or address.scheme not in ("http", "https") or not address.host:
        raise ConfigurationError("Slack's address is no http(s) address", where="Prefect block", todo=TODO)
    return address
