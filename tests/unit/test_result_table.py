"""The rows that a run has as its result: on its page and in a terminal."""

from __future__ import annotations

from flow_of_flows.summary import result_table
from flow_of_flows.summary.result_table import CELL, ROWS, ResultTable, Row, bounded


def test_rows_are_a_table() -> None:
    """Columns in the order in which they occur; what is not a text as JSON."""
    rows: tuple[Row, ...] = ({"id": 1, "name": "a|b"}, {"id": None, "price": 1.5})
    assert ResultTable("dbt show: 2 rows", rows).markdown() == (
        "dbt show: 2 rows\n\n| id | name | price |\n| --- | --- | --- |\n| 1 | a\\|b |  |\n|  |  | 1.5 |"
    )


def test_texts_of_several_lines_are_blocks() -> None:
    """As a compiled model is: a cell of a table could not show it."""
    rows = ({"node": "model.tiny.first", "sql": "select 1\nas id\n"},)
    assert ResultTable("dbt compile: 1 row", rows).markdown() == (
        "dbt compile: 1 row\n\nnode `model.tiny.first`\n\n```text\nselect 1\nas id\n```"
    )


def test_a_page_shows_so_many_rows_and_no_more() -> None:
    """What is left out is counted; a long text is shortened."""
    kept, left = bounded({"id": number} for number in range(ROWS + 2))
    assert (len(kept), left) == (ROWS, 2)
    (row,), left = bounded([{"text": "x" * (CELL + 7)}])
    assert row["text"] == "x" * CELL + "… (7 more characters)"
    large = [{"text": "x" * CELL}] * (result_table.CHARACTERS // CELL + 1)
    kept, left = bounded(large)
    assert (len(kept), left) == (len(large) - 2, 2)
