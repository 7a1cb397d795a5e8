"""Follows a run in dbt Cloud to its end, and copies its logs to the log of the Prefect run."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import NoReturn
from uuid import UUID

from flow_of_flows.dbt_cloud.client import Cloud
from flow_of_flows.dbt_cloud.models import CloudRun, CloudStep
from flow_of_flows.errors import Cause, FlowsError, PlatformError
from flow_of_flows.messages import plain
from flow_of_flows.prefect_api import artifacts as publish
from flow_of_flows.retrying import PollPause


@dataclass
class Lines:
    """What has been seen of each step's log, by its index."""

    seen: dict[int, list[str]] = field(default_factory=dict)

    def new(self, run: CloudRun) -> Iterator[tuple[CloudStep, str]]:
        """Yield the new lines, by step; an unfinished last line waits until it is finished, or its step is."""
        for step in run.steps:
            lines = plain(step.logs).splitlines()
            if lines and not step.logs.endswith("\n") and not step.status.is_final:
                lines.pop()
            before = self.seen.get(step.index, [])
            for line in lines[_known(before, lines) :]:
                if line.strip():
                    yield step, line.rstrip()
            if lines:
                self.seen[step.index] = lines


def _known(before: list[str], now: list[str]) -> int:
    """Return how many of the lines were there before; a log that was cut at its beginning begins within them."""
    longest = min(len(before), len(now))
    return next((size for size in range(longest, 0, -1) if before[-size:] == now[:size]), 0)


logger = logging.getLogger(__name__)

KEY = "dbt-cloud-run"
# Longest interval, in shortest ones.
SLOWEST = 6


@dataclass
class CloudRunFollower:
    """Waits for one run, and shows its log and its state.

    Attributes:
        poll: shortest interval of reads, seconds.
        limit: how long the run may take from its creation on, waiting in dbt Cloud's queue included.
    """

    cloud: Cloud
    poll: float
    limit: timedelta | None = None
    lines: Lines = field(default_factory=Lines)
    _page: UUID | None = None
    _shown: str = ""

    def to_the_end(self, run: CloudRun) -> CloudRun:
        """Wait until the run is over.

        Raises:
            FlowsError: its time is over; it is cancelled then.
            PlatformError: dbt Cloud does not answer any more; the run goes on.
        """
        deadline = (run.created_at or datetime.now(UTC)) + self.limit if self.limit else None
        pause = PollPause(self.poll, self.poll * SLOWEST, spread=0.2)
        while not run.status.is_final:
            if deadline and datetime.now(UTC) >= deadline:
                self._give_up(run)
            time.sleep(pause.next())
            before, run = run.status, self.cloud.run(run.id)
            if self._log(run) or run.status is not before:
                pause.changed()
            self._show(run)
        # A run that is attached to after its end has steps, too.
        run = self.cloud.run(run.id)
        self._log(run)
        self._show(run)
        return run

    def _log(self, run: CloudRun) -> bool:
        """Log the new lines; whether there were any."""
        new = list(self.lines.new(run))
        for step, line in new:
            logger.info("%d %s: %s", step.index, step.name, line)
        return bool(new)

    def _show(self, run: CloudRun) -> None:
        """Keep the picture on the Prefect run's page up to date."""
        text = markdown(run, self.cloud.page(run), self.cloud.artifact_address(run.id, "manifest.json"))
        if text == self._shown or not publish.in_run():
            return
        try:
            if self._page is None:
                self._page = publish.live_markdown(KEY, text, description="The run in dbt Cloud")
            else:
                publish.update_markdown(self._page, text)
            self._shown = text
        except Exception:  # a picture of the run, not the run: its loss is logged, nothing more
            logger.warning("The picture of the run could not be kept up to date", exc_info=True)

    def _give_up(self, run: CloudRun) -> NoReturn:
        was = f"it is {run.status.name.lower()}"
        cancelled = "it was cancelled"
        try:
            self.cloud.cancel(run.id)
        except FlowsError as error:
            cancelled = f"it could not be cancelled ({error.message})"
        raise PlatformError(
            f"The run in dbt Cloud took longer than {self.limit}: {was}, and {cancelled}",
            location=self.cloud.page(run),
            hint="find out on its page what it waits for, or raise time_limit_minutes",
            cause=Cause.TIMEOUT,
        )


def markdown(run: CloudRun, page: str, manifest: str) -> str:
    """Return the picture: a link, the state, and a row for each step.

    Args:
        run: the run.
        page: address of its page.
        manifest: address of its manifest.json.
    """
    done = sum(step.status.is_final for step in run.steps)
    lines = [
        f"[Run {run.id}]({page}) in dbt Cloud: **{run.status.name.lower()}**{run.reason}",
        "",
        f"{done} of {len(run.steps) or '?'} steps are over. [manifest.json]({manifest}) (needs a token)",
        "",
        "| step | state |",
        "|---|---|",
    ]
    lines += [f"| {step.name.replace('|', chr(92) + '|')} | {step.status.name.lower()} |" for step in run.steps]
    return "\n".join(lines)
