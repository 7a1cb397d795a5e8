"""The rows that a run has as its result: bounded for the run's page, and as Markdown for a terminal. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from flow_of_flows.messages import shortened
from flow_of_flows.redaction import redact

ROWS = 5_000
# Of one cell, and of the whole table as JSON: an artifact is one request to the Prefect API.
CELL, CHARACTERS = 20_000, 1_000_000

Row = Mapping[str, JsonValue]


@dataclass(frozen=True)
class ResultTable:
    """The rows of a run's result, and a sentence about them."""

    description: str
    rows: tuple[Row, ...]

    def markdown(self) -> str:
        """Return the rows as a table; a row with a text of several lines as a block under its other cells."""
        if any("\n" in _cell(value) for row in self.rows for value in row.values()):
            return "\n\n".join([self.description, *(_block(row) for row in self.rows)])
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        lines = [_line(columns), _line(["---"] * len(columns))]
        lines += [_line([_cell(row.get(name)) for name in columns]) for row in self.rows]
        return f"{self.description}\n\n" + "\n".join(lines)


def bounded(rows: Iterable[Row]) -> tuple[list[dict[str, JsonValue]], int]:
    """Return the rows that a page can show, without secrets, and how many are left out.

    Args:
        rows: all rows.
    """
    kept: list[dict[str, JsonValue]] = []
    size = left = 0
    for row in rows:
        shown = {name: _redacted(value) for name, value in row.items()}
        size += len(json.dumps(shown, ensure_ascii=False))
        if left or len(kept) == ROWS or size > CHARACTERS:
            left += 1
        else:
            kept.append(shown)
    return kept, left


def _redacted(value: JsonValue) -> JsonValue:
    return shortened(redact(value), CELL) if isinstance(value, str) else value


def _block(row: Row) -> str:
    texts = [name for name, value in row.items() if "\n" in _cell(value)]
    title = ", ".join(f"{name} `{_cell(value)}`" for name, value in row.items() if name not in texts)
    blocks = [f"```text\n{_cell(row[name]).strip()}\n```" for name in texts]
    return "\n\n".join([*([title] if title else []), *blocks])


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _cell(value: JsonValue) -> str:
    return "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
