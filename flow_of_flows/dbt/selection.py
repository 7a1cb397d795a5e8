"""dbt's selection syntax, read by dbt's own parser: parameters and selectors in, one text and its methods out.

Only the parser of one criterion is dbt's function; the separators are dbt's constants.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from flow_of_flows.errors import ConfigurationError

# Methods that need the artifacts of an earlier run.
COMPARING = frozenset({"state", "source_status", "result"})
_UNMATCHED = re.compile(r"The selection criterion '(.+)' does not match any")


def text(parameter: str, value: str | Sequence[str] | None) -> str | None:
    """Return a selection as one text whose criteria are separated by one space; None where there is none.

    Args:
        parameter: name of the parameter, for a message.
        value: the selection as a person wrote it: one text, or a list of texts.

    Raises:
        ConfigurationError: a criterion begins with a dash, so that dbt would take it for an option.
    """
    given = [value] if isinstance(value, str) else value or []
    criteria = [criterion for part in given for criterion in part.split()]
    for criterion in criteria:
        if criterion.startswith("-"):
            raise ConfigurationError(
                f"{criterion!r} in {parameter} is an option of dbt, not a selection",
                location=f"parameter {parameter}",
                hint="remove it; what can be set has a parameter of its own, such as full_refresh, exclude or threads",
            )
    return " ".join(criteria) or None


def compares(selection: str | None) -> bool:
    """Return whether a selection asks for the artifacts of an earlier run."""
    return not COMPARING.isdisjoint(methods(selection))


def methods(selection: str | None) -> frozenset[str]:
    """Return the selection methods that a selection uses, such as `tag` or `state`."""
    from dbt.graph.cli import INTERSECTION_DELIMITER

    criteria = (part for union in (selection or "").split() for part in union.split(INTERSECTION_DELIMITER))
    return frozenset(method for criterion in criteria for method in _methods_of(criterion))


def everything() -> str:
    """Return the selection that dbt takes for everything, for a project whose default selector is less."""
    from dbt.graph.cli import DEFAULT_INCLUDES

    return " ".join(DEFAULT_INCLUDES)


def methods_of_selector(definition: Any) -> frozenset[str]:
    """Return the selection methods of a selector's definition, as dbt keeps it in the manifest."""
    return frozenset(_walk(definition))


def unmatched(warning: str) -> str | None:
    """Return the criterion that a warning of dbt says matches no node; None for any other warning."""
    found = _UNMATCHED.match(warning)
    return found[1] if found else None


def _methods_of(criterion: str) -> list[str]:
    from dbt.graph.selector_spec import SelectionCriteria
    from dbt_common.exceptions import DbtRuntimeError

    try:
        found = SelectionCriteria.dict_from_single_spec(criterion)
    except DbtRuntimeError:
        return []  # dbt refuses it when it selects, and its own message says why
    return [str(found["method"]).partition(".")[0]] if "method" in found else []


def _walk(definition: Any) -> Iterator[str]:
    match definition:
        case str():
            yield from methods(definition)
        case {"method": str(method), **rest}:
            yield method.partition(".")[0]
            yield from _walk(rest.get("exclude", []))
        case Mapping():
            for key, value in definition.items():
                yield from _walk(value) if key in ("union", "intersection", "exclude") else methods(f"{key}:{value}")
        case list():
            for part in definition:
                yield from _walk(part)
