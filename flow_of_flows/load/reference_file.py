"""A URL in, the bytes of a public reference file out."""

from __future__ import annotations

from http import HTTPStatus

import httpx

from flow_of_flows.address import public
from flow_of_flows.errors import ConfigurationError, PlatformError
from flow_of_flows.retrying import RetryPolicy

TIMEOUT_SECONDS = 20.0
# Reference files have a few megabytes at most; an answer of another size is something else.
LIMIT_BYTES = 64 * 1024 * 1024
# A failed download is tried again.
RETRY = RetryPolicy(first=0.5, factor=4.0, attempts=3)


def download(url: str) -> bytes:
    """Fetch a file.

    Raises:
        ConfigurationError: it is not a URL, or nothing is there.
        PlatformError: unreachable, too slow, too large, or a server error, after three attempts.
    """
    return RETRY.call(lambda: _attempt(url), again=lambda error: isinstance(error, PlatformError))


def _attempt(url: str) -> bytes:
    where = public(url)
    try:
        with httpx.stream("GET", url, timeout=TIMEOUT_SECONDS, follow_redirects=True) as response:
            if response.status_code >= HTTPStatus.BAD_REQUEST:
                raise _refused(response.status_code, where)
            return _body(response, where)
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise ConfigurationError(
            "The feed's address is not a URL", location=where, hint="correct the setting"
        ) from error
    except httpx.HTTPError as error:
        todo = "check the network of this machine, or set the source to `snapshot`"
        raise PlatformError(f"The feed cannot be reached: {type(error).__name__}", location=where, hint=todo) from error


def _body(response: httpx.Response, where: str) -> bytes:
    content = bytearray()
    for chunk in response.iter_bytes():
        content += chunk
        if len(content) > LIMIT_BYTES:
            todo = "check what this address serves"
            raise PlatformError(f"The feed is larger than {LIMIT_BYTES:,} bytes", location=where, hint=todo)
    return bytes(content)


def _refused(status: int, where: str) -> ConfigurationError | PlatformError:
    what = f"The feed answered HTTP {status} {HTTPStatus(status).phrase if status in set(HTTPStatus) else ''}".rstrip()
    if status in {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}:
        return ConfigurationError(what, location=where, hint="correct the address in the settings")
    return PlatformError(what, location=where, hint="try again later, or set the source to `snapshot`")
