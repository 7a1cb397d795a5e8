"""`flows state`: what is production in the state store, what was before, and the way back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from rich.console import Console
from rich.table import Table
from rich.text import Text

from flow_of_flows.dbt.state import Store, opened, publishing
from flow_of_flows.dbt.state.projects import MANIFEST, ProjectState, chosen
from flow_of_flows.dbt.state.publications import DamagedError, Publication
from flow_of_flows.dbt.state.publishing import is_copy, read_log
from flow_of_flows.errors import ConfigurationError, ExitCode
from flow_of_flows.settings import Settings

NONE = "no production artifacts yet: the first successful dbt-build publishes them"
FOREIGN = "a manifest that another tool wrote"


def show(project: str | None) -> int:
    """Print what is production: of one project in full, of several a line each.

    Args:
        project: a project, `project/target` or the folder of a project; None for all.

    Raises:
        FlowsError: the store cannot be read, or it has nothing of the project.
    """
    store = opened(Settings.load())
    found = chosen(store, project)
    _console().print(_overview(store, found) if len(found) > 1 else _details(store, found))
    return ExitCode.OK


def history(project: str | None) -> int:
    """Print the publications that are kept, newest first, of one project or of all.

    Args:
        project: a project, `project/target` or the folder of a project; None for all.

    Raises:
        FlowsError: the store cannot be read, or it has nothing of the project.
    """
    store = opened(Settings.load())
    console = _console()
    found = chosen(store, project)
    for state in found:
        if len(found) > 1:
            console.print(Text(f"{state.title}, in {state.store.describe()}", "underline"))
        _print_history(console, state.store)
    if not found:
        _print_history(console, store)
    return ExitCode.OK


def rollback(project: str | None, to: str | None) -> int:
    """Make an earlier publication production again, and say which.

    Args:
        project: a project, `project/target` or the folder of a project; None where the store has only one.
        to: id of a publication, or of its run; None for the one before production.

    Raises:
        ConfigurationError: there is none such, it is damaged, or several projects could be meant.
        PlatformError: a run has published meanwhile; nothing is changed.
    """
    settings = Settings.load()
    store = _only(opened(settings), project)
    back = publishing.rollback(store, to, datetime.now(UTC), settings.state.history)
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


def _only(store: Store, project: str | None) -> Store:
    """Return the part of the store of the one project that a person means."""
    found = chosen(store, project)
    if len(found) > 1:
        names = ", ".join(state.names[-1] for state in found)
        raise ConfigurationError(
            f"Several projects have a production{f' and the name {project}' if project else ''}",
            location=store.describe(),
            hint=f"say which with --project: {names}",
        )
    return found[0].store if found else store


def _details(store: Store, found: tuple[ProjectState, ...]) -> Table:
    """Return everything about the production of one project, or of none."""
    table = Table(box=None, show_header=False)
    place = found[0].store if found else store
    table.add_row("store", place.describe())
    current = read_log(place)[0].current
    if current is None:
        table.add_row("production", FOREIGN if place.read(MANIFEST) is not None else NONE)
        return table
    for name, value in _described(current).items():
        table.add_row(name, value)
    if found and found[0].owner is not None and found[0].owner.source:
        table.add_row("source", found[0].owner.source)
    for name in current.files:
        same = is_copy(current, name, place.read(f"artifacts/{name}"))
        table.add_row("file", Text(f"artifacts/{name}") if same else Text(_behind(current, name), "yellow"))
    return table


def _overview(store: Store, found: tuple[ProjectState, ...]) -> Table:
    """Return a line for each project and target."""
    table = Table("project", "target", "source", "production", "age", "dbt", "artifacts", box=None)
    for state in found:
        owner = state.owner
        named = (owner.project, owner.target, owner.source) if owner else ("", "", "")
        place = f"{state.store.describe()}/artifacts"
        table.add_row(*map(Text, (*named, *_production(state.store), place.removeprefix(f"{store.describe()}/"))))
    return table


def _production(place: Store) -> tuple[str, str, str]:
    """Return the id, the age and dbt's version of a production."""
    try:
        current = read_log(place)[0].current
    except DamagedError as error:
        return error.message, "", ""
    return (current.id, age(current), current.dbt) if current else (FOREIGN, "", "")


def _print_history(console: Console, place: Store) -> None:
    log, _ = read_log(place)
    if log.current is None:
        console.print(f"{place.describe()}: {NONE}")
        return
    table = Table("publication", "age", "dbt", "", box=None)
    for entry in log.publications:
        notes = ["production"] if entry == log.current else []
        notes += [f"rollback to {entry.origin}"] if entry.origin else []
        notes += ["rolled back"] if log.is_rolled_back(entry) else []
        table.add_row(Text(entry.id, "bold" if entry == log.current else ""), age(entry), entry.dbt, ", ".join(notes))
    console.print(table)


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
