"""What children and pipelines use is away: the state store, Secrets Manager, Slack and PagerDuty."""

from __future__ import annotations

import time
from contextlib import ExitStack
from uuid import UUID

from tests.faults import outage
from tests.faults.case import Case
from tests.faults.matrix import Lane, Promise, row
from tests.faults.rows.children import working_one
from tests.faults.rows.parts import OUTAGE
from tests.faults.rows.transform import building, held

# How long a pipeline may go on after its last child: alerts are given up by then (FLOWS_ALERTS_SECONDS).
TOLD = 20
# Elsewhere in these releases there is no HubSpot, so that dbt needs no data of it.
HUBSPOT = {"env": {"FLOWS_AIRBYTE_ENABLED": "true", "FLOWS_AIRBYTE_PLAIN_HTTP": "true"}}


@row(
    "state-store-away",
    f"The state store is away when a dbt build starts, for {OUTAGE} s at least, until two attempts have failed",
    Promise(
        "The attempts fail as the platform's fault; the third one, after a longer pause, completes.",
        state="Completed",
        message="1 of 6 steps completed",
        children={"dbt-build/1": "Failed", "dbt-build/2": "Failed", "dbt-build/3": "Completed"},
        attempts=3,
        struck="dbt-build",
    ),
    lane=Lane.LONG,
    builds=True,
    within=300,
)
def state_store_away(case: Case) -> UUID:
    """Nothing is behind its Service."""
    case.site.shop()
    case.restart()
    with case.fault(), outage.unreachable(case.site, "aws"):
        began = time.monotonic()
        run = case.start("jaffle-shop", only=["dbt-build"])
        for attempt in (1, 2):
            case.until_state(case.child(run, "dbt-build", attempt, within=120), "Failed", within=120)
        outage.lasts(max(0, OUTAGE - (time.monotonic() - began)))
    return run


@row(
    "state-store-away-at-the-end",
    "The state store is away when a dbt build publishes",
    Promise(
        "What was built stays built: the run completes, says what it did not publish, and publishes nothing by halves.",
        state="Completed",
        message="1 of 6 steps completed",
        children={"dbt-build/1": "Completed"},
        struck="dbt-build",
    ),
    lane=Lane.LONG,
    builds=True,
    within=180,
)
def state_store_away_at_the_end(case: Case) -> UUID:
    """Nothing is behind its Service from the middle of the build."""
    case.site.shop()
    case.restart()
    before = case.site.published()
    with ExitStack() as stack:
        with held(case):
            run = building(case)
            stack.enter_context(case.fault())
            stack.enter_context(outage.unreachable(case.site, "aws"))
        child = case.child(run, "dbt-build")
        case.until_state(child, "Completed", within=180)
    line = "The production artifacts may not be those of this run"
    case.when(lambda: line in case.said(child), "the run says that it did not publish", within=15)
    case.expect("what is published", case.site.published(), before)
    return run


@row(
    "secrets-manager-away",
    "Secrets Manager is away when a child needs its credentials",
    Promise(
        "The attempt fails as the platform's fault; the next one, after a pause, completes.",
        state="Completed",
        message="1 of 6 steps completed",
        children={"hubspot/1": "Failed", "hubspot/2": "Completed"},
        attempts=2,
        struck="hubspot",
    ),
    lane=Lane.LONG,
    within=180,
)
def secrets_manager_away(case: Case) -> UUID:
    """Nothing is behind its Service until the first attempt has failed."""
    with case.fault(), outage.unreachable(case.site, "secrets-manager"):
        run = case.start("daily-pipeline", HUBSPOT, only=["hubspot"], overrides={"hubspot": {"job_variables": HUBSPOT}})
        case.until_state(case.child(run, "hubspot"), "Failed")
    return run


def not_told(words: str) -> Promise:
    """What happens to a pipeline that fails while no alert can be sent."""
    return Promise(
        f"It fails within {TOLD} s of its child, with its cause, and {words}.",
        state="Failed",
        message="0 of 1 steps completed; failed: failing (data)",
        children={"failing/1": "Failed"},
        starts=1,
    )


@row(
    "alerts-away",
    "Slack and PagerDuty are away when a pipeline fails",
    not_told("says in its log which alerts were not sent"),
    lane=Lane.PARTS,
    within=60,
)
def alerts_away(case: Case) -> UUID:
    """Nothing is behind their Service."""
    with outage.unreachable(case.site, "alerts"):
        return _failed(case, "Slack was not notified", "PagerDuty was not notified")


@row(
    "alerts-silent",
    "Slack and PagerDuty take a message and never answer when a pipeline fails",
    not_told("says in its log that alerts were given up"),
    lane=Lane.PARTS,
    within=60,
)
def alerts_silent(case: Case) -> UUID:
    """The server behind their Service is paused, from the node."""
    with outage.silent(case.site, "alerts"):
        return _failed(case, "Alerts were given up")


@row(
    "cancel-while-alerts-silent",
    "A pipeline is cancelled while Slack and PagerDuty take messages and never answer",
    Promise(
        "Parent and child are Cancelled within 30 s, no pod is left.",
        state="Cancelled",
        children={"only/1": "Cancelled"},
        starts=1,
    ),
    lane=Lane.PARTS,
    within=30,
)
def cancel_while_alerts_silent(case: Case) -> UUID:
    """The server behind their Service is paused, from the node."""
    run = working_one(case, 120)
    with outage.silent(case.site, "alerts"):
        with case.fault():
            case.prefect.cancel(run)
        case.settled(run)
    case.when(lambda: case.prefect.states(run) == {"only/1": "Cancelled"}, "the child is Cancelled", within=30)
    return run


def _failed(case: Case, *lines: str) -> UUID:
    """A pipeline that has failed, in time, and says these lines."""
    run = case.start("faults-failing-step")
    child = case.until_state(case.child(run, "failing"), "Failed")
    with case.fault():
        parent = case.settled(run)
    assert parent.end_time is not None
    assert child.end_time is not None
    late = (parent.end_time - child.end_time).total_seconds()
    case.expect(f"ended within {TOLD} s of its child", late <= TOLD or late, promised=True)
    case.when(lambda: all(line in case.said(run) for line in lines), f"{' and '.join(lines)} in its log", within=15)
    return run
