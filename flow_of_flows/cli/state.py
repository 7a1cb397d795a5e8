"""`flows state`: what is production in the state store, what was before, and the way back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from rich.console import Console
from rich.table import Table
from rich.text import Text

from flow_of_flows.dbt.state import opened, publishing
from flow_of_flows.dbt.state.publications import Publication
from flow_of_flows.dbt.state.publishing import is_copy, read_log
from flow_of_flows.errors import ExitCode
from flow_of_flows.settings import Settings

NONE = "no production artifacts yet: the first successful dbt-build publishes them"


def show() -> int:
    """Print what is production.

    Raises:
        FlowsError: the store cannot be read.
    """
    store = opened(Settings.load())
    log, _ = read_log(store)
    table = Table(box=None, show_header=False)
    table.add_row("store", store.describe())
    if log.current is None:
        there = store.read("artifacts/manifest.json") is not None
        table.add_row("production", "a manifest that another tool wrote" if there else NONE)
    else:
        for name, value in _described(log.current).items():
            table.add_row(name, value)
        for name in log.current.files:
            same = is_copy(log.current, name, store.read(f"artifacts/{name}"))
            table.add_row("file", Text(f"artifacts/{name}") if same else Text(_behind(log.current, name), "yellow"))
    _console().print(table)
    return ExitCode.OK


def history() -> int:
    """Print the publications that are kept, newest first.

    Raises:
        FlowsError: the store cannot be read.
    """
    store = opened(Settings.load())
    log, _ = read_log(store)
    if log.current is None:
        _console().print(f"{store.describe()}: {NONE}")
        return ExitCode.OK
    table = Table("publication", "age", "dbt", "", box=None)
    for entry in log.publications:
        notes = ["production"] if entry == log.current else []
        notes += [f"rollback to {entry.origin}"] if entry.origin else []
        notes += ["rolled back"] if log.is_rolled_back(entry) else []
        table.add_row(Text(entry.id, "bold" if entry == log.current else ""), age(entry), entry.dbt, ", ".join(notes))
    _console().print(table)
    return ExitCode.OK


def rollback(to: str | None) -> int:
    """Make an earlier publication production again, and say which.

    Raises:
        ConfigurationError: there is none such, or it is damaged.
        PlatformError: a run has published meanwhile; nothing is changed.
    """
    settings = Settings.load()
    back = publishing.rollback(opened(settings), to, datetime.now(UTC), settings.state.history)
    _console().print(
        f"Production is {back.origin} again, as {back.id}. The state, that is: tables are as the last run left them. "
        "Runs that started before now do not publish any more."
    )
    return ExitCode.OK


def age(entry: Publication, now: datetime | None = None) -> str:
    """Return how long ago an entry was written, in the largest unit that fits.

    Args:
        entry: an entry of the publication log.
        now: the present moment.
    """
    passed = (now or datetime.now(UTC)) - entry.time
    for unit, length in (("days", timedelta(days=1)), ("h", timedelta(hours=1)), ("min", timedelta(minutes=1))):
        if passed >= 2 * length:
            return f"{passed // length} {unit}"
    return f"{max(0, int(passed.total_seconds()))} s"


def _described(entry: Publication) -> dict[str, str]:
    values = {
        "production": f"{entry.id}, {age(entry)} old",
        "run": str(entry.run),
        "project": f"{entry.project} on {entry.target}, dbt {entry.dbt}",
    }
    return values | ({"rolled back to": entry.origin} if entry.origin else {})


def _behind(entry: Publication, name: str) -> str:
    return f"artifacts/{name} is not that of the publication; {entry.folder}/{name} counts, the next run copies it"


def _console() -> Console:
    return Console(highlight=False, soft_wrap=True, markup=False)
