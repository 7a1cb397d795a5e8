"""Translates Airbyte's refusals: a status and a body in, one `FlowsError` out.

Who must act: wrong credentials, rights, ids and addresses are configuration; what may pass by itself is the platform's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from flow_of_flows.errors import ConfigurationError, FlowsError, PlatformError
from flow_of_flows.messages import one_line
from flow_of_flows.redaction import redact
from flow_of_flows.retrying import ThrottledError, retry_after

CREDENTIALS_TODO = "correct the secret (FLOWS_SECRETS_AIRBYTE): client_id and client_secret, or token"
LATER_TODO = "see whether Airbyte is up, then run this again: it goes on with a sync that runs"
ADDRESS_TODO = "correct server_url in the secret: https://api.airbyte.com/v1, or https://<host>/api/public/v1"
LONGEST = 300


class ConflictError(PlatformError):
    """Airbyte has a job of this connection already."""


class UnauthorizedError(Exception):
    """The token is not taken; another one may be. `refusal` is what to say if it is not."""

    def __init__(self, refusal: FlowsError) -> None:
        """Keep the error for whoever has no other token."""
        self.refusal = refusal
        super().__init__(str(refusal))


FAMILIES: dict[int, tuple[type[FlowsError], str]] = {
    HTTPStatus.UNAUTHORIZED: (ConfigurationError, CREDENTIALS_TODO),
    HTTPStatus.FORBIDDEN: (
        ConfigurationError,
        "give the application's user the right to read and run this connection (workspace editor)",
    ),
    HTTPStatus.NOT_FOUND: (
        ConfigurationError,
        "correct connection_id and server_url in the secret (FLOWS_SECRETS_AIRBYTE)",
    ),
    HTTPStatus.REQUEST_TIMEOUT: (PlatformError, LATER_TODO),
    HTTPStatus.CONFLICT: (ConflictError, "see the connection's jobs in Airbyte, then run this again"),
    HTTPStatus.TOO_MANY_REQUESTS: (ThrottledError, "run this again later"),
}


def refused(doing: str, status: int, body: str, where: str) -> FlowsError:
    """Return the error of an answer that is a refusal.

    Args:
        doing: the end of "Airbyte does not …".
        status: of the answer.
        body: of the answer.
        where: address, without credentials.
    """
    said = _said(body)
    what = f"Airbyte does not {doing}: HTTP {status} {_phrase(status)}".rstrip() + (f" ({said})" if said else "")
    family, todo = FAMILIES.get(status, (ConfigurationError, ADDRESS_TODO))
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        family, todo = PlatformError, LATER_TODO
    return family(what, location=where, hint=todo)


def answered(doing: str, status: int, body: str, headers: Mapping[str, str], where: str) -> Exception:
    """Return the error of an answer that the official client has refused.

    Args:
        doing: the end of "Airbyte does not …".
        status: of the answer.
        body: of the answer.
        headers: of the answer.
        where: address, without credentials.
    """
    if status == HTTPStatus.OK:  # another content type than JSON
        return malformed(doing, where)
    error = refused(doing, status, body, where)
    if isinstance(error, ThrottledError):
        error.seconds = retry_after(headers)
    return UnauthorizedError(error) if status == HTTPStatus.UNAUTHORIZED else error


def unreachable(doing: str, error: Exception, where: str) -> PlatformError:
    """Return the error of a call that got no answer, or half of one.

    Args:
        doing: the end of "Airbyte does not …".
        error: what the call raised.
        where: address, without credentials.
    """
    return PlatformError(
        f"Airbyte does not {doing}: {type(error).__name__}",
        location=where,
        hint="check the address and the network; a sync that runs goes on, and the next run waits for it",
    )


def malformed(doing: str, where: str) -> PlatformError:
    """Return the error of an answer that the API does not give.

    Args:
        doing: the end of "Airbyte does not …".
        where: address, without credentials.
    """
    return PlatformError(
        f"Airbyte does not {doing}: its answer is none of its API's",
        location=where,
        hint=f"look at what this address serves; {ADDRESS_TODO}",
    )


def _said(body: str) -> str:
    """Airbyte's own sentence, where the body has one."""
    try:
        values: Any = json.loads(body)
    except ValueError:
        return ""
    if not isinstance(values, dict):
        return ""
    said = next(
        (str(values[key]) for key in ("message", "detail", "title", "error_description") if values.get(key)), ""
    )
    # Redacted before it is cut: a part of a secret would not be found.
    return redact(one_line(said))[:LONGEST]


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase if status in set(HTTPStatus) else ""
