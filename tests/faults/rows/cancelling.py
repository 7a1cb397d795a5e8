"""A person cancels, at any stage: Cancelled within 30 s, with no pod, no query, no slot."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from tests.faults.case import Case
from tests.faults.matrix import Promise, row
from tests.faults.rows.children import working_one
from tests.faults.site import CANCELLED

SECONDS = 30


def cancelled(words: str, **more: Any) -> Promise:
    """The promise of every stage."""
    return Promise(f"{words}: Cancelled within {SECONDS} s; no pod, query or slot is left.", state="Cancelled", **more)


def cancel(case: Case, run: UUID) -> UUID:
    """Cancel a run: all of it has to be over in time."""
    with case.fault():
        case.prefect.cancel(run)
    case.by(SECONDS, case.all_over, "every run and every pod is over")
    return run


@row(
    "cancel-queued",
    "A run is cancelled while it waits for its turn",
    cancelled("It never gets a pod", attempts=0, starts=1),
    within=SECONDS,
)
def cancel_queued(case: Case) -> UUID:
    """One run of its deployment may work at a time, and one does."""
    first = case.start("faults-turn", seconds=15)
    case.until_effects("turn began")
    run = case.start("faults-turn", seconds=15)
    case.until_state(run, "AwaitingConcurrencySlot")
    with case.fault():
        case.prefect.cancel(run)
    case.by(SECONDS, lambda: case.read(run).state_name == "Cancelled", "the run is Cancelled")
    case.until_state(first, "Completed")
    case.expect("pods that it had", case.namespace.pods_of(run), [])
    return run


@row(
    "cancel-on-bad-image",
    "A pipeline is cancelled while its child's image cannot be pulled",
    cancelled("Both end", children={"only/1": "Cancelled"}),
    fast=True,
    within=SECONDS,
)
def cancel_on_bad_image(case: Case) -> UUID:
    """The child's pod waits for its image."""
    return cancel(case, _pending(case, image="registry.invalid/nothing:1"))


@row(
    "cancel-unschedulable",
    "A pipeline is cancelled while no node fits its child's pod",
    cancelled("Both end", children={"only/1": "Cancelled"}),
    within=SECONDS,
)
def cancel_unschedulable(case: Case) -> UUID:
    """The child's pod waits for a node."""
    return cancel(case, _pending(case, node_selector={"faults": "none"}))


def _pending(case: Case, **job_variables: Any) -> UUID:
    run = case.start("faults-one", overrides={"only": {"job_variables": job_variables}})
    child = case.child(run, "only")
    case.when(lambda: case.namespace.pods_of(child), "the child has a pod")
    return run


@row(
    "cancel-starting",
    "A run is cancelled while its pod starts",
    cancelled("It does nothing", attempts=0),
    within=SECONDS,
)
def cancel_starting(case: Case) -> UUID:
    """As soon as its container runs: Python is not there yet."""
    run = case.start("faults-sleeper")
    case.until_pod(run)
    return cancel(case, run)


@row(
    "cancel-working",
    "A pipeline is cancelled while its child works",
    cancelled("Both end", children={"only/1": "Cancelled"}, starts=1),
    fast=True,
    within=SECONDS,
)
def cancel_working(case: Case) -> UUID:
    """The child is in the middle of its work."""
    return cancel(case, working_one(case, 120))


@row(
    "cancel-nested",
    "A pipeline of pipelines is cancelled while its grandchildren work",
    cancelled("All of it ends", children={"inner/1": "Cancelled"}, starts=2),
    within=SECONDS,
)
def cancel_nested(case: Case) -> UUID:
    """Both children of the inner pipeline are in the middle of their work."""
    seconds = {step: {"parameters": {"seconds": 120}} for step in ("left", "right")}
    run = case.start("faults-nested", overrides={"inner": {"parameters": {"overrides": seconds}}})
    case.until_effects("left began", "right began")
    inner = case.child(run, "inner")
    cancel(case, run)
    case.expect("grandchildren", case.prefect.states(inner), {"left/1": "Cancelled", "right/1": "Cancelled"})
    return run


@row(
    "cancel-holding-a-slot",
    "A run is cancelled while it holds a slot of a concurrency limit",
    cancelled("The slot is given back", starts=1),
    within=SECONDS,
)
def cancel_holding_a_slot(case: Case) -> UUID:
    """A limit that no other row uses."""
    run = case.start("faults-slot", seconds=120, limit=CANCELLED)
    case.until_effects("slot began")
    case.expect("slots before", case.limit(CANCELLED), 1)
    cancel(case, run)
    case.by(SECONDS, lambda: case.limit(CANCELLED) == 0, "the slot is given back")
    return run
