"""What an error answer of the Prefect API says: an exception in, one sentence in the API's own words out. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

import httpx

from flow_of_flows.errors import ConfigurationError

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
        where=url,
        todo="correct PREFECT_API_AUTH_STRING (a server's user:password) or PREFECT_API_KEY (Prefect Cloud)",
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
        return " ".join(said.split())
    if not isinstance(said, list):
        return ""
    fields = [text for one in said if isinstance(one, Mapping) and (text := _field(one))]
    more = [f"and {len(fields) - MOST_FIELDS} more"] if len(fields) > MOST_FIELDS else []
    return "; ".join([*fields[:MOST_FIELDS], *more])


def _field(one: Mapping[str, Any]) -> str:
    """Return one entry of a validation error: the field and the reason, without the value."""
    reason = " ".join(str(one.get("msg", "")).removeprefix(VALUE_ERROR).split())
    location = one.get("loc")
    name = ".".join(_names(location)) if isinstance(location, list | tuple) else ""
    return ": ".join(part for part in (name, reason) if part)


def _names(location: Iterable[Any]) -> list[str]:
    first, *rest = [str(part) for part in location] or [""]
    return rest if first in PARTS_OF_REQUEST else [first, *rest]
