"""`flows register` and `flows teardown`: what the chart's hooks run; also for a person at a terminal."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console

from flow_of_flows.errors import ExitCode
from flow_of_flows.settings import Settings

T = TypeVar("T")


def register_all(*, only_plan: bool, file: Path | None, seconds: float, take_over: bool) -> int:
    """Register everything, or print what would change.

    Args:
        only_plan: print what would change, and change nothing.
        file: the registration file, instead of that of the settings.
        seconds: how long to wait for the API.
        take_over: make another owner's objects of the same names this owner's.

    Raises:
        ConfigurationError: something in the files does not fit.
        PlatformError: the API does not do its part.
    """
    from flow_of_flows.registration.plan import Action
    from flow_of_flows.registration.registration import register

    settings = Settings.load()
    if file is not None:
        settings = settings.model_copy(update={"registration": file})
    changes = _until_told_to_stop(
        register(settings, only_plan=only_plan, seconds=seconds, say=_say, take_over=take_over)
    )
    if not only_plan:
        changed = sum(change.action is not Action.UNCHANGED for change in changes)
        _say(f"Registered: {changed} changed." if changed else "Registered: nothing had to change.")
    return ExitCode.OK


def remove_jobs(namespace: str, selector: str, *, seconds: float) -> int:
    """Delete the Jobs with these labels, and wait until they and their pods are gone.

    Args:
        namespace: where the Jobs are.
        selector: their label selector.
        seconds: how long to wait.

    Raises:
        ConfigurationError: this is not a pod of a cluster, or it may not do this.
        PlatformError: something is left after that time.
    """
    from flow_of_flows.kubernetes_api.jobs import teardown

    deleted = _until_told_to_stop(teardown(namespace, selector, seconds=seconds))
    _say(f"Removed {deleted} Jobs with their pods from {namespace}.")
    return ExitCode.OK


def _say(line: str) -> None:
    # A log is not a terminal: lines are not folded there.
    Console(soft_wrap=True, highlight=False, markup=False).print(line)


def _until_told_to_stop(work: Coroutine[Any, Any, T]) -> T:
    """Return the result of some work; cancel it on SIGTERM, so that it cleans up."""

    async def heeding() -> T:
        task = asyncio.ensure_future(work)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await task

    try:
        return asyncio.run(heeding())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


async def sweep(*, dry_run: bool) -> int:
    """Sweep once, and print a line for each finding.

    Returns:
        0 when nothing is left to do; 1 when something could not be done or, in a dry run, would be done.

    Raises:
        ConfigurationError: there is no API, or it or the cluster refuses.
        PlatformError: one of them does not answer.
    """
    from flow_of_flows.sweeper.flow import opened
    from flow_of_flows.sweeper.snapshot import SweepAction

    async with opened(Settings.load()) as sweeper:
        report = await sweeper.sweep(dry_run=dry_run)
    out = Console(soft_wrap=True, highlight=False, markup=False)
    for each in report.swept:
        out.print(str(each))
    out.print(f"Looked at {report.looked}: {len(report.swept)} found.")
    undone = report.refused or (dry_run and [s for s in report.swept if s.finding.action is not SweepAction.REPORT])
    return ExitCode.FAILED if undone else ExitCode.OK
