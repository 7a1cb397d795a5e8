"""Signals while dbt runs."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest

from flow_of_flows.dbt import cancellation
from flow_of_flows.dbt.runner import Stopped, interruptible


@pytest.fixture
def heard() -> Iterator[list[int]]:
    """SIGTERMs that came to the handler that was there before dbt's."""
    numbers: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: numbers.append(number))
    yield numbers
    signal.signal(signal.SIGTERM, before)


def test_signal_is_an_interrupt_and_goes_on_afterwards(heard: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Inside, SIGTERM interrupts and queries are cancelled until the end; then the handler of before hears it."""
    cancelled = threading.Event()
    monkeypatch.setattr(cancellation, "running_queries", cancelled.set)

    with interruptible() as received:
        try:
            signal.raise_signal(signal.SIGTERM)
        except KeyboardInterrupt:
            signal.raise_signal(signal.SIGTERM)  # a second one is not to disturb the clean-up
            assert cancelled.wait(5)

    assert received == [signal.SIGTERM, signal.SIGTERM]
    assert heard == []
    with pytest.raises(KeyboardInterrupt):
        Stopped(received[0]).pass_on()
    assert heard == [signal.SIGTERM]


def test_signal_that_the_main_thread_slept_through_is_heard(heard: list[int]) -> None:
    """A signal that another thread took does not wake a wait without end; it is sent again until it is heard."""
    thread = threading.Timer(0.1, lambda: signal.pthread_kill(threading.get_ident(), signal.SIGTERM))

    with interruptible() as received:
        thread.start()
        threading.Event().wait()

    assert received[0] == signal.SIGTERM
    assert heard == []
    thread.join()


def test_interrupt_that_was_no_signal_is_not_swallowed() -> None:
    """Somebody else's KeyboardInterrupt goes on."""
    with pytest.raises(KeyboardInterrupt), interruptible():
        raise KeyboardInterrupt


def test_ctrl_c_is_passed_on_as_an_interrupt() -> None:
    """There is no handler to give it to: Python's own raises KeyboardInterrupt."""
    with interruptible() as received:
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        Stopped(received[0]).pass_on()


def test_everything_is_put_back(heard: list[int]) -> None:
    """Handlers, the wake-up socket and the thread are as before."""
    threads = threading.active_count()
    handlers = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)

    with interruptible():
        assert threading.active_count() == threads + 1

    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == handlers
    assert threading.active_count() == threads
    assert signal.set_wakeup_fd(-1) == -1
    assert heard == []


def test_another_thread_hears_no_signal() -> None:
    """Outside of the main thread dbt runs as it is: Python allows no handler there."""
    found: list[list[int]] = []

    def work() -> None:
        with interruptible() as received:
            found.append(received)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [[]]
