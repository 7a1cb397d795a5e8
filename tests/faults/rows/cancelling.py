"""A person cancels, at any stage: Cancelled within 30 s, with no pod, no query, no slot."""

from __future__ import annotations

from uuid import UUID

from tests.faults.case import Case
from tests.faults.matrix import Promise, row
from tests.faults.rows.children import working_one

SECONDS = 30


def cancelled(words: str, **more: object) -> Promise:
    """The promise of every stage."""
    return Promise(f"{words}: Cancelled within {SECONDS} s, no pod is left.", state="Cancelled", **more)  # type: ignore[arg-type]


@row(
    "cancel-queued",
    "A run is cancelled while it waits for its turn",
    cancelled("It never gets a pod", attempts=0),
    within=SECONDS,
)
def cancel_queued(case: Case) -> UUID:
    """It is scheduled for later."""
    run = case.start("faults-sleeper")
    with case.fault():
        case.prefect.cancel(run)
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
    run = case.start("faults-one", overrides={"only": {"job_variables": {"image": "registry.invalid/nothing:1"}}})
    child = case.child(run, "only")
    case.when(lambda: case.namespace.pods_of(child), "the child has a pod")
    with case.fault():
        case.prefect.cancel(run)
    case.settled(run)
    case.when(lambda: case.read(child).state_name == "Cancelled", "the child is Cancelled", within=SECONDS)
    return run


@row(
    "cancel-working",
    "A pipeline is cancelled while its child works",
    cancelled("Both end", children={"only/1": "Cancelled"}, starts=1),
    fast=True,
    within=SECONDS,
)
def cancel_working(case: Case) -> UUID:
    """The child is in the middle of its work."""
    run = working_one(case, 120)
    with case.fault():
        case.prefect.cancel(run)
    case.settled(run)
    case.when(lambda: case.prefect.states(run) == {"only/1": "Cancelled"}, "the child is Cancelled", within=SECONDS)
    return run
