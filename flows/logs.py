"""Sends what this package logs to the run's log. Called first by every flow."""

from __future__ import annotations

import logging


def into_run_log() -> None:
    """Have INFO and above of the `flows` loggers handled as Prefect handles its own runs' loggers.

    PREFECT_LOGGING_EXTRA_LOGGERS adds handlers, too, but no level, so that nothing below WARNING gets through.
    """
    ours = logging.getLogger("flows")
    ours.setLevel(logging.INFO)
    for handler in logging.getLogger("prefect.extra").handlers:
        if handler not in ours.handlers:
            ours.addHandler(handler)
    ours.propagate = False
