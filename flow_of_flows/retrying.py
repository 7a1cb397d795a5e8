"""The retry policy of every outgoing call, the pause between polls, and the errors of the Prefect API.

Prefect's own client retries 429, 502 and 503, but not 500, and gives up after some seconds.
"""

from __future__ import annotations

import json
import logging
import math
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar

import httpx
from prefect.exceptions import PrefectHTTPStatusError

from flow_of_flows.errors import ConfigurationError, PlatformError
from flow_of_flows.limits import API_OUTAGE_SECONDS
from flow_of_flows.messages import one_line

if TYPE_CHECKING:
    from tenacity import RetryCallState

logger = logging.getLogger(__name__)
T = TypeVar("T")

LONGEST_PAUSE = 30.0
SERVER_ERROR = 500
# Answers of the 4xx family that ask for the same call later: request timeout, too many requests.
LATER = (408, 429)


def jitter(seconds: float, low: float = 0.8, high: float = 1.2) -> float:
    """Return a pause that is spread at random, so that many processes do not ask at the same moment.

    Args:
        seconds: the pause.
        low: least part of it.
        high: greatest part of it.
    """
    return seconds * random.uniform(low, high)  # noqa: S311 - no secret


def retry_after(headers: Mapping[str, str]) -> float:
    """Return the seconds that an answer asks to wait: its header Retry-After; 0 without one, or where it is a date."""
    value = headers.get("retry-after", "").strip()
    return float(value) if value.replace(".", "", 1).isdecimal() else 0.0


class ThrottledError(PlatformError):
    """Too many requests; `seconds` is how long the answer asks to wait."""

    seconds: float = 0.0


def _seconds(error: BaseException) -> float:
    return error.seconds if isinstance(error, ThrottledError) else 0.0


@dataclass(frozen=True)
class RetryPolicy:
    """How a call that failed is made again: by tenacity, with pauses that grow and are spread.

    Attributes:
        first: seconds of the first pause.
        longest: bound of the pauses, seconds.
        factor: each pause is so many times as long as the one before.
        attempts: bound of the calls, the first included; None: no bound.
        seconds: after so many no further call is made; None: no bound.
        longest_requested: bound of a pause that an answer asks for, seconds.
    """

    first: float = 0.5
    longest: float = LONGEST_PAUSE
    factor: float = 2.0
    attempts: int | None = None
    seconds: float | None = None
    longest_requested: float = math.inf

    def call(
        self,
        call: Callable[[], T],
        *,
        again: Callable[[BaseException], bool],
        requested: Callable[[BaseException], float] = _seconds,
        log: Callable[[BaseException, float], object] = lambda *_: None,
    ) -> T:
        """Make a call until it returns, or fails for good.

        Args:
            call: what may be done more than once.
            again: whether it may be made again after this error.
            requested: seconds that the error asks to wait; those of `ThrottledError` unless given.
            log: reports an error, and the pause before the next call.

        Returns:
            What the call returned.

        Raises:
            Exception: the call's last error.
        """
        from tenacity import Retrying

        return Retrying(**self._options(again, requested, log))(call)

    async def call_async(
        self,
        call: Callable[[], Awaitable[T]],
        *,
        again: Callable[[BaseException], bool],
        requested: Callable[[BaseException], float] = _seconds,
        log: Callable[[BaseException, float], object] = lambda *_: None,
    ) -> T:
        """Await a call until it returns, or fails for good; arguments and errors are those of `call`."""
        from tenacity import AsyncRetrying

        # tenacity awaits only what it knows as a coroutine function, and a lambda is none.
        async def awaited() -> T:
            return await call()

        return await AsyncRetrying(**self._options(again, requested, log))(awaited)

    def _options(
        self,
        again: Callable[[BaseException], bool],
        requested: Callable[[BaseException], float],
        log: Callable[[BaseException, float], object],
    ) -> dict[str, Any]:
        from tenacity import retry_if_exception, stop_after_attempt, stop_before_delay, stop_never

        def pause(state: RetryCallState) -> float:
            usual = min(self.first * self.factor ** (state.attempt_number - 1), self.longest)
            return max(jitter(usual), min(requested(_error(state)), self.longest_requested))

        def report(state: RetryCallState) -> None:
            log(_error(state), state.upcoming_sleep)

        attempts = stop_never if self.attempts is None else stop_after_attempt(self.attempts)
        seconds = stop_never if self.seconds is None else stop_before_delay(self.seconds)
        return {
            "retry": retry_if_exception(again),
            "wait": pause,
            "stop": attempts | seconds,
            "before_sleep": report,
            "reraise": True,
        }


def _error(state: RetryCallState) -> BaseException:
    error = state.outcome.exception() if state.outcome else None
    assert error is not None, "only errors are retried"
    return error


@dataclass
class PollPause:
    """Pauses between two reads of something that changes: each half as long again, until something changes.

    Attributes:
        shortest: seconds after a change.
        longest: bound, seconds.
        spread: part by which a pause may be shorter or longer.
    """

    shortest: float
    longest: float
    factor: float = 1.3
    spread: float = 0.1
    _pause: float = field(init=False)

    def __post_init__(self) -> None:
        self._pause = self.shortest

    def next(self) -> float:
        """Return the seconds until the next read."""
        pause, self._pause = self._pause, min(self._pause * self.factor, self.longest)
        return jitter(pause, 1 - self.spread, 1 + self.spread)

    def changed(self) -> None:
        """Begin with the shortest pause again."""
        self._pause = self.shortest


@dataclass(frozen=True)
class RetryTimeout:
    """How long to wait for a Prefect API.

    Attributes:
        api: its address, for messages.
        seconds: for which it may fail before the caller does.
        hint: what to do when it failed for so long.
    """

    api: str
    seconds: float = API_OUTAGE_SECONDS
    hint: str = "bring the server back, then retry this run: it goes on where it stopped"

    async def call(self, call: Callable[[], Awaitable[T]]) -> T:
        """Return the answer to a call that may be made again.

        Raises:
            ConfigurationError: the API refuses these credentials, or a header cannot be sent.
            PlatformError: the API did not answer in time.
            PrefectHTTPStatusError: it answered that the call is wrong (4xx, except those that ask to wait).
        """
        policy = RetryPolicy(seconds=self.seconds, longest_requested=LONGEST_PAUSE)
        try:
            return await policy.call_async(call, again=is_passing, requested=_requested, log=_log)
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
            if is_passing(error):
                raise self._unanswered(error) from error
            if isinstance(error, PrefectHTTPStatusError) and (refusal := refused(error, self.api)):
                raise refusal from error
            raise

    def _unanswered(self, error: Exception) -> PlatformError:
        waited = f" for {self.seconds:.0f} s" if self.seconds >= 1 else ""
        return PlatformError(
            f"The Prefect API did not answer{waited}: {detail(error)}",
            location=self.api,
            hint=self.hint,
        )


def is_passing(error: BaseException) -> bool:
    """Return whether a later call may succeed: no answer, a server error, or one that asks to wait."""
    if isinstance(error, PrefectHTTPStatusError):
        status = error.response.status_code
        return status >= SERVER_ERROR or status in LATER
    final = (httpx.UnsupportedProtocol, httpx.LocalProtocolError)
    return isinstance(error, httpx.TransportError) and not isinstance(error, final)


def _requested(error: BaseException) -> float:
    return retry_after(error.response.headers) if isinstance(error, PrefectHTTPStatusError) else 0.0


def _log(error: BaseException, pause: float) -> None:
    logger.warning("The Prefect API does not answer (%s); next try in %.1f s", detail(error), pause)


REFUSED: Mapping[int, str] = {
    HTTPStatus.UNAUTHORIZED: "does not know these credentials",
    HTTPStatus.FORBIDDEN: "does not allow this with these credentials",
}
MOST_FIELDS = 5
# Where a request's field is; the rest of the location is the field's own name.
PARTS_OF_REQUEST = ("body", "query", "path", "header")
VALUE_ERROR = "Value error, "


def detail(error: BaseException) -> str:
    """Return what went wrong, in the API's own words where it has any: which field, and why.

    The request is never repeated: it may hold the values of secrets.
    """
    # Prefect wraps some answers (404, 409) in exceptions without a text.
    cause = getattr(error, "http_exc", error)
    if isinstance(cause, httpx.HTTPStatusError):
        return _of_response(cause.response)
    return str(error) or type(error).__name__


def refused(error: httpx.HTTPStatusError, url: str) -> ConfigurationError | None:
    """Return the error of wrong credentials, without the credentials; None for any other answer.

    Args:
        error: an answer of the API.
        url: address of the API, for the message.
    """
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
