"""The child that sweeps on a schedule: ends or restarts what was abandoned, and reports what it did.

One sweep reads both APIs, judges what it sees twice, and acts on it. Its deployment has a service account that may list
and delete Jobs; the chart makes it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from uuid import UUID

from prefect.exceptions import PrefectHTTPStatusError

from flow_of_flows.child_flow import child
from flow_of_flows.child_report import ChildReport, Problem
from flow_of_flows.errors import FlowsError, PlatformError
from flow_of_flows.prefect_api import artifacts
from flow_of_flows.prefect_api.client import connected
from flow_of_flows.retrying import detail
from flow_of_flows.settings import Settings
from flow_of_flows.sweeper import jobs
from flow_of_flows.sweeper.prefect_state import STATES, Prefect
from flow_of_flows.sweeper.rules import findings, suspects
from flow_of_flows.sweeper.snapshot import Facts, Limit, SweepAction, SweepFinding

WITHOUT_CLUSTER = "no cluster to ask, so runs without pods and Jobs without runs are not looked for"
WITHOUT_JOBS = "they are not Jobs, so only what the Prefect API says of them counts"

logger = logging.getLogger(__name__)


class Result(StrEnum):
    """What was done about a finding."""

    DONE = "done"
    FOUND = "found"
    MOVED_ON = "moved on meanwhile"
    REFUSED = "could not be done"


@dataclass(frozen=True)
class Swept:
    """A finding and what was done about it.

    Attributes:
        detail: why it could not be done.
    """

    finding: SweepFinding
    result: Result
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.finding} ({': '.join(part for part in (self.result, self.detail) if part)})"


@dataclass(frozen=True)
class Report:
    """One sweep.

    Attributes:
        looked: what was looked at, in a line.
    """

    looked: str
    swept: tuple[Swept, ...]

    @property
    def refused(self) -> tuple[Swept, ...]:
        """Return the findings about which nothing could be done."""
        return tuple(each for each in self.swept if each.result is Result.REFUSED)


class Sweeper:
    """Reads both APIs, and acts on what it finds twice.

    Args:
        prefect: client of the Prefect API.
        client: client of the cluster; None where there is none.
        settings: how patient it is.
        own: the run that sweeps.
    """

    def __init__(
        self, prefect: Prefect, client: jobs.ClusterClient | None, settings: Settings, own: UUID | None = None
    ) -> None:
        self._prefect = prefect
        self._cluster = client
        self._settings = settings
        self._own = own
        self._limits: dict[UUID, Limit] = {}

    async def look(self) -> tuple[Facts, tuple[SweepFinding, ...]]:
        """Read both APIs; return the snapshot and the findings."""
        pool = await self._prefect.pool()
        seen = await self._cluster.read() if self._cluster and pool.has_jobs else None
        of_jobs = [job.run for job in seen.jobs if job.is_active] if seen else []
        known, unknown = await self._prefect.runs(of_jobs, pool)
        facts = Facts(
            now=datetime.now(UTC),
            runs=known,
            unknown=unknown,
            cluster=seen,
            limits=await self._prefect.limits(self._own, pool),
            paused=pool.paused(),
            own=self._own,
            release=self._settings.sweep.release,
            has_jobs=pool.has_jobs,
        )
        self._limits = {limit.id: limit for limit in facts.limits}
        suspect = suspects(facts, self._settings)
        histories = {run: await self._prefect.history(run) for run in suspect if run not in unknown}
        facts = replace(facts, histories=histories)
        return facts, findings(facts, self._settings)

    async def sweep(self, *, dry_run: bool) -> Report:
        """Look twice, and act on what was found both times; a dry run only reports it."""
        facts, found = await self.look()
        if any(finding.action is not SweepAction.REPORT for finding in found):
            await asyncio.sleep(self._settings.sweep.gone_seconds)
            before = {_identity(finding) for finding in found}
            facts, again = await self.look()
            found = tuple(one for one in again if one.action is SweepAction.REPORT or _identity(one) in before)
        looked = looked_at(facts)
        if dry_run:
            return Report(looked, tuple(Swept(finding, Result.FOUND) for finding in found))
        return Report(looked, tuple([await self._mend(finding) for finding in found]))

    async def _mend(self, finding: SweepFinding) -> Swept:
        if finding.action is SweepAction.REPORT:
            return Swept(finding, Result.FOUND)
        try:
            return Swept(finding, await self._act(finding))
        except PrefectHTTPStatusError as error:
            return Swept(finding, Result.REFUSED, detail(error))
        except FlowsError as error:
            return Swept(finding, Result.REFUSED, error.fact)

    async def _act(self, finding: SweepFinding) -> Result:
        if finding.action is SweepAction.FREE:
            return await self._free(finding)
        if finding.run and not await self._is_still(finding):
            return Result.MOVED_ON
        # The state first: deleting the Job would make the worker say why the run ended.
        if finding.run and finding.state and finding.action in STATES:
            taken = await self._prefect.change(finding.run, finding.state, finding.action, finding.message)
            if not taken:
                return Result.MOVED_ON
        if self._cluster:
            for job in finding.jobs:
                await self._cluster.delete(job)
        return Result.DONE

    async def _is_still(self, finding: SweepFinding) -> bool:
        run = await self._prefect.read(finding.run) if finding.run else None
        return (run.state if run else None) == finding.state

    async def _free(self, finding: SweepFinding) -> Result:
        seen = self._limits[finding.limit] if finding.limit else None
        now = {limit.id: limit for limit in await self._prefect.limits(self._own, await self._prefect.pool())}
        if seen is None or now.get(seen.id) != seen:
            return Result.MOVED_ON
        await self._prefect.free(seen, finding.remain)
        return Result.DONE


@asynccontextmanager
async def opened(settings: Settings, own: UUID | None = None) -> AsyncIterator[Sweeper]:
    """Open the sweeper of the configured API and cluster.

    Args:
        settings: which they are, and the time limits.
        own: the run that sweeps.

    Raises:
        ConfigurationError: there is no API, or it or the cluster refuses.
        PlatformError: one of them does not answer.
    """
    async with connected(seconds=0) as api, jobs.opened(settings) as client:
        yield Sweeper(Prefect(api, settings.work_pool), client, settings, own)


def looked_at(facts: Facts) -> str:
    """Return what a sweep looked at, in a line."""
    active = sum(not run.is_over for run in facts.runs.values() if run.id != facts.own)
    if facts.cluster is None:
        return f"{active} active runs; {WITHOUT_CLUSTER if facts.has_jobs else WITHOUT_JOBS}"
    return f"{active} active runs and {len(facts.cluster.jobs)} Jobs in {facts.cluster.namespace}"


def _identity(finding: SweepFinding) -> tuple[object, ...]:
    return finding.kind, finding.action, finding.subject, finding.run, finding.state


@child("sweep")
def sweep(*, dry_run: bool = False) -> ChildReport:
    """Look for runs, Jobs and slots that nobody looks after any more, and end or revive them.

    Args:
        dry_run: Only report what would be done.
    """
    report = asyncio.run(_swept(Settings.load(), dry_run=dry_run))
    for each in report.swept:
        logger.warning("%s", each)
    if report.swept:
        artifacts.table("sweep", [_row(each) for each in report.swept], description="What the sweeper found and did")
    refused = report.refused
    if refused:
        raise PlatformError(
            f"{len(refused)} of {len(report.swept)} findings could not be mended: {refused[0]}",
            hint="see the table `sweep` on this run's page; the next sweep tries again",
            problems=tuple(_problem(each) for each in refused),
        )
    counted = Counter(each.finding.kind.value for each in report.swept)
    summary = f"looked at {report.looked}: {len(report.swept)} found"
    return ChildReport(summary=summary, warnings=tuple(str(each) for each in report.swept), facts=dict(counted))


async def _swept(settings: Settings, *, dry_run: bool) -> Report:
    async with opened(settings, artifacts.run_id()) as sweeper:
        return await sweeper.sweep(dry_run=dry_run)


def _row(each: Swept) -> dict[str, str]:
    finding = each.finding
    return {
        "what": finding.kind,
        "subject": finding.subject,
        "why": finding.why,
        "action": finding.action,
        "result": ": ".join(part for part in (each.result, each.detail) if part),
    }


def _problem(each: Swept) -> Problem:
    return Problem(name=each.finding.subject, status=each.finding.kind, message=f"{each.finding.why}: {each.detail}")
