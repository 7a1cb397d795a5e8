"""`flows plan`: what a build would run, why and for how long, from the project and the state store to the terminal."""

from __future__ import annotations

import logging

from rich.console import Console
from rich.table import Table
from rich.text import Text

from flow_of_flows.dbt import arguments, comparison
from flow_of_flows.dbt.arguments import Options
from flow_of_flows.dbt.comparison import Plan, plan
from flow_of_flows.dbt.estimate import duration
from flow_of_flows.dbt.projects import settings_for
from flow_of_flows.dbt.results import title
from flow_of_flows.errors import ExitCode
from flow_of_flows.settings import Settings


def show_plan(select: str | None, exclude: str | None, *, changed_only: bool, project: str | None = None) -> int:
    """Print the nodes, why each would run, and how long they took in earlier runs.

    Args:
        select: what to build, in dbt's selection syntax.
        exclude: what to leave out.
        changed_only: show only what changed since production.
        project: folder of the dbt project, relative to that of prefect.yaml; None for the installation's own.

    Raises:
        FlowsError: what the build itself would end with before it builds.
    """
    installed = Settings.load()
    settings = settings_for(project, installed)
    options = Options(
        select=arguments.selection_text("select", select), exclude=arguments.selection_text("exclude", exclude)
    )
    if changed_only:
        options = comparison.changed_only(options, "warn")
    # What dbt says on the way is not the answer; what there is to warn of is in the plan.
    logging.getLogger("flow_of_flows.dbt.events").setLevel(logging.ERROR)
    console = Console(highlight=False, soft_wrap=True, markup=False)
    _print(console, plan(settings, options, installed))
    return ExitCode.OK


def _print(console: Console, planned: Plan) -> None:
    left = f", {planned.left} not built" if planned.left else ""
    since = f" (compared with production of {planned.since})" if planned.since else ""
    for warning in planned.warnings:
        console.print(Text(f"warning: {warning}", "yellow"))
    console.print(f"{len(planned.nodes)} nodes would run{left}{since}")
    expected = planned.estimate
    if planned.nodes:
        console.print(str(expected))
    table = Table(box=None, show_header=False)
    for name, reason in sorted(planned.nodes.items()):
        took = duration(expected.seconds[name]) if name in expected.seconds else "never ran"
        table.add_row(Text(title(name), "bold"), Text(reason), Text(took))
    console.print(table)
