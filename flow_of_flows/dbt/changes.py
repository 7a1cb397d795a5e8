"""What changed since production: selections and dbt's graph in; what to build, and why, out. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from flow_of_flows.dbt import selection
from flow_of_flows.dbt.arguments import Options
from flow_of_flows.dbt.results import ancestors, is_test, title
from flow_of_flows.dbt.state.production import Production
from flow_of_flows.errors import ConfigurationError

CODE = "state:modified+"
FRESHER = "source_status:fresher"
CHANGED = f"{CODE} {FRESHER}+"
NAMED = 10


def changed_only(options: Options, freshness: str) -> Options:
    """Return the options of a run that builds what changed.

    Args:
        options: what to build.
        freshness: what a stale source means: `warn`, `error` or `off`.

    Raises:
        ConfigurationError: the options select something else, too, or freshness is off.
    """
    for parameter, given in (("select", options.select), ("full_refresh", options.full_refresh)):
        if given:
            raise ConfigurationError(
                f"changed_only and {parameter} contradict each other", location="parameters", hint="give one of them"
            )
    if freshness == "off":
        raise ConfigurationError(
            "changed_only has to know which sources are fresher, and freshness is off",
            location="parameters",
            hint="set freshness to warn or error",
        )
    return replace(options, select=CHANGED)


def compares(options: Options, default: frozenset[str] = frozenset()) -> bool:
    """Return whether what dbt will select depends on production's artifacts.

    Args:
        options: what to build.
        default: selection methods of the project's default selector, which dbt uses where nothing is selected.
    """
    if options.select is None and options.exclude is None:
        return not selection.COMPARING.isdisjoint(default)
    return selection.compares(options.select) or selection.compares(options.exclude)


def tells_nothing(warning: str) -> bool:
    """Return whether a warning of dbt only says that nothing changed: that a comparison matches no node."""
    return selection.compares(selection.unmatched(warning))


def in_full(options: Options, default: str | None = None) -> Options:
    """Return the options without what cannot be compared.

    Args:
        options: what to build.
        default: name of the project's default selector; then everything has to be selected by name.
    """
    select, exclude = (None if selection.compares(text) else text for text in (options.select, options.exclude))
    if default is not None and select is None and exclude is None:
        select = selection.everything()
    return replace(options, state=None, select=select, exclude=exclude)


def lacks(options: Options, found: Production, expected: Collection[str], sources: bytes | None) -> str | None:
    """Return why fresher sources are not known, as a sentence; None if they are, or do not matter.

    Args:
        options: what to build.
        found: production.
        expected: the sources that declare freshness.
        sources: sources.json of now.
    """
    if options.select != CHANGED or not expected:
        return None
    if found.sources is None:
        return f"there is no sources.json of {found.title}"
    return "dbt gave no sources.json" if sources is None else None


def narrowed(options: Options, expected: Collection[str]) -> Options:
    """Return the options without the comparison of sources, where no source declares freshness.

    dbt would miss the file that it compares.

    Args:
        options: what to build.
        expected: the sources that declare freshness.
    """
    return replace(options, select=CODE) if options.select == CHANGED and not expected else options


def unwatched(sources: Iterable[str], expected: Collection[str]) -> str | None:
    """Return a warning about sources that declare no freshness, as new rows in them are not seen.

    Args:
        sources: all sources.
        expected: those that declare freshness.
    """
    blind = sorted(set(sources) - set(expected))
    if not blind:
        return None
    return f"New rows are not seen in sources that declare no freshness: {_some(blind)}"


def not_built(buildable: Iterable[str], done: Collection[str], since: str) -> dict[str, str | int]:
    """Return what was not built, for the report: how many, which, and why.

    Args:
        buildable: every node of the project that a full build has a result for.
        done: those that this build has a result for.
        since: what was compared with.
    """
    rest = sorted(set(buildable) - set(done))
    if not rest:
        return {"not built": 0}
    models = [title(name) for name in rest if not is_test(name)]
    facts: dict[str, str | int] = {"not built": len(rest), "not built because": f"unchanged since {since}"}
    return facts | ({"not built, without tests": _some(models)} if models else {})


def why(
    selected: Iterable[str], modified: Collection[str], fresher: Collection[str], parents: Mapping[str, Sequence[str]]
) -> dict[str, str]:
    """Return why each selected node would run.

    Args:
        selected: ids of the nodes.
        modified: those whose own code differs.
        fresher: sources that were loaded since.
        parents: what each node depends on.
    """
    return {name: _reason(name, modified, fresher, ancestors(name, parents)) for name in selected}


def _reason(name: str, modified: Collection[str], fresher: Collection[str], above: set[str]) -> str:
    if name in modified:
        return "modified"
    changed = sorted(above & set(modified))
    loaded = sorted(above & set(fresher))
    reasons = [f"downstream of {_some([title(node) for node in changed], 3)}"] if changed else []
    reasons += [f"fresher {_some([title(node) for node in loaded], 3)}"] if loaded else []
    return "; ".join(reasons) or "selected"


def _some(names: Sequence[str], bound: int = NAMED) -> str:
    more = f", and {len(names) - bound} more" if len(names) > bound else ""
    return ", ".join(names[:bound]) + more
