"""How long a build is expected to take: medians of earlier runs, and the schedule of dbt's queue."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from flow_of_flows.dbt.estimate import duration, elapsed, estimate, medians

# Two chains from one seed, and a test that holds up the end.
AFTER = {"b": {"a"}, "c": {"a"}, "d": {"b", "test"}, "test": {"c"}}
SECONDS = {"a": 10.0, "b": 20.0, "c": 5.0, "test": 1.0, "d": 4.0, "apart": 30.0}


def results(
    times: Mapping[str, float | str], began: str = "", arguments: Mapping[str, bool] | None = None
) -> dict[str, Any]:
    """A run_results.json: seconds of each node that succeeded, or the status of one that did not."""
    nodes = [
        {
            "unique_id": name,
            "status": time if isinstance(time, str) else "success",
            "execution_time": 99.0 if isinstance(time, str) else time,
            "timing": [{"name": "compile", "started_at": began}] if began else [],
        }
        for name, time in times.items()
    ]
    return {"args": dict(arguments or {}), "results": nodes}


@pytest.mark.parametrize(("threads", "expected"), [(1, 70.0), (2, 40.0), (3, 34.0), (100, 34.0)])
def test_the_schedule_is_that_of_so_many_threads(threads: int, expected: float) -> None:
    """One thread does all the work; with enough of them the critical path is left: a, b, d."""
    assert elapsed(SECONDS, AFTER, threads) == expected


def test_a_schedule_takes_nodes_by_their_depth_as_dbt_does() -> None:
    """Two threads take what is at the top first, so that the long node at depth two starts last."""
    assert elapsed({**dict.fromkeys("abcd", 1.0), "long": 5.0}, {"long": {"a"}}, 2) == 7.0
    assert elapsed({}, {}, 4) == 0.0


def test_the_median_is_of_nodes_that_did_all_their_work() -> None:
    """What failed or was skipped says nothing; a failing test has run its whole query."""
    runs = [
        results({"a": 10.0, "t": "fail"}),
        results({"a": 12.0, "b": "error"}),
        results({"a": 40.0, "b": "skipped"}),
    ]
    assert medians(runs) == {"a": 12.0, "t": 99.0}


def test_one_execution_in_two_files_counts_once() -> None:
    """A publication has the results of what was not built again."""
    assert medians([results({"a": 10.0}, "06:00"), results({"a": 10.0}, "06:00"), results({"a": 40.0}, "07:00")]) == {
        "a": 25.0
    }


@pytest.mark.parametrize("option", ["full_refresh", "empty", "sample"])
def test_an_unusual_run_counts_where_there_is_no_other(option: str) -> None:
    """A full refresh of an incremental model takes longer than its next run."""
    unusual = results({"a": 500.0, "b": 7.0}, arguments={option: True})
    assert medians([unusual, results({"a": 10.0}, arguments={option: False})]) == {"a": 10.0, "b": 7.0}


def test_a_node_that_never_ran_is_named_and_not_counted() -> None:
    """The sum says so, and on how many runs it rests; a damaged file is none."""
    runs = [
        json.dumps(results({"a": 60.0, "b": 90.0, "gone": 1.0})).encode(),
        b"{",
        json.dumps(results({"gone": 1.0})).encode(),
    ]
    found = estimate(["a", "b", "new"], runs, {"b": {"a"}, "new": {"b"}}, 4)
    assert (found.seconds, found.unknown, found.work) == ({"a": 60.0, "b": 90.0}, ("new",), 150.0)
    assert (found.elapsed, found.longest, found.runs) == (150.0, 150.0, 1)
    assert str(found) == (
        "about 2.5 min with 4 threads: 2.5 min of work, critical path 2.5 min "
        "(medians of 1 earlier run, without 1 node that never ran)"
    )
    assert str(estimate(["new"], [], {}, 4)) == "no estimate: 1 node never ran"
    assert str(estimate([], [], {}, 4)) == "nothing to build"


def test_durations_are_for_people() -> None:
    """Minutes, and seconds below one."""
    assert [duration(seconds) for seconds in (0.04, 59.9, 60, 5400)] == ["0.0 s", "59.9 s", "1.0 min", "90.0 min"]
