"""A step whose flow knows nothing of this package: it is lost, or fails, as a child does."""

from __future__ import annotations

from uuid import UUID

from tests.faults import node
from tests.faults.case import Case
from tests.faults.matrix import Promise, row
from tests.faults.rows.children import ONE

SAID = "platform: the model server answered 503"


@row(
    "plain-flow-killed",
    "The whole container of a plain Prefect flow is SIGKILLed",
    Promise(
        "The attempt is Crashed, a second one completes.",
        state="Completed",
        message=ONE,
        children={"plain/1": "Crashed", "plain/2": "Completed"},
        attempts=2,
        struck="plain",
        starts=2,
    ),
)
def plain_flow_killed(case: Case) -> UUID:
    """From the node: its first process."""
    run = case.start("faults-plain-step")
    case.until_effects("plain began")
    pod = case.until_pod(case.child(run, "plain"))
    with case.fault():
        node.kill_container(pod)
    return run


@row(
    "plain-flow-failed",
    "A plain Prefect flow returns Failed, with the word of a cause in its message",
    Promise(
        "Its step fails: error; no new attempt, and the message is its own.",
        state="Failed",
        message="0 of 1 steps completed; failed: plain (error)",
        children={"plain/1": "Failed"},
        struck="plain",
        starts=1,
    ),
    fast=True,
)
def plain_flow_failed(case: Case) -> UUID:
    """It begins with the word `platform`, which the platform did not write."""
    run = case.start("faults-plain-step", overrides={"plain": {"parameters": {"seconds": 1, "message": SAID}}})
    with case.fault():
        case.until_effects("plain began")
    case.settled(run)
    case.expect("its own words", str(case.prefect.children(run)["plain", 1].state.message), SAID)  # type: ignore[union-attr]
    return run
