"""`flows sweep`: looks for runs, Jobs and slots that nobody looks after any more, prints and mends what it finds."""

from __future__ import annotations

from rich.console import Console

from flow_of_flows.errors import ExitCode
from flow_of_flows.settings import Settings


async def sweep(*, dry_run: bool) -> int:
    """Sweep once, and print a line for each finding.

    Returns:
        0 when nothing is left to do; 1 when something could not be done or, in a dry run, would be done.

    Raises:
        ConfigurationError: there is no API, or it or the cluster refuses.
        PlatformError: one of them does not answer.
    """
    from flow_of_flows.sweeper.actions import SweepAction
    from flow_of_flows.sweeper.sweeper import opened

    async with opened(Settings.load()) as sweeper:
        report = await sweeper.sweep(dry_run=dry_run)
    out = Console(soft_wrap=True, highlight=False, markup=False)
    for each in report.swept:
        out.print(str(each))
    out.print(f"Looked at {report.looked}: {len(report.swept)} found.")
    undone = report.refused or (dry_run and [s for s in report.swept if s.finding.action is not SweepAction.TELL])
    return ExitCode.FAILED if undone else ExitCode.OK
