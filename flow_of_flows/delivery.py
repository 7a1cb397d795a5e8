"""A finished dashboard in, a picture file and artifacts out."""

from __future__ import annotations

import base64
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from flow_of_flows.errors import PlatformError
from flow_of_flows.prefect_api import artifacts
from flow_of_flows.settings import Settings

__all__ = ["Cell", "Dashboard", "DashboardTable", "to_results_folder", "to_run_page"]

# A table artifact is one JSON value in Prefect's database and one page in its UI.
MOST_ROWS = 400

Cell = str | int | float | None


@dataclass(frozen=True)
class DashboardTable:
    """Rows behind a picture, newest or largest first."""

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def records(self, most: int) -> list[dict[str, Cell]]:
        """At most so many rows, a dict each."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows[:most]]


@dataclass(frozen=True)
class Dashboard:
    """A picture (PNG) and the tables behind it."""

    name: str
    title: str
    picture: bytes
    tables: tuple[DashboardTable, ...]
    summary: str
    facts: dict[str, str | int | float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def to_results_folder(dashboard: Dashboard, settings: Settings) -> str:
    """Replace `<results>/<name>.png` in one move, so that nobody ever opens half a picture.

    Args:
        dashboard: the picture.
        settings: where the results folder is.

    Raises:
        PlatformError: the folder cannot be written.
    """
    file = settings.results_folder / f"{dashboard.name}.png"
    try:
        _replace(file, dashboard.picture)
    except OSError as error:
        raise PlatformError(
            f"The picture cannot be written: {error.strerror or error}",
            location=str(file),
            hint="free some disk, or point FLOWS_HOME at a folder that can be written",
        ) from error
    return str(file)


def to_run_page(dashboard: Dashboard, settings: Settings) -> str:
    """Publish the picture and its tables on the page of the current run.

    The picture is inside the Markdown, so it lives as long as the run and needs no server. (An image artifact would
    show the same, and below it the whole `data:` address as one endless line.)

    Args:
        dashboard: the picture.
        settings: settings of the run.
    """
    place = settings.results_folder / f"{dashboard.name}.png"
    artifacts.markdown(dashboard.name, page(dashboard), description=f"{dashboard.summary}. File: `{place}`")
    for table in dashboard.tables:
        more = f" (the first {MOST_ROWS} of {len(table.rows):,} rows)" if len(table.rows) > MOST_ROWS else ""
        artifacts.table(f"{dashboard.name}-{table.name}", table.records(MOST_ROWS), description=table.title + more)
    return "the page of this run"


def page(dashboard: Dashboard) -> str:
    """Markdown with the picture, its warnings, and where the numbers are."""
    url = "data:image/png;base64," + base64.b64encode(dashboard.picture).decode("ascii")
    lines = [f"![{dashboard.title}]({url})", "", *(f"> **Warning** {warning}" for warning in dashboard.warnings)]
    if dashboard.tables:
        names = ", ".join(f"{table.title} (`{dashboard.name}-{table.name}`)" for table in dashboard.tables)
        lines += ["", f"The numbers are in the tables beside this page: {names}."]
    return "\n".join(lines) + "\n"


def _replace(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        part.chmod(0o644)
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
