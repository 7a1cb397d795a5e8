"""The words of `flows state …`: a part of the command line, called by `flow_of_flows.cli.app`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

app = App(name="state", help="Look at dbt's production artifacts in the state store, and roll them back.")


@app.command
def show() -> int:
    """Print what is production: which run's artifacts, how old, and whether the copies in artifacts/ are theirs."""
    from flow_of_flows.cli import state as keeping

    return keeping.show()


@app.command
def history() -> int:
    """Print the publications that are kept, newest first."""
    from flow_of_flows.cli import state as keeping

    return keeping.history()


@app.command
def rollback(
    *,
    to: Annotated[
        str | None, Parameter(help="Id of a publication, or of its run; without it, the run before production's.")
    ] = None,
) -> int:
    """Make an earlier publication production again; runs that started before do not publish over it."""
    from flow_of_flows.cli import state as keeping

    return keeping.rollback(to)
