"""The table of limits in docs/reliability.md is made from the module of limits."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import get_type_hints

from flow_of_flows import limits

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
HEADING = "## Limits"


def shown(value: object) -> str:
    """A count as it is, a time in its largest whole unit."""
    if isinstance(value, int):
        return str(value)
    seconds = value.total_seconds() if isinstance(value, timedelta) else float(str(value))
    unit, length = next((unit, length) for unit, length in (("h", 3600), ("min", 60), ("s", 1)) if not seconds % length)
    return f"{seconds / length:.0f} {unit}"


def rows() -> Iterator[str]:
    """The table: one row for each limit, in the module's order."""
    yield "| limit | value | what it bounds |"
    yield "|---|---|---|"
    for name, hint in get_type_hints(limits, include_extras=True).items():
        yield f"| `{name}` | {shown(getattr(limits, name))} | {hint.__metadata__[0]} |"


def test_the_page_has_the_table_of_limits() -> None:
    """Paste what this test prints where it fails."""
    section = PAGE.read_text().partition(f"{HEADING}\n")[2].partition("\n## ")[0]
    assert [line for line in section.splitlines() if line.startswith("|")] == list(rows())


def test_every_limit_is_described() -> None:
    """A constant without an annotation would be missing in the table."""
    constants = {name for name in vars(limits) if name.isupper()}
    assert constants == set(get_type_hints(limits, include_extras=True))
