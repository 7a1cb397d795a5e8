"""The batches of microbatch models: what is done, what is left, and what a retry builds."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace
from typing import Any

import pytest

from flow_of_flows.dbt import batches
from flow_of_flows.dbt.batches import BatchProgress
from flow_of_flows.dbt.events import markdown
from flow_of_flows.dbt.results import Batches

MODEL = "model.tiny.daily"


def line(batch: str, index: int = 1, total: int = 1, status: str = "OK") -> Any:
    """What dbt says of a batch."""
    return SimpleNamespace(
        description=f"batch {batch} of analytics.daily", batch_index=index, total_batches=total, status=status
    )


def utc(*moments: str) -> tuple[str, ...]:
    """Moments as dbt writes them."""
    return tuple(f"{moment}+00:00" for moment in moments)


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        ("2026", ["2025-01-01T00:00:00", "2026-01-01T00:00:00", "2027-01-01T00:00:00", "2028-01-01T00:00:00"]),
        ("2026-01", ["2025-12-01T00:00:00", "2026-01-01T00:00:00", "2026-02-01T00:00:00", "2026-03-01T00:00:00"]),
        ("2026-03-01", ["2026-02-28T00:00:00", "2026-03-01T00:00:00", "2026-03-02T00:00:00", "2026-03-03T00:00:00"]),
        ("2026-01-01T00", ["2025-12-31T23:00:00", "2026-01-01T00:00:00", "2026-01-01T01:00:00", "2026-01-01T02:00:00"]),
    ],
)
def test_one_batch_of_any_size_says_which_there_are(second: str, expected: list[str]) -> None:
    """The second of three has one before it and one behind it."""
    progress = BatchProgress()
    progress.started(MODEL, line(second, 2, 3))
    progress.ended(MODEL, line(second, 2, 3))

    one, two, three, end = utc(*expected)
    assert progress.results(MODEL) == Batches(((two, three),), ((one, two), (three, end)))


def test_a_retry_counts_the_batches_of_the_run_before() -> None:
    """What it builds are the failed ones; a skipped batch has not run."""
    days = utc(*(f"2026-01-0{day}T00:00:00" for day in (1, 2, 3, 4)))
    kept = {"successful": [days[:2]], "failed": [days[1:3], days[2:4]]}
    start = json.dumps({"results": [{"unique_id": MODEL, "batch_results": kept}]}).encode()
    progress = BatchProgress()
    progress.begin(start)
    assert list(progress.unfinished(())) == []
    for number, (day, status) in enumerate({"2026-01-02": "OK", "2026-01-03": "skipped"}.items(), 1):
        progress.started(MODEL, line(day, number, 2))
        progress.ended(MODEL, line(day, number, 2, status))

    (node,) = progress.unfinished(())
    assert (node.status, node.message) == ("partial success", "PARTIAL SUCCESS (2/3)")
    assert node.batches == Batches((days[:2], days[1:3]), (days[2:4],))  # type: ignore[arg-type]
    assert list(progress.unfinished({MODEL})) == []


def test_the_page_shows_what_is_done_and_left_and_until_when(monkeypatch: pytest.MonkeyPatch) -> None:
    """The log says the same from time to time."""
    monkeypatch.setattr(batches, "LOG_SECONDS", 0.0)
    progress = BatchProgress()
    progress.started(MODEL, line("2026-01-01", 1, 90))
    assert progress.markdown()[-2] == "| model daily | 0 of 90 | 0 | 90 | ? |"
    logged = progress.ended(MODEL, line("2026-01-01", 1, 90))
    progress.started(MODEL, line("2026-01-02", 2, 90))
    progress.ended(MODEL, line("2026-01-02", 2, 90, "error"))

    moment = r"\d{4}-\d\d-\d\d \d\d:\d\d UTC"
    assert re.fullmatch(f"Batches of model daily: 1 of 90 done, 89 left, expected end {moment}", logged or "")
    shown = markdown((), (MODEL,), 3, progress.markdown())
    assert re.search(rf"^\| model daily \| 1 of 90 \| 1 \| 88 \| {moment} \|$", shown, re.MULTILINE)


def test_batches_of_a_model_that_dbt_gave_up_are_kept() -> None:
    """With `fail_fast`, dbt calls such a model skipped and says nothing of its batches."""
    progress = BatchProgress()
    progress.started(MODEL, line("2026-01-01", 1, 2))
    progress.ended(MODEL, line("2026-01-01", 1, 2))
    given_up = {"unique_id": MODEL, "status": "skipped", "message": "Skipping due to fail_fast", "batch_results": None}

    (result,) = json.loads(progress.complete(json.dumps({"results": [given_up]}).encode()))["results"]

    days = utc(*(f"2026-01-0{day}T00:00:00" for day in (1, 2, 3)))
    assert result == {
        "unique_id": MODEL,
        "status": "partial success",
        "message": "PARTIAL SUCCESS (1/2); Skipping due to fail_fast",
        "batch_results": {"successful": [[days[0], days[1]]], "failed": [[days[1], days[2]]]},
    }


def test_dbt_names_batches_in_a_way_that_is_known() -> None:
    """Another one is an error at once, not batches that are built twice."""
    with pytest.raises(ValueError, match="dbt names a batch in another way: batch tomorrow morning of analytics"):
        BatchProgress().started(MODEL, line("tomorrow morning"))
