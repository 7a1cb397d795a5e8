"""Follows a run in dbt Cloud to its end: its logs into the log of the Prefect run, its artifacts into a report.

Nodes are reported as the dbt Core child reports them.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import NoReturn
from uuid import UUID

from flow_of_flows.child_report import ChildReport
from flow_of_flows.dbt import failures, reports
from flow_of_flows.dbt.results import Freshness, Node, blame, freshness, nodes
from flow_of_flows.dbt_cloud.client import Cloud
from flow_of_flows.dbt_cloud.models import CloudRun, CloudRunStatus, CloudStep
from flow_of_flows.errors import Cause, ConfigurationError, FlowsError, PlatformError
from flow_of_flows.messages import plain
from flow_of_flows.prefect_api import artifacts
from flow_of_flows.retrying import PollPause

logger = logging.getLogger(__name__)

# The steps of a run that leave a run_results.json with nodes.
_BUILDS = re.compile(r"`dbt\b[^`]*\b(build|run|test|seed|snapshot|retry)\b")
TAIL = 5


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
        if text == self._shown or not artifacts.in_run():
            return
        try:
            if self._page is None:
                self._page = artifacts.live_markdown(KEY, text, description="The run in dbt Cloud")
            else:
                artifacts.update_markdown(self._page, text)
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


@dataclass(frozen=True)
class Conclusion:
    """What the end of one run means.

    Attributes:
        prefect_run: id of the Prefect run, for the hint on how to retry it.
        warn: takes the warnings of the report.
    """

    cloud: Cloud
    run: CloudRun
    prefect_run: UUID
    warn: Callable[[str], None]

    def conclude(self) -> ChildReport:
        """Return the report of a run that succeeded.

        Raises:
            DataError: nodes failed, or a source is stale and the job makes that a failure.
            ConfigurationError: a step failed that builds no nodes, or before it had built any.
            FlowsError: the run was cancelled in dbt Cloud.
        """
        page = self.cloud.page(self.run)
        done, fresh = self._nodes(), verdicts(self.cloud, self.run, self.warn)
        because = self._blame(done)
        reports.publish_nodes(done, because)
        if self.run.status is CloudRunStatus.SUCCESS:
            return self._succeeded(done, fresh)
        error = self._cancelled() if self.run.status is CloudRunStatus.CANCELLED else self._failed(done, because, fresh)
        error.location = error.location or page
        raise error

    def _nodes(self) -> tuple[Node, ...]:
        """Return the nodes of all steps; of a node in two of them the later result."""
        found: dict[str, Node] = {}
        for step in self.run.steps:
            if _BUILDS.search(step.name) and step.status.is_final:
                found |= {node.id: node for node in self._results(step)}
        return tuple(found.values())

    def _results(self, step: CloudStep) -> tuple[Node, ...]:
        content = self.cloud.artifact(self.run.id, "run_results.json", step=step.index)
        if content is None:
            # A step that failed before it built anything has none; its own message says more.
            if step.status is CloudRunStatus.SUCCESS:
                self.warn(f"dbt Cloud has no run_results.json of step {step.index} ({step.name})")
            return ()
        try:
            return nodes(content)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self.warn(f"run_results.json of step {step.index} ({step.name}) is malformed: {type(error).__name__}")
            return ()

    def _blame(self, done: Sequence[Node]) -> dict[str, tuple[str, ...]]:
        """Return the failures that each skipped node was skipped because of, by the manifest."""
        skipped = [node.id for node in done if node.status == "skipped"]
        if not skipped:
            return {}
        content = self.cloud.artifact(self.run.id, "manifest.json")
        try:
            parents = json.loads(content)["parent_map"] if content is not None else {}
        except (ValueError, KeyError, TypeError):
            parents = {}
        if not parents:
            self.warn("dbt Cloud has no usable manifest.json: why nodes were skipped is not known")
        return blame(skipped, [node.id for node in done if node.failed], parents)

    def _succeeded(self, done: Sequence[Node], fresh: Sequence[Freshness]) -> ChildReport:
        for warning in reports.warnings(done):
            self.warn(warning)
        report = reports.succeeded(done, fresh, (), seconds=_seconds(self.run), dbt=self.run.dbt_version, resumed=None)
        where = f"run {self.run.id} in dbt Cloud"
        summary = f"{report.summary} ({where})" if done else f"The {where} succeeded; it left no results of nodes"
        links = {
            "dbt Cloud run": self.run.id,
            "page": self.cloud.page(self.run),
            "manifest": self.cloud.artifact_address(self.run.id, "manifest.json"),
        }
        return report.model_copy(update={"summary": summary, "facts": report.facts | links})

    def _cancelled(self) -> FlowsError:
        return FlowsError(
            f"Run {self.run.id} was cancelled in dbt Cloud{self.run.reason}",
            hint="find out on its page who or what cancelled it, then retry this run: it starts a new one",
            cause=Cause.CANCELLED,
        )

    def _failed(
        self, done: Sequence[Node], because: dict[str, tuple[str, ...]], fresh: Sequence[Freshness]
    ) -> FlowsError:
        if any(node.failed for node in done):
            return failures.failed(done, because, self.prefect_run, kept=True, child="dbt-cloud")
        bad = next((step for step in self.run.steps if step.status is CloudRunStatus.ERROR), None)
        stale = [source for source in fresh if source.stale]
        if stale and bad is not None and checks_sources(bad):
            return failures.stale(stale, otherwise="have the job build before it checks freshness")
        text = f"Run {self.run.id} failed in dbt Cloud{self.run.reason}"
        if bad is not None:
            last = [line.strip() for line in bad.logs.splitlines() if line.strip()][-TAIL:]
            text += f"; step {bad.index} ({bad.name})" + (f": {' '.join(last)}" if last else "")
        return ConfigurationError(
            text,
            hint="correct what the step's log says, in the project or in the job, then retry this run",
            cause=Cause.ERROR,
        )


def _seconds(run: CloudRun) -> float:
    """From its creation to its end; until now, where dbt Cloud does not say when it ended."""
    ended = run.finished_at or datetime.now(UTC)
    return (ended - run.created_at).total_seconds() if run.created_at else 0.0


# A command of the job, or what the job's option "run source freshness" adds.
_CHECKS = re.compile(r"`dbt\b[^`]*\bsource (snapshot-)?freshness\b")


def checks_sources(step: CloudStep) -> bool:
    """Return whether a step checks sources."""
    return bool(_CHECKS.search(step.name))


def verdicts(cloud: Cloud, run: CloudRun, warn: Callable[[str], None]) -> tuple[Freshness, ...]:
    """Return the verdicts of every step that checked sources; what cannot be read is a warning.

    Args:
        cloud: dbt Cloud's API.
        run: the run, with its steps.
        warn: takes what cannot be read, and sources that are not fresh.
    """
    found: dict[str, Freshness] = {}
    for step in run.steps:
        if checks_sources(step) and step.status.is_final:
            found |= {source.id: source for source in _of_step(cloud, run, step, warn)}
    for source in found.values():
        if source.verdict != "pass":
            warn(f"{source.id} is not fresh ({source.verdict}: {source.message})")
    return tuple(found.values())


def _of_step(cloud: Cloud, run: CloudRun, step: CloudStep, warn: Callable[[str], None]) -> tuple[Freshness, ...]:
    content = cloud.artifact(run.id, "sources.json", step=step.index)
    if content is None:
        warn(f"dbt Cloud has no sources.json of step {step.index} ({step.name})")
        return ()
    try:
        return freshness(content, [result["unique_id"] for result in json.loads(content)["results"]])
    except (ValueError, KeyError, TypeError) as error:
        warn(f"sources.json of step {step.index} ({step.name}) is malformed: {type(error).__name__}")
        return ()
