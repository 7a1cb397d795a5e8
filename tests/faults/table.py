"""Results in, what people and programs read out: lines, docs/faults.md, build/faults.json. Pure but for writing."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tests.faults.matrix import Result

REPOSITORY = Path(__file__).parent.parent.parent
COLUMNS = (
    "detected after (s)",
    "ended after (s)",
    "attempts",
    "models rebuilt twice",
    "rows doubled",
    "pods left",
    "slots held",
)


def say(line: str) -> None:
    """One line, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def cells(result: Result) -> list[str]:
    """The measured columns as text."""
    return ["-" if value is None else str(value) for value in asdict(result.columns).values()]


def line(result: Result) -> str:
    """A row as it ends."""
    verdict = "ok" if result.ok else "NOT OK: " + "; ".join(result.problems)
    measured = ", ".join(f"{name} {value}" for name, value in zip(COLUMNS, cells(result), strict=True))
    return f"{result.row.name} #{result.repeat}: {measured}: {verdict}"


def markdown(results: Sequence[Result], head: str) -> str:
    """The table."""
    ok = sum(result.ok for result in results)
    lines = [
        "# The fault matrix",
        "",
        f"{ok} of {len(results)} rows ended as promised. {head} Made by `make faults`; times count from the fault.",
        "",
        "| fault | promise | " + " | ".join(COLUMNS) + " | verdict |",
        "|---|---|" + "---:|" * len(COLUMNS) + "---|",
    ]
    for result in results:
        name = result.row.fault + (f" (run {result.repeat})" if result.repeat > 1 else "")
        verdict = "ok" if result.ok else "; ".join(result.problems)
        lines.append("| " + " | ".join([name, result.row.promise.words, *cells(result), _escaped(verdict)]) + " |")
    return "\n".join(lines) + "\n"


def objects(results: Sequence[Result]) -> list[dict[str, object]]:
    """The same for programs."""
    return [
        {
            "fault": result.row.name,
            "repeat": result.repeat,
            "promised": result.row.promise.words,
            "ended": result.ended,
            "ok": result.ok,
            **dict(zip(COLUMNS, asdict(result.columns).values(), strict=True)),
            "problems": list(result.problems),
        }
        for result in results
    ]


def write(results: Sequence[Result], head: str, *, page: Path | None) -> None:
    """Both files; the page only of a whole matrix."""
    build = REPOSITORY / "build"
    build.mkdir(exist_ok=True)
    (build / "faults.json").write_text(json.dumps(objects(results), indent=2) + "\n")
    if page:
        page.write_text(markdown(results, head))


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
