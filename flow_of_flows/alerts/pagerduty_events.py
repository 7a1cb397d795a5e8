"""PagerDuty: the event of an incident, and the only caller of its Events API."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

from pydantic import SecretStr

from flow_of_flows.alerts.notification import Failure, IncidentAction, Notification
from flow_of_flows.alerts.redact import cut, redact_line
from flow_of_flows.errors import ConfigurationError, PlatformError
from flow_of_flows.redaction import remember
from flow_of_flows.runs.outcome import Verdict
from flow_of_flows.summary.run_summary import REUSED

# The API's own limit.
SUMMARY = 1024
CLIENT = "flow-of-flows"


def properties(notification: Notification) -> dict[str, Any]:
    """Return the properties of a `trigger` event apart from its keys; without links if no address is known."""
    text = f"{notification.pipeline} {notification.verdict} ({notification.environment}): {notification.summary}"
    event: dict[str, Any] = {
        "client": CLIENT,
        "payload": {
            "summary": cut(text, SUMMARY),
            "source": f"{CLIENT}/{notification.environment}",
            "severity": "warning" if notification.verdict is Verdict.CANCELLED else "error",
            "component": notification.pipeline,
            "group": notification.environment,
            "class": str(notification.verdict),
            "custom_details": _details(notification),
        },
    }
    if notification.url:
        event |= {
            "client_url": notification.url,
            "links": [{"href": notification.url, "text": f"Run {notification.name}"}],
        }
    return event


def _details(notification: Notification) -> dict[str, Any]:
    details: dict[str, Any] = {
        "run": f"{notification.name} ({notification.run})",
        "failed": {failure.step: _failure(failure) for failure in notification.failures},
        "what to rerun": f"Press Retry on the run's page, or run: {notification.resume}. {REUSED}",
    }
    return details | ({"warnings": list(notification.warnings)} if notification.warnings else {})


def _failure(failure: Failure) -> dict[str, Any]:
    details: dict[str, Any] = {"cause": failure.cause, "why": failure.why, "what to do": failure.todo}
    parts = [
        f"{part.name} ({part.status}{f', owner {part.owner}' if part.owner else ''}): {part.message}"
        for part in failure.parts
    ]
    more = [f"and {failure.more} more"] if failure.more else []
    return details | ({"parts": [*parts, *more]} if parts else {})


T = TypeVar("T")
SECONDS, RETRIES, PAUSE = 5, 2, 0.3
BUSY = (429, 500, 502, 503, 504)


def send(key: SecretStr, url: str, action: IncidentAction, dedup_key: str, properties: Mapping[str, Any]) -> None:
    """Send one event; block for as long as three attempts take.

    Args:
        key: routing key of the service.
        url: address of the Events API.
        action: what happens to the incident.
        dedup_key: key of the incident.
        properties: the other fields of the event.

    Raises:
        ConfigurationError: PagerDuty rejects the event, or the client is not installed.
        PlatformError: PagerDuty did not answer, or was too busy, on every attempt.
    """
    try:
        from pagerduty import Error, EventsApiV2Client, HttpError
    except ImportError as error:
        raise ConfigurationError(
            "pagerduty is not installed", location="PagerDuty", hint="install the extra: flow-of-flows[alerts]"
        ) from error
    remember(key.get_secret_value(), "PagerDuty's routing key")
    with EventsApiV2Client(key.get_secret_value(), base_url=url) as client:
        # The client's defaults: a minute for an answer, and unlimited attempts when it is throttled.
        client.timeout, client.sleep_timer, client.max_network_attempts = SECONDS, PAUSE, RETRIES
        client.retry = dict.fromkeys(BUSY, RETRIES)
        # Not chained: the client's errors may repeat the request, which contains the key.
        try:
            client.send_event(action.value, dedup_key=dedup_key, **properties)
        except HttpError as error:
            raise _refused(error.response, url) from None
        except Error as error:
            reason = type(error.__cause__ or error).__name__
            raise PlatformError(f"PagerDuty does not answer: {reason}", location=url) from None


def _refused(response: Any, url: str) -> ConfigurationError | PlatformError:
    answer = redact_line(response.text, 200)
    if response.status_code in BUSY:
        return PlatformError(f"PagerDuty answers {response.status_code} {answer}".strip(), location=url)
    return ConfigurationError(
        f"PagerDuty does not take the event: {response.status_code} {answer}".strip(),
        location=url,
        hint="correct the routing key: the integration key of a service's Events API v2 integration",
    )


async def in_background(work: Callable[[], T]) -> T:
    """Return the result of blocking work from a daemon thread, which does not keep the process alive."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, failure = None, None
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 - handed on to whoever waits
            failure = error
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, result, failure)

    threading.Thread(target=run, name="alert", daemon=True).start()
    return await future
