"""The live view of a build: progress in, one Markdown artifact on the run's page out, kept up to date. For `build`.

From a thread of its own, at most one update per interval, so that it never slows the build; without an API it stops.
"""

from __future__ import annotations

import contextvars
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from flow_of_flows.dbt.events import DbtProgress
from flow_of_flows.dbt.results import Node, counts
from flow_of_flows.messages import shortened
from flow_of_flows.prefect_api import artifacts as publish

logger = logging.getLogger(__name__)

KEY = "dbt-progress"
INTERVAL_SECONDS = 2.0
# How long the end of the build waits for the last update.
FAREWELL_SECONDS = 5.0
SHOWN = 200
# Characters of a message in the view, which is sent again with each change.
SENTENCE = 400


@contextmanager
def live(progress: DbtProgress) -> Iterator[None]:
    """Show the progress on the page of the current run; without a run, do nothing."""
    if not publish.in_run():
        yield
        return
    over = threading.Event()
    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(_keep_up, progress, over), name="dbt-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(FAREWELL_SECONDS)


def markdown(done: tuple[Node, ...], running: tuple[str, ...], total: int) -> str:
    """The view: how far it is, what runs, and the nodes that ended, failures first, then the latest."""
    state = ", ".join(f"{number} {status}" for status, number in counts(done).items()) or "nothing finished yet"
    lines = [f"**{len(done)} of {total or '?'}** nodes: {state}", ""]
    if running:
        lines += ["Running: " + ", ".join(f"`{name}`" for name in running), ""]
    lines += ["| node | status | seconds | rows | message |", "|---|---|---|---|---|"]
    latest = done[::-1]
    ordered = [node for node in latest if node.failed] + [node for node in latest if not node.failed]
    lines += [_row(node) for node in ordered[:SHOWN]]
    if len(ordered) > SHOWN:
        lines.append(f"\n… and {len(ordered) - SHOWN} more")
    return "\n".join(lines)


def _row(node: Node) -> str:
    rows = "" if node.rows is None else str(node.rows)
    message = shortened(node.message, SENTENCE).replace("|", "\\|")
    return f"| {node.title} | {node.status} | {node.seconds:.2f} | {rows} | {message} |"


def _keep_up(progress: DbtProgress, over: threading.Event) -> None:
    try:
        shown = markdown(*progress.snapshot())
        artifact = publish.live_markdown(KEY, shown, description="What dbt is doing")
        last = False
        while not last:
            last = over.wait(INTERVAL_SECONDS)
            text = markdown(*progress.snapshot())
            if text != shown:
                publish.update_markdown(artifact, text)
                shown = text
    except Exception:  # a picture of the build, not the build: its loss is logged, nothing more
        logger.warning("The live view of the build stopped", exc_info=True)
