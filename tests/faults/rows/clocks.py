"""The clock of a pod is a day off: deadlines and the order of publications go by the server's."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from tests.faults.case import Case
from tests.faults.matrix import Lane, Promise, row
from tests.faults.rows.children import ONE
from tests.faults.rows.transform import DONE

DAY = 24 * 60 * 60


def shifted(seconds: int) -> dict[str, Any]:
    """Job variables of a pod whose clock is so far ahead."""
    clock = "/project/fault_pods/clock.so"
    return {"env": {"LD_PRELOAD": clock, "FAULTS_CLOCK_SHIFT": str(seconds)}}


@row(
    "clock-ahead",
    "The clocks of a pipeline's pod and its child's are a day ahead",
    Promise(
        "Neither takes its time for over; both complete.",
        state="Completed",
        message=ONE,
        children={"only/1": "Completed"},
        struck="only",
        starts=1,
    ),
)
def clock_ahead(case: Case) -> UUID:
    """A day is more than the step's timeout, the deadline for pending, and that of the Job."""
    with case.fault():
        return case.start(
            "faults-one",
            shifted(DAY),
            overrides={"only": {"parameters": {"seconds": 15}, "job_variables": shifted(DAY)}},
        )


@row(
    "clock-behind",
    "The clock of a pipeline's pod is a day behind, and a child takes too long",
    Promise(
        "The child is cancelled in its time; the step fails: timeout.",
        state="Failed",
        message="0 of 1 steps completed; failed: slow (timeout)",
        children={"slow/1": "Cancelled"},
        struck="slow",
        starts=1,
    ),
)
def clock_behind(case: Case) -> UUID:
    """The step has 40 seconds."""
    with case.fault():
        return case.start("faults-short", shifted(-DAY), overrides={"slow": {"parameters": {"seconds": 600}}})


@row(
    "clock-of-dbt-ahead",
    "The clock of a dbt pod is a day ahead; the next build's is right",
    Promise(
        "Both publish, and what the second built is production.",
        state="Completed",
        message=DONE,
        children={"dbt-build/1": "Completed"},
        struck="dbt-build",
    ),
    lane=Lane.DBT,
)
def clock_of_dbt_ahead(case: Case) -> UUID:
    """The second is the newer one, whatever the first one's clock said."""
    case.site.shop()
    with case.fault():
        first = case.start("jaffle-shop", only=["dbt-build"], overrides={"dbt-build": {"job_variables": shifted(DAY)}})
    case.until_state(first, "Completed")
    case.expect("published first", _published(case, first), True)  # noqa: FBT003
    case.restart()
    case.roots.clear()
    with case.fault():
        second = case.start("jaffle-shop", only=["dbt-build"])
    case.until_state(second, "Completed")
    case.expect("published second", _published(case, second), True)  # noqa: FBT003
    return second


def _published(case: Case, run: UUID) -> bool:
    return str(case.child(run, "dbt-build")) in case.site.published()
