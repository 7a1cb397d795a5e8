"""Calls that outlive an API which answers 5xx or not at all. A call in, its answer out.

Prefect's own client retries 429, 502 and 503, but not 500, and gives up after some seconds.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeVar

import httpx
from prefect.exceptions import PrefectHTTPStatusError

from flow_of_flows.errors import ConfigurationError, PlatformError
from flow_of_flows.messages import one_line

logger = logging.getLogger(__name__)
T = TypeVar("T")

PATIENCE_SECONDS = 600.0
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
SERVER_ERROR = 500
# Answers of the 4xx family that ask for the same call later: request timeout, too many requests.
LATER = (408, 429)


@dataclass(frozen=True)
class RetryTimeout:
    """How long to wait for an API.

    Attributes:
        api: its address, for messages.
        seconds: for which it may fail before the caller does.
        hint: what to do when it failed for so long.
    """

    api: str
    seconds: float = PATIENCE_SECONDS
    hint: str = "bring the server back, then retry this run: it goes on where it stopped"

    async def call(self, call: Callable[[], Awaitable[T]]) -> T:
        """The answer to a call that may be made again.

        Raises:
            ConfigurationError: the API refuses these credentials, or a header cannot be sent.
            PlatformError: the API did not answer in time.
            PrefectHTTPStatusError: it answered that the call is wrong (4xx, except those that ask to wait).
        """
        loop = asyncio.get_running_loop()
        deadline, pause = loop.time() + self.seconds, FIRST_PAUSE
        while True:
            try:
                return await call()
            except httpx.LocalProtocolError as error:
                # The client cannot even write the request; no time mends that.
                raise ConfigurationError(
                    f"A request to the Prefect API cannot be sent: {detail(error)}",
                    location=self.api,
                    hint="correct PREFECT_API_KEY, PREFECT_API_AUTH_STRING or PREFECT_CLIENT_CUSTOM_HEADERS",
                ) from error
            except json.JSONDecodeError as error:
                raise PlatformError(
                    "What answers is not a Prefect API: its answer is not JSON",
                    location=self.api,
                    hint="correct PREFECT_API_URL; a proxy may answer in the API's place",
                ) from error
            except (PrefectHTTPStatusError, httpx.TransportError) as error:
                if is_final(error):
                    if isinstance(error, PrefectHTTPStatusError) and (refusal := refused(error, self.api)):
                        raise refusal from error
                    raise
                wait = max(pause * random.uniform(0.8, 1.2), retry_after(error))  # noqa: S311 - jitter, no secret
                if loop.time() + pause > deadline:
                    raise self._worn_out(error) from error
                logger.warning("The Prefect API does not answer (%s); next try in %.1f s", detail(error), wait)
                await asyncio.sleep(wait)
                pause = min(pause * 2, LONGEST_PAUSE)

    def _worn_out(self, error: Exception) -> PlatformError:
        waited = f" for {self.seconds:.0f} s" if self.seconds >= 1 else ""
        return PlatformError(
            f"The Prefect API did not answer{waited}: {detail(error)}",
            location=self.api,
            hint=self.hint,
        )


def is_final(error: Exception) -> bool:
    """Return whether the same call will fail again: the API refuses it, or the address is no address."""
    if isinstance(error, httpx.UnsupportedProtocol):
        return True
    status = error.response.status_code if isinstance(error, PrefectHTTPStatusError) else SERVER_ERROR
    return status < SERVER_ERROR and status not in LATER


def retry_after(error: Exception) -> float:
    """Return the seconds that an answer asks to wait, at most the longest pause; 0 where it asks for nothing."""
    header = error.response.headers.get("retry-after", "") if isinstance(error, PrefectHTTPStatusError) else ""
    return min(float(header), LONGEST_PAUSE) if header.replace(".", "", 1).isdigit() else 0.0


REFUSED: Mapping[int, str] = {
    HTTPStatus.UNAUTHORIZED: "does not know these credentials",
    HTTPStatus.FORBIDDEN: "does not allow this with these credentials",
}
MOST_FIELDS = 5
# Where a request's field is; the rest of the location is the field's own name.
PARTS_OF_REQUEST = ("body", "query", "path", "header")
VALUE_ERROR = "Value error, "


def detail(error: Exception) -> str:
    """Return what went wrong, in the API's own words where it has any: which field, and why.

    The request is never repeated: it may hold the values of secrets.
    """
    # Prefect wraps some answers (404, 409) in exceptions without a text.
    cause = getattr(error, "http_exc", error)
    if isinstance(cause, httpx.HTTPStatusError):
        return _of_response(cause.response)
    return str(error) or type(error).__name__


def refused(error: httpx.HTTPStatusError, url: str) -> ConfigurationError | None:
    """Return the error of wrong credentials, without the credentials; None for any other answer."""
    why = REFUSED.get(error.response.status_code)
    if why is None:
        return None
    return ConfigurationError(
        f"The Prefect API {why}: {detail(error)}",
        location=url,
        hint="correct PREFECT_API_AUTH_STRING (a server's user:password) or PREFECT_API_KEY (Prefect Cloud)",
    )


def _of_response(response: httpx.Response) -> str:
    status = f"status {response.status_code}"
    try:
        body = response.json()
    except ValueError:
        return status
    if not isinstance(body, Mapping):
        return status
    # `detail` is FastAPI's word; a request that does not fit its schema has Prefect's own words.
    for key in ("detail", "exception_detail", "exception_message"):
        if text := _text(body.get(key)):
            return text
    return status


def _text(said: Any) -> str:
    if isinstance(said, str):
        return one_line(said)
    if not isinstance(said, list):
        return ""
    fields = [text for one in said if isinstance(one, Mapping) and (text := _field(one))]
    more = [f"and {len(fields) - MOST_FIELDS} more"] if len(fields) > MOST_FIELDS else []
    return "; ".join([*fields[:MOST_FIELDS], *more])


def _field(one: Mapping[str, Any]) -> str:
    """Return one entry of a validation error: the field and the reason, without the value."""
    reason = one_line(str(one.get("msg", "")).removeprefix(VALUE_ERROR))
    location = one.get("loc")
    name = ".".join(_names(location)) if isinstance(location, list | tuple) else ""
    return ": ".join(part for part in (name, reason) if part)


def _names(location: Iterable[Any]) -> list[str]:
    first, *rest = [str(part) for part in location] or [""]
    return rest if first in PARTS_OF_REQUEST else [first, *rest]
