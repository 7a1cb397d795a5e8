"""More memory for the next attempt: job variables in, doubled ones out. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pydantic import JsonValue

REQUEST, LIMIT = "memory_request", "memory_limit"
UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
QUANTITY = re.compile(r"^(\d+(?:\.\d+)?)(|k|M|G|T|Ki|Mi|Gi|Ti)$")


def size(quantity: object) -> int | None:
    """Bytes of a quantity of Kubernetes; None for what is none."""
    found = QUANTITY.match(str(quantity))
    return round(float(found[1]) * UNITS[found[2]]) if found else None


def limit(variables: Mapping[str, JsonValue]) -> str:
    """What an attempt may take at most, in its own words; empty: it has no limit."""
    return str(variables.get(LIMIT) or "")


def doubled(variables: Mapping[str, JsonValue], most: str) -> dict[str, JsonValue] | None:
    """Request and limit twice as large, as far as `most` allows; None: there is nothing to raise.

    Args:
        variables: what the attempt before had.
        most: largest quantity.
    """
    bound, now = size(most) or 0, size(variables.get(LIMIT))
    if now is None or now >= bound:
        return None
    requested = size(variables.get(REQUEST))
    more: dict[str, JsonValue] = {LIMIT: quantity(min(2 * now, bound))}
    return more | ({REQUEST: quantity(min(2 * requested, bound))} if requested else {})


def quantity(size: int) -> str:
    """Bytes in the largest unit that says them whole."""
    unit = next(unit for unit in ("Gi", "Mi", "Ki", "") if size % UNITS[unit] == 0)
    return f"{size // UNITS[unit]}{unit}"
