"""Which answers of an API are waited out, and for how long."""

from __future__ import annotations

import httpx
import pytest
from prefect.exceptions import PrefectHTTPStatusError

from flow_of_flows.retrying import is_final, retry_after


def answer(status: int, **headers: str) -> PrefectHTTPStatusError:
    """An error answer, as Prefect's client raises it."""
    response = httpx.Response(status, headers=headers, request=httpx.Request("GET", "http://prefect/api"))
    return PrefectHTTPStatusError("error", request=response.request, response=response)


@pytest.mark.parametrize(
    ("error", "final"),
    [
        (answer(400), True),
        (answer(404), True),
        (answer(408), False),
        (answer(422), True),
        (answer(429), False),
        (answer(500), False),
        (answer(503), False),
        (httpx.ConnectError("refused"), False),
        (httpx.ReadTimeout("late"), False),
        (httpx.UnsupportedProtocol("missing http://"), True),
    ],
    ids=str,
)
def test_what_a_later_call_cannot_mend_is_final(error: Exception, *, final: bool) -> None:
    """Too many requests is an answer that asks to wait, as an API that is away is."""
    assert is_final(error) is final


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (answer(429, **{"retry-after": "2.5"}), 2.5),
        (answer(429, **{"retry-after": "3600"}), 30.0),
        (answer(429, **{"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}), 0.0),
        (answer(503), 0.0),
        (httpx.ConnectError("refused"), 0.0),
    ],
    ids=str,
)
def test_an_answer_may_say_how_long_to_wait(error: Exception, seconds: float) -> None:
    """In seconds, and no longer than the longest pause."""
    assert retry_after(error) == seconds
