"""The child that sweeps on a schedule: ends or restarts what was abandoned, and reports what it did.

Its deployment has a service account that may list and delete Jobs; the chart makes it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter

from flow_of_flows.child_flow import child
from flow_of_flows.child_report import ChildReport, Problem
from flow_of_flows.errors import PlatformError
from flow_of_flows.prefect_api import artifacts as publish
from flow_of_flows.settings import Settings
from flow_of_flows.sweeper import sweeper as sweeping

logger = logging.getLogger(__name__)


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
        publish.table("sweep", [_row(each) for each in report.swept], description="What the sweeper found and did")
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


async def _swept(settings: Settings, *, dry_run: bool) -> sweeping.Report:
    async with sweeping.opened(settings, publish.run_id()) as sweeper:
        return await sweeper.sweep(dry_run=dry_run)


def _row(each: sweeping.Swept) -> dict[str, str]:
    finding = each.finding
    return {
        "what": finding.kind,
        "subject": finding.subject,
        "why": finding.why,
        "action": finding.action,
        "result": ": ".join(part for part in (each.result, each.detail) if part),
    }


def _problem(each: sweeping.Swept) -> Problem:
    return Problem(name=each.finding.subject, status=each.finding.kind, message=f"{each.finding.why}: {each.detail}")
