"""PagerDuty: the event of an incident, and the only caller of its Events API."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

from pydantic import SecretStr

from flow_of_flows.alerts.notification import Failure, IncidentAction, Notice
from flow_of_flows.alerts.redact import cut, scrub
from flow_of_flows.errors import ConfigurationError, PlatformError
from flow_of_flows.redaction import remember
from flow_of_flows.runs.outcome import Verdict
from flow_of_flows.summary.run_summary import REUSED

# The API's own limit.
SUMMARY = 1024
CLIENT = "flow-of-flows"


def properties(notice: Notice) -> dict[str, Any]:
    """What goes with a `trigger`, beside key and dedup key; without links where no address is known."""
    text = f"{notice.pipeline} {notice.verdict} ({notice.environment}): {notice.summary}"
    event: dict[str, Any] = {
        "client": CLIENT,
        "payload": {
            "summary": cut(text, SUMMARY),
            "source": f"{CLIENT}/{notice.environment}",
            "severity": "warning" if notice.verdict is Verdict.CANCELLED else "error",
            "component": notice.pipeline,
            "group": notice.environment,
            "class": str(notice.verdict),
            "custom_details": _details(notice),
        },
    }
    if notice.url:
        event |= {"client_url": notice.url, "links": [{"href": notice.url, "text": f"Run {notice.name}"}]}
    return event


def _details(notice: Notice) -> dict[str, Any]:
    details: dict[str, Any] = {
        "run": f"{notice.name} ({notice.run})",
        "failed": {failure.step: _failure(failure) for failure in notice.failures},
        "what to rerun": f"Press Retry on the run's page, or run: {notice.resume}. {REUSED}",
    }
    return details | ({"warnings": list(notice.warnings)} if notice.warnings else {})


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
    """Send one event; blocks for as long as three attempts take.

    Raises:
        ConfigurationError: PagerDuty does not take it, or the client is not installed.
        PlatformError: PagerDuty did not answer, or was too busy, each time.
    """
    try:
        from pagerduty import Error, EventsApiV2Client, HttpError
    except ImportError as error:
        raise ConfigurationError(
            "pagerduty is not installed", location="PagerDuty", hint="install the extra: flow-of-flows[alerts]"
        ) from error
    remember(key.get_secret_value(), "PagerDuty's routing key")
    with EventsApiV2Client(key.get_secret_value(), base_url=url) as client:
        # Its defaults: a minute for an answer, and no end of attempts when it is throttled.
        client.timeout, client.sleep_timer, client.max_network_attempts = SECONDS, PAUSE, RETRIES
        client.retry = dict.fromkeys(BUSY, RETRIES)
        # Chained to nothing: its errors may repeat what was sent, and the key was a part of that.
        try:
            client.send_event(action.value, dedup_key=dedup_key, **properties)
        except HttpError as error:
            raise _refused(error.response, url) from None
        except Error as error:
            reason = type(error.__cause__ or error).__name__
            raise PlatformError(f"PagerDuty does not answer: {reason}", location=url) from None


def _refused(response: Any, url: str) -> ConfigurationError | PlatformError:
    said = scrub(response.text, 200)
    if response.status_code in BUSY:
        return PlatformError(f"PagerDuty answers {response.status_code} {said}".strip(), location=url)
    return ConfigurationError(
        f"PagerDuty does not take the event: {response.status_code} {said}".strip(),
        location=url,
        hint="correct the routing key: the integration key of a service's Events API v2 integration",
    )


async def in_background(work: Callable[[], T]) -> T:
    """The result of blocking work, from a thread that does not keep the process from its end."""
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
