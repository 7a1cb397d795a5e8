"""`python -m flow_of_flows.prefect_command WORDS`: Prefect's own command line, with this package's care for secrets.

Prefect's command takes the line break that ends a Secret for a part of the API key, and prints the key when it cannot
be sent. Here line breaks are stripped before Prefect reads its settings, a value that no header can have is an error of
one sentence, and what is printed is redacted. The chart's test runs it, and so does the worker.
"""

from __future__ import annotations

import importlib.metadata
import sys

from flow_of_flows import output
from flow_of_flows.errors import FlowsError


def begin() -> None:
    """Prepare this process for Prefect; exit with one sentence if a setting cannot be sent to the API."""
    output.begin()
    # Prefect reads its settings when it is imported: after the line breaks of Secrets are gone.
    from flow_of_flows import prefect_requests

    try:
        prefect_requests.guard()
    except FlowsError as error:
        output.end(error)


def run(*words: str) -> None:
    """Run a command of Prefect in this process.

    Args:
        words: its words, without `prefect`.
    """
    (command,) = importlib.metadata.entry_points(group="console_scripts", name="prefect")
    sys.argv = ["prefect", *words]
    command.load()()


if __name__ == "__main__":
    begin()
    run(*sys.argv[1:])
