"""How a load went in, the page and what is not as promised out: compared whole."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

from tests.faults.fans import READS, Fan, Size, objects, page, problems

SIZE = Size(children=3, parents=2, at_once=2)
TWO = Fan(
    parents=Counter(Completed=1),
    children=Counter(Completed=3),
    seconds=70.4,
    most=2,
    slowest=("left", 60.2),
    queued=4.6,
    requests=Counter({READS: 30, "GET /api/flow_runs/ID": 2}),
    all_requests=90,
    waited=62,
    memory={"parent": 170.2, "worker": 150, "server": 210},
)
MANY = replace(TWO, requests=Counter({READS: 32}))
CROWD = replace(TWO, parents=Counter(Completed=2), children=Counter(Completed=4))


def test_a_load_that_went_well_has_no_problems_and_one_row_for_each_thing() -> None:
    """The page of three fans, and the same values as JSON."""
    assert problems(SIZE, (TWO, MANY, CROWD)) == []
    assert page(SIZE, (TWO, MANY, CROWD), "2026-01-02; versions.") == (
        "# Load\n"
        "\n"
        "2026-01-02; versions. Made by `make load`.\n"
        "\n"
        "At most 2 children run at once (`workPool.concurrencyLimit`); parents look every 2 s.\n"
        "The children do nothing: what is measured is what surrounds them.\n"
        "\n"
        "| | 2 children that work for 60 s, and one behind them | 3 children of one parent "
        "| 2 parents at once, 2 children each |\n"
        "|---|---:|---:|---:|\n"
        "| parents completed | 1 | 1 | 2 |\n"
        "| children completed | 3 | 3 | 4 |\n"
        "| attempts that did not complete | 0 | 0 | 0 |\n"
        "| seconds until all are over | 70 | 70 | 70 |\n"
        "| children at work at once, most | 2 | 2 | 2 |\n"
        "| reads of runs by one parent, for each interval | 0.97 | 1.03 | 0.97 |\n"
        "| requests of one parent | 32 | 32 | 32 |\n"
        "| requests to the API, all | 90 | 90 | 90 |\n"
        "| slowest child, from its start (s) | 60 (left) | 60 (left) | 60 (left) |\n"
        "| longest wait of a child for its start (s) | 5 | 5 | 5 |\n"
        "| memory of one parent (MiB, most) | 170 | 170 | 170 |\n"
        "| memory of the worker (MiB, most) | 150 | 150 | 150 |\n"
        "| memory of the server (MiB, most) | 210 | 210 | 210 |\n"
        "\n"
        f"The parent of 3 children asked for: `{READS}` 32.\n"
    )
    told = json.loads(json.dumps(objects(SIZE, (TWO, MANY, CROWD))))
    assert (told["size"], told["problems"]) == ({"children": 3, "parents": 2, "at_once": 2}, [])
    assert told["fans"][0]["requests"] == {READS: 30, "GET /api/flow_runs/ID": 2}


def test_lost_runs_a_limit_that_does_not_hold_and_more_reads_are_problems() -> None:
    """Each in one sentence."""
    lost = replace(MANY, children=Counter(Completed=3, Crashed=1), requests=Counter({READS: 62}))
    crowd = replace(CROWD, most=3)
    assert problems(SIZE, (TWO, lost, crowd)) == [
        "3 children of one parent: {'Completed': 1} parents and {'Completed': 3, 'Crashed': 1} children",
        "3 children at once, the limit is 2",
        "2.00 reads an interval with 3 children, 0.97 with 2",
    ]
