"""The edges of a process where text leaves it: log records, standard output and standard error, all redacted.

`begin` is the first call of every process of this package, before Prefect is imported. Logs go into the run's log in a
flow (called first by each), and into a file in an embedded session.
"""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, TextIO, cast

from flow_of_flows.errors import FlowsError
from flow_of_flows.project import current_project, modules_in
from flow_of_flows.redaction import redact, without_secrets
from flow_of_flows.settings import variables

_FORMATTER = logging.Formatter()

PLATFORM = "flow_of_flows"
FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def begin() -> None:
    """Redact what this process prints and logs, and prepare its environment; exit if a variable is wrong."""
    guard()
    try:
        variables.prepare()
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


def into_run_log() -> None:
    """Have INFO and above of the platform's and the project's loggers handled as Prefect handles its runs' own.

    PREFECT_LOGGING_EXTRA_LOGGERS adds handlers, too, but no level, so that nothing below WARNING gets through. A flow
    that Prefect's own command started has no other place to begin with the redaction of its texts.
    """
    from flow_of_flows import prefect_requests

    guard()
    prefect_requests.guard()
    for ours in _own():
        ours.setLevel(logging.INFO)
        for handler in logging.getLogger("prefect.extra").handlers:
            if handler not in ours.handlers:
                ours.addHandler(handler)
        ours.propagate = False
    for name in ("prefect.flow_runs", "prefect.engine"):
        logging.getLogger(name).addFilter(_says_more_than_the_state)


def _own() -> list[logging.Logger]:
    """Return the loggers of the platform, and of the packages that prefect.yaml names."""
    packages = {module.partition(".")[0] for module in modules_in(current_project().deployments)}
    return [logging.getLogger(name) for name in sorted({PLATFORM, *packages} - {"prefect"})]


def _says_more_than_the_state(record: logging.LogRecord) -> bool:
    """Return whether a record is not the traceback that Prefect adds where a flow returned a failed state."""
    if not record.exc_info or record.exc_info[0] is None:
        return True
    from prefect.exceptions import FailedRun

    return not issubclass(record.exc_info[0], FailedRun)


def reraise(error: Exception) -> NoReturn:
    """Raise an exception again at the edge of a flow, without secrets: Prefect may cut a text in the middle of one."""
    clean = without_secrets(error)
    if clean is error:
        raise error
    logging.getLogger(__name__).error("The flow ended by an error of a library", exc_info=error)
    raise clean from None


@contextmanager
def into_file(file: Path) -> Iterator[None]:
    """Write to a file what Prefect and this package would log on the terminal, which shows progress and answers."""
    handler = logging.FileHandler(file, encoding="utf-8", delay=True)
    handler.setFormatter(logging.Formatter(FORMAT))
    loggers = [logging.getLogger(), *_own()]
    before = [(logger.handlers, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.handlers, logger.propagate = [handler], False
    try:
        yield
    finally:
        for logger, (handlers, propagate) in zip(loggers, before, strict=True):
            logger.handlers, logger.propagate = handlers, propagate
        handler.close()
