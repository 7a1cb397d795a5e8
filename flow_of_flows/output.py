"""The edges of a process where text leaves it: log records, standard output and standard error, all redacted.

`begin` is the first call of every process of this package, before Prefect is imported.
"""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Callable, Iterable
from typing import Any, NoReturn, TextIO, cast

from flow_of_flows.errors import FlowsError
from flow_of_flows.redaction import redact
from flow_of_flows.settings import secret_variables

_FORMATTER = logging.Formatter()


def begin() -> None:
    """Redact what this process prints and logs, and prepare its environment; exit if a variable is wrong."""
    guard()
    try:
        secret_variables.prepare()
    except FlowsError as error:
        end(error)


def end(error: FlowsError) -> NoReturn:
    """End the process with one sentence and the error's exit code."""
    sys.stderr.write(f"error: {error.short}\n")
    sys.exit(error.exit_code)


def guard() -> None:
    """Redact the log records of every handler, and what is written to the standard streams; may be called twice."""
    if not hasattr(factory := logging.getLogRecordFactory(), "__wrapped__"):
        logging.setLogRecordFactory(_redacting(factory))
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        # A process may have no standard streams.
        if stream is not None and not isinstance(stream, RedactedStream):
            setattr(sys, name, cast(TextIO, RedactedStream(stream)))


class RedactedStream:
    """A text stream whose secrets are redacted; everything but writing is the stream's own."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write a text, and return how many characters were given."""
        self._stream.write(redact(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)

    def __iter__(self) -> Any:
        return iter(self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _redacting(factory: Callable[..., logging.LogRecord]) -> Callable[..., logging.LogRecord]:
    """Return a factory of log records without secrets, whatever handlers do with them."""

    @functools.wraps(factory)
    def make(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = factory(*args, **kwargs)
        message = _message(record)
        if (clean := redact(message)) != message:
            record.msg, record.args = clean, ()
        if record.exc_info and record.exc_info[0] is not None:
            text = _FORMATTER.formatException(record.exc_info)
            if (clean := redact(text)) != text:
                # A handler would format the exception anew.
                record.exc_info, record.exc_text = None, clean
        return record

    return make


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 - arguments that do not fit, of any library: the handler reports them, with this text
        return f"{record.msg} {record.args}"
