"""Which calls are made again, when, and how often."""

from __future__ import annotations

import asyncio
import time

import httpx
import pytest
from prefect.exceptions import PrefectHTTPStatusError

from flow_of_flows.retrying import PollPause, RetryPolicy, ThrottledError, is_passing, retry_after


def answer(status: int) -> PrefectHTTPStatusError:
    """An error answer, as Prefect's client raises it."""
    response = httpx.Response(status, request=httpx.Request("GET", "http://prefect/api"))
    return PrefectHTTPStatusError("error", request=response.request, response=response)


@pytest.mark.parametrize(
    ("error", "passing"),
    [
        (answer(400), False),
        (answer(404), False),
        (answer(408), True),
        (answer(422), False),
        (answer(429), True),
        (answer(500), True),
        (answer(503), True),
        (httpx.ConnectError("refused"), True),
        (httpx.ReadTimeout("late"), True),
        (httpx.UnsupportedProtocol("missing http://"), False),
        (httpx.LocalProtocolError("illegal header"), False),
        (KeyboardInterrupt(), False),
    ],
    ids=str,
)
def test_a_later_call_of_the_prefect_api_may_succeed(error: BaseException, *, passing: bool) -> None:
    """Too many requests is an answer that asks to wait, as an API that is away is."""
    assert is_passing(error) is passing


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "2.5"}, 2.5),
        ({"retry-after": " 3600 "}, 3600.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, 0.0),
        ({"retry-after": "-1"}, 0.0),
        ({"retry-after": "nan"}, 0.0),
        ({"retry-after": ""}, 0.0),
        ({}, 0.0),
    ],
)
def test_an_answer_may_say_how_long_to_wait(headers: dict[str, str], seconds: float) -> None:
    """In seconds; a text that is not a number asks for nothing."""
    assert retry_after(httpx.Headers(headers)) == seconds


class Flaky:
    """A call that fails some times before it returns.

    Args:
        errors: what it raises, one after the other.
    """

    def __init__(self, *errors: BaseException) -> None:
        self._errors = list(errors)
        self.pauses: list[float] = []

    def __call__(self) -> str:
        """Raise the next error, or return."""
        if self._errors:
            raise self._errors.pop(0)
        return "done"

    async def awaited(self) -> str:
        """Do the same in a coroutine."""
        return self()

    def log(self, _: BaseException, pause: float) -> None:
        """Keep the pause."""
        self.pauses.append(pause)


def any_error(error: BaseException) -> bool:
    """Every error but the signals."""
    return isinstance(error, Exception)


def test_a_call_is_made_again_with_pauses_that_grow_up_to_their_bound() -> None:
    """Each is spread by a fifth."""
    flaky = Flaky(*(OSError(number) for number in range(4)))
    policy = RetryPolicy(first=0.01, longest=0.02)
    assert policy.call(flaky, again=any_error, log=flaky.log) == "done"
    usual = (0.01, 0.02, 0.02, 0.02)
    assert [0.8 * pause <= had <= 1.2 * pause for had, pause in zip(flaky.pauses, usual, strict=True)] == [True] * 4


def test_an_answer_that_asks_to_wait_is_waited_for_up_to_a_bound() -> None:
    """A pause is never shorter than what was asked for."""
    modest, greedy = ThrottledError("busy"), ThrottledError("busy")
    modest.seconds, greedy.seconds = 0.03, 3600
    flaky = Flaky(modest, greedy)
    assert RetryPolicy(first=0.0, longest_requested=0.05).call(flaky, again=any_error, log=flaky.log) == "done"
    assert flaky.pauses == [0.03, 0.05]


def test_the_last_error_is_raised_after_the_last_attempt() -> None:
    """Itself, not one of the library."""
    flaky = Flaky(OSError("first"), OSError("second"), OSError("third"))
    with pytest.raises(OSError, match=r"^second$"):
        RetryPolicy(first=0.0, attempts=2).call(flaky, again=any_error, log=flaky.log)
    assert flaky.pauses == [0.0]


def test_a_pause_that_would_pass_the_time_is_not_begun() -> None:
    """Without time there is one call."""
    began = time.monotonic()
    flaky = Flaky(OSError("first"), OSError("second"))
    with pytest.raises(OSError, match=r"^first$"):
        RetryPolicy(first=30.0, seconds=10.0).call(flaky, again=any_error, log=flaky.log)
    assert (flaky.pauses, time.monotonic() - began < 10) == ([], True)


@pytest.mark.parametrize("error", [ValueError("wrong"), KeyboardInterrupt()], ids=repr)
def test_another_error_is_raised_at_once(error: BaseException) -> None:
    """A signal is one of them."""
    flaky = Flaky(error)
    with pytest.raises(type(error)) as raised:
        RetryPolicy().call(flaky, again=lambda error: isinstance(error, OSError), log=flaky.log)
    assert (raised.value is error, flaky.pauses) == (True, [])


def test_a_coroutine_is_awaited_again_in_the_same_way() -> None:
    """With the same policy."""
    flaky = Flaky(OSError("first"))
    policy = RetryPolicy(first=0.0)
    assert asyncio.run(policy.call_async(flaky.awaited, again=any_error, log=flaky.log)) == "done"
    assert flaky.pauses == [0.0]


def test_pauses_between_polls_grow_while_nothing_changes() -> None:
    """Up to the longest; a change brings the shortest back."""
    pause = PollPause(2.0, 4.0, factor=1.5, spread=0.0)
    assert [pause.next() for _ in range(4)] == [2.0, 3.0, 4.0, 4.0]
    pause.changed()
    assert pause.next() == 2.0


def test_pauses_between_polls_are_spread() -> None:
    """By a tenth."""
    pauses = [PollPause(10.0, 30.0).next() for _ in range(100)]
    assert (min(pauses) >= 9.0, max(pauses) <= 11.0, len(set(pauses)) > 1) == (True, True, True)
