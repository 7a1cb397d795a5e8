"""`flows plan`: what a build would run and why, from the project and the state store to the terminal."""

from __future__ import annotations

import logging

from rich.console import Console
from rich.table import Table
from rich.text import Text

from flow_of_flows.dbt import arguments, comparison
from flow_of_flows.dbt.arguments import Options
from flow_of_flows.dbt.comparison import Plan, plan
from flow_of_flows.dbt.results import title
from flow_of_flows.errors import ExitCode
from flow_of_flows.settings import Settings


def show_plan(select: str | None, exclude: str | None, *, changed_only: bool) -> int:
    """Print the nodes and why each would run.

    Args:
        select: what to build, in dbt's selection syntax.
        exclude: what to leave out.
        changed_only: show only what changed since production.

    Raises:
        FlowsError: what the build itself would end with before it builds.
    """
    settings = Settings.load()
    options = Options(
        select=arguments.selection_text("select", select), exclude=arguments.selection_text("exclude", exclude)
    )
    if changed_only:
        options = comparison.changed_only(options, "warn")
    # What dbt says on the way is not the answer; what there is to warn of is in the plan.
    logging.getLogger("flow_of_flows.dbt.events").setLevel(logging.ERROR)
    console = Console(highlight=False, soft_wrap=True, markup=False)
    _print(console, plan(settings, options))
    return ExitCode.OK


def _print(console: Console, planned: Plan) -> None:
    left = f", {planned.left} not built" if planned.left else ""
    since = f" (compared with production of {planned.since})" if planned.since else ""
    for warning in planned.warnings:
        console.print(Text(f"warning: {warning}", "yellow"))
    console.print(f"{len(planned.nodes)} nodes would run{left}{since}")
    table = Table(box=None, show_header=False)
    for name, reason in sorted(planned.nodes.items()):
        table.add_row(Text(title(name), "bold"), Text(reason))
    console.print(table)
