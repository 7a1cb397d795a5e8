"""Where logs go: into the run's log in a flow (called first by each), into a file in an embedded session."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from flow_of_flows import output
from flow_of_flows.project import current_project, modules_in
from flow_of_flows.redaction import without_secrets

PLATFORM = "flow_of_flows"
FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def into_run_log() -> None:
    """Have INFO and above of the platform's and the project's loggers handled as Prefect handles its runs' own.

    PREFECT_LOGGING_EXTRA_LOGGERS adds handlers, too, but no level, so that nothing below WARNING gets through. A flow
    that Prefect's own command started has no other place to begin with the redaction of its texts.
    """
    from flow_of_flows import prefect_requests

    output.guard()
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
