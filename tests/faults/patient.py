"""The harness's own way to the API: through outages and overload, which it causes itself. For `tests.faults.site`."""

from __future__ import annotations

import time

import httpx

SECONDS = 150
PAUSE = 0.5
SERVER_ERROR = 500


class Patient(httpx.BaseTransport):
    """Asks again for a while, whatever went wrong on the way or in the server.

    A run that is created twice so would show as one run too many in the row that made it.
    """

    def __init__(self, inner: httpx.BaseTransport) -> None:
        self._inner = inner

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """The answer, once there is one."""
        deadline = time.monotonic() + SECONDS
        while True:
            late = time.monotonic() > deadline
            try:
                answer = self._inner.handle_request(request)
            except httpx.TransportError:
                if late:
                    raise
            else:
                if answer.status_code < SERVER_ERROR or late:
                    return answer
                answer.close()
            time.sleep(PAUSE)

    def close(self) -> None:
        """Close what it goes through."""
        self._inner.close()
