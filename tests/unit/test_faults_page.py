"""The page of the fault matrix: rendered whole, and the committed one compared with the matrix."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from tests.commands import REPOSITORY
from tests.faults import rows as _rows  # noqa: F401 - collects them
from tests.faults.case import Case
from tests.faults.matrix import ROWS, Columns, Promise, Result, Row
from tests.faults.table import LEGEND, markdown

PAGE = REPOSITORY / "docs" / "faults.md"
HEAD = "2026-01-02 03:04 UTC; versions."


def _break(case: Case) -> UUID:
    """Return the first run of a row; the page never calls it."""
    return case.roots[0]


DELETED = Row("deleted", "A pod is deleted", Promise("Its run goes on.", "Completed", attempts=2), _break)
KILLED = Row("killed", "A pod is killed", Promise("Its run fails.", "Failed"), _break)
KEPT = Columns(detected=0.2, ended=22.0, attempts=2, rebuilt=0, doubled=0, pods=0, slots=0)
RESULTS = [
    Result(DELETED, 1, "Completed: ", KEPT),
    Result(KILLED, 1, "Failed: ", replace(KEPT, detected=None, ended=0.0, attempts=1)),
    Result(DELETED, 2, "Completed: ", replace(KEPT, detected=3.1, ended=25.5)),
    Result(KILLED, 2, "Failed: ", replace(KEPT, attempts=1, pods=1), ("said 'a|b'\n instead of 'c'", "1 pods left")),
]


def test_each_fault_has_one_line_with_one_column_for_each_run() -> None:
    """The cell of a run that broke its promise says how."""
    assert markdown(RESULTS, HEAD) == (
        "# The fault matrix\n"
        "\n"
        "3 of 4 runs of 2 faults ended as promised. 2026-01-02 03:04 UTC; versions. Made by `make faults`.\n"
        "\n"
        f"{LEGEND}\n"
        "\n"
        "| fault | promise | attempts | run 1 | run 2 |\n"
        "|---|---|---:|---|---|\n"
        "| A pod is deleted | Its run goes on. | 2 | 0.2 / 22.0 | 3.1 / 25.5 |\n"
        "| A pod is killed | Its run fails. | 1 | - / 0.0 "
        "| 0.2 / 22.0, not as promised: said 'a\\|b'  instead of 'c'; 1 pods left |\n"
    )


def test_the_page_of_a_matrix_that_ran_once_has_one_column() -> None:
    """A run of a fault that is missing leaves its cell empty."""
    once, again = RESULTS[:2], RESULTS[:3]
    assert markdown(once, HEAD).splitlines()[6:] == [
        "| fault | promise | attempts | run 1 |",
        "|---|---|---:|---|",
        "| A pod is deleted | Its run goes on. | 2 | 0.2 / 22.0 |",
        "| A pod is killed | Its run fails. | 1 | - / 0.0 |",
    ]
    assert markdown(again, HEAD).splitlines()[-1] == "| A pod is killed | Its run fails. | 1 | - / 0.0 |  |"


def test_the_committed_page_lists_each_fault_once_with_the_promise_of_the_matrix() -> None:
    """A fault that was added since the page was made is still missing there; none may differ or come twice."""
    lines = [line.split(" | ") for line in PAGE.read_text().splitlines() if line.startswith("| ")][1:]
    listed = [(fault.removeprefix("| "), promise, attempts) for fault, promise, attempts, *_ in lines]
    known = {(row.fault, row.promise.words, str(row.promise.attempts)) for row in ROWS.values()}
    assert len(listed) == len({fault for fault, *_ in listed})
    assert set(listed) <= known
