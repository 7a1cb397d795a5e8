"""A part of the system itself is away: runs wait, retry, or end with a cause; none is lost."""

from __future__ import annotations

from uuid import UUID

from tests.faults import node, outage
from tests.faults.case import Case
from tests.faults.matrix import Lane, Promise, row
from tests.faults.rows.children import ONE, working_one
from tests.faults.rows.parents import DONE, PAIR, working_pair

OUTAGE = 60
# Elsewhere in these releases there is no HubSpot, so that dbt needs no data of it.
HUBSPOT = {"env": {"FLOWS_AIRBYTE_ENABLED": "true", "FLOWS_AIRBYTE_PLAIN_HTTP": "true"}}
THROUGH = Promise(
    "Everything goes on and completes when it is back; nothing starts twice.",
    state="Completed",
    message=DONE,
    children=PAIR,
    starts=3,
)


@row(
    "worker-deleted",
    "The worker's pod is deleted while children work",
    THROUGH,
    lane=Lane.PARTS,
)
def worker_deleted(case: Case) -> UUID:
    """`kubectl delete pod`; its Deployment makes another."""
    run = working_pair(case, 20)
    with case.fault():
        case.namespace.kubectl("delete", "pod", "-l", "app.kubernetes.io/component=worker", "--wait=false")
    return run


@row(
    "worker-away",
    "The worker is away for 10 minutes, and a child's container is killed meanwhile",
    Promise(
        "When it is back the child is found Crashed, and a second attempt completes.",
        state="Completed",
        message=ONE,
        children={"only/1": "Crashed", "only/2": "Completed"},
        attempts=2,
        struck="only",
        starts=2,
    ),
    lane=Lane.LONG,
    within=180,
)
def worker_away(case: Case) -> UUID:
    """Scaled to none; the container is killed from the node."""
    run = working_one(case, 20)
    child = case.child(run, "only")
    pod = case.until_pod(child)
    with outage.away(case.site, "worker"), case.fault():
        node.kill_container(pod)
        outage.lasts(600)
        case.expect("the child, before the worker is back", case.read(child).state_name, "Running")
    return run


@row("api-away", f"The API is away for {OUTAGE} s while children work", THROUGH, lane=Lane.PARTS, fast=True)
def api_away(case: Case) -> UUID:
    """The server's Deployment is scaled to none."""
    run = working_pair(case, 30)
    with case.fault(), outage.away(case.site, "server"):
        outage.lasts(OUTAGE)
    return run


@row("database-away", f"Prefect's database is away for {OUTAGE} s while children work", THROUGH, lane=Lane.PARTS)
def database_away(case: Case) -> UUID:
    """It takes no connections, and those that there are break."""
    run = working_pair(case, 30)
    with case.fault(), outage.database_away(case.site):
        outage.lasts(OUTAGE)
    return run


@row("api-internal-errors", "The API answers 500 for 30 s while children work", THROUGH, lane=Lane.PARTS, fast=True)
def api_internal_errors(case: Case) -> UUID:
    """A table of its database has another name meanwhile."""
    run = working_pair(case, 15)
    with case.fault(), outage.internal_errors(case.site):
        outage.lasts(30)
    return run


@row(
    "cancel-after-outage",
    f"A pipeline that lived through an API outage of {OUTAGE} s is cancelled",
    Promise(
        "Parent and child are Cancelled within 30 s, no pod is left.",
        state="Cancelled",
        children={"only/1": "Cancelled"},
        starts=1,
    ),
    lane=Lane.PARTS,
    within=30,
)
def cancel_after_outage(case: Case) -> UUID:
    """Prefect's own observer of cancellations has given up by then."""
    run = working_one(case, 600)
    with outage.away(case.site, "server"):
        outage.lasts(OUTAGE)
    with case.fault():
        case.prefect.cancel(run)
    case.settled(run)
    case.when(lambda: case.prefect.states(run) == {"only/1": "Cancelled"}, "the child is Cancelled", within=30)
    return run


@row(
    "state-store-away",
    f"The state store is away for {OUTAGE} s when a dbt build starts",
    Promise(
        "The attempt fails as the platform's fault; the next one, after a pause, completes.",
        state="Completed",
        message="1 of 6 steps completed",
        children={"dbt-build/1": "Failed", "dbt-build/2": "Completed"},
        attempts=2,
        struck="dbt-build",
    ),
    lane=Lane.PARTS,
    builds=True,
    within=180,
)
def state_store_away(case: Case) -> UUID:
    """Nothing is behind its Service."""
    case.site.shop()
    case.restart()
    with case.fault(), outage.unreachable(case.site, "aws"):
        run = case.start("jaffle-shop", only=["dbt-build"])
        outage.lasts(OUTAGE)
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
    lane=Lane.PARTS,
    within=180,
)
def secrets_manager_away(case: Case) -> UUID:
    """Nothing is behind its Service until the first attempt has failed."""
    with case.fault(), outage.unreachable(case.site, "secrets-manager"):
        run = case.start("daily-pipeline", HUBSPOT, only=["hubspot"], overrides={"hubspot": {"job_variables": HUBSPOT}})
        case.until_state(case.child(run, "hubspot"), "Failed")
    return run


@row(
    "alerts-away",
    "Slack and PagerDuty are away when a pipeline fails",
    Promise(
        "It fails all the same, with its cause, and says in its log who was not told.",
        state="Failed",
        message="0 of 1 steps completed; failed: filler (error)",
        children={"filler/1": "Failed"},
    ),
    lane=Lane.PARTS,
    within=60,
)
def alerts_away(case: Case) -> UUID:
    """Nothing is behind their Service."""
    with case.fault(), outage.unreachable(case.site, "alerts"):
        run = case.start("faults-full-disk", overrides={"filler": {"parameters": {"megabytes": -1}}})
        case.settled(run)
    return run


@row(
    "fired-twice",
    "A schedule fires twice for the same time",
    Promise("Both are the same run; it works once.", state="Completed", attempts=1, starts=1),
    lane=Lane.PODS,
)
def fired_twice(case: Case) -> UUID:
    """Two schedulers make the run of one moment, with the key that Prefect's scheduler gives it."""
    deployment = case.prefect.client.read_deployment_by_name("faults-sleeper/faults-sleeper")
    with case.fault():
        runs = [
            case.prefect.client.create_flow_run_from_deployment(
                deployment.id, parameters={"seconds": 1}, idempotency_key=f"scheduled {deployment.id} {case.began}"
            ).id
            for _ in range(2)
        ]
    case.roots += runs
    case.expect("runs", len(set(runs)), 1)
    return runs[0]


@row(
    "kubelet-stopped",
    f"The kubelet stops for {OUTAGE} s while children work",
    THROUGH,
    lane=Lane.NODE,
    within=180,
)
def kubelet_stopped(case: Case) -> UUID:
    """SIGSTOP and SIGCONT on the node."""
    run = working_pair(case, 20)
    with case.fault(), node.kubelet_stopped():
        outage.lasts(OUTAGE)
    return run
