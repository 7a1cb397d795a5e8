"""Report the results of the fault matrix: lines on the terminal, docs/faults.md and build/faults.json."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
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
LEGEND = (
    "Each run shows two times in seconds after the fault: when something first reacted, and when the run ended. "
    "A run that ended as promised took the attempts of its line, built no model twice, doubled no row, and left no pod "
    "and no concurrency slot behind. The cell of any other run says what differed."
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
    """Return the page: one line for each fault, one column for each of its runs.

    Args:
        results: of the whole matrix, in its order.
        head: when it ran, and with which versions.
    """
    ok = sum(result.ok for result in results)
    repeats = sorted({result.repeat for result in results})
    faults: dict[str, dict[int, Result]] = {}
    for result in results:
        faults.setdefault(result.row.name, {})[result.repeat] = result
    lines = [
        "# The fault matrix",
        "",
        f"{ok} of {len(results)} runs of {len(faults)} faults ended as promised. {head} Made by `make faults`.",
        "",
        LEGEND,
        "",
        "| fault | promise | attempts | " + " | ".join(f"run {repeat}" for repeat in repeats) + " |",
        "|---|---|---:|" + "---|" * len(repeats),
        *(_fault(runs, repeats) for runs in faults.values()),
    ]
    return "\n".join(lines) + "\n"


def _fault(runs: Mapping[int, Result], repeats: Sequence[int]) -> str:
    """Return the line of one fault."""
    row = next(iter(runs.values())).row
    ends = [_run(runs[repeat]) if repeat in runs else "" for repeat in repeats]
    return "| " + " | ".join([row.fault, row.promise.words, str(row.promise.attempts), *ends]) + " |"


def _run(result: Result) -> str:
    """Return the cell of one run: its two times and, unless it ended as promised, what differed."""
    detected, ended, *_ = cells(result)
    times = f"{detected} / {ended}"
    return times if result.ok else _escaped(f"{times}, not as promised: {'; '.join(result.problems)}")


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
