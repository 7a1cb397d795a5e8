"""A part of the system itself is away: runs wait, retry, or end with a cause; none is lost."""

from __future__ import annotations

import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from uuid import UUID

from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterExpectedStartTime,
)
from prefect.client.schemas.schedules import IntervalSchedule

from tests.faults import node, outage
from tests.faults.case import Case
from tests.faults.matrix import Lane, Promise, row
from tests.faults.rows.children import working_one
from tests.faults.rows.parents import DONE, PAIR, working_pair
from tests.faults.rows.sweeping import lose_job
from tests.faults.rows.transform import building, held

OUTAGE = 60
# The worker's, in seconds.
AWAY = 600
# How long a pipeline may go on after its last child: alerts are given up by then (FLOWS_ALERTS_SECONDS).
TOLD = 20
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
    "The worker is away for 10 minutes; meanwhile two children's containers are killed, and the Job of one goes",
    Promise(
        "When it is back both attempts end Crashed, the one without a Job by the sweep; second attempts complete, and "
        "so does what was started meanwhile.",
        state="Completed",
        message=DONE,
        children={
            "left/1": "Crashed",
            "left/2": "Completed",
            "right/1": "Crashed",
            "right/2": "Completed",
            "last/1": "Completed",
        },
        attempts=2,
        struck="right",
        starts=6,
    ),
    lane=Lane.LONG,
    within=180,
)
def worker_away(case: Case) -> UUID:
    """Scaled to none; the containers are killed from the node, and one Job is deleted as its time to live would."""
    run = working_pair(case, 20)
    left, right = case.child(run, "left"), case.child(run, "right")
    pods = [case.until_pod(child) for child in (left, right)]
    with outage.away(case.site, "worker"), case.fault():
        for pod in pods:
            node.kill_container(pod)
        lose_job(case, right)
        later = case.start("faults-sleeper", seconds=1)
        outage.lasts(AWAY)
        for child in (left, right):
            case.expect("a child, before the worker is back", case.read(child).state_name, "Running")
    case.until_state(later, "Completed", within=120)
    case.sweep()
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
    "kubernetes-api-unreachable",
    f"The worker cannot reach the API of Kubernetes for {OUTAGE} s; a step is started meanwhile",
    THROUGH,
    lane=Lane.PARTS,
    within=240,
)
def kubernetes_api_unreachable(case: Case) -> UUID:
    """Its packets get lost; the Prefect API it reaches."""
    run = working_pair(case, 15)
    with case.fault(), outage.kubernetes_unreachable(case.site):
        outage.lasts(OUTAGE)
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
    within=240,
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
    """What becomes of a pipeline that fails while nobody can be told."""
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
    not_told("says in its log who was not told"),
    lane=Lane.PARTS,
    within=60,
)
def alerts_away(case: Case) -> UUID:
    """Nothing is behind their Service."""
    with outage.unreachable(case.site, "alerts"):
        return _failed(case, "Slack was not told", "PagerDuty was not told")


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


@row(
    "fired-twice",
    "A schedule fires twice for the same time",
    Promise("Both are the same run; it works once.", state="Completed", attempts=1, starts=1),
    lane=Lane.PODS,
)
def fired_twice(case: Case) -> UUID:
    """Two more schedulers, beside the server's own, make the runs of the same hour of a real schedule."""
    client = case.prefect.client
    deployment = client.read_deployment_by_name("faults-sleeper/faults-sleeper").id
    due = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=5)
    schedule = IntervalSchedule(interval=timedelta(hours=1), anchor_date=due)
    wanted = DeploymentScheduleCreate(schedule=schedule, active=True, parameters={"seconds": 1})
    path = {"id": str(deployment)}
    made = client.request(
        "POST", "/deployments/{id}/schedules", path_params=path, json=[wanted.model_dump(mode="json")]
    ).json()
    hour = {"start_time": due.isoformat(), "end_time": (due + timedelta(minutes=1)).isoformat(), "min_runs": 1}
    with case.fault():
        for _ in range(2):
            client.request("POST", "/deployments/{id}/schedule", path_params=path, json=hour).raise_for_status()
    runs = [run.id for run in client.read_flow_runs(flow_run_filter=_due_at(deployment, due))]
    case.roots += runs
    case.until_state(runs[0], "Completed")
    runs = [run.id for run in client.read_flow_runs(flow_run_filter=_due_at(deployment, due))]
    case.expect("runs of this time", len(runs), 1)
    gone = path | {"schedule_id": made[0]["id"]}
    client.request("DELETE", "/deployments/{id}/schedules/{schedule_id}", path_params=gone).raise_for_status()
    return runs[0]


def _due_at(deployment: UUID, due: datetime) -> FlowRunFilter:
    return FlowRunFilter(
        deployment_id=FlowRunFilterDeploymentId(any_=[deployment]),
        expected_start_time=FlowRunFilterExpectedStartTime(after_=due, before_=due),
    )


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
    with case.fault(), node.stopped("kubelet"):
        outage.lasts(OUTAGE)
    return run


@row(
    "kubernetes-api-stopped",
    f"The API of Kubernetes hangs for {OUTAGE} s while children work, and a step is started meanwhile",
    THROUGH,
    lane=Lane.NODE,
    within=240,
)
def kubernetes_api_stopped(case: Case) -> UUID:
    """SIGSTOP and SIGCONT of kube-apiserver on the node."""
    run = working_pair(case, 20)
    with case.fault(), node.stopped("kube-apiserver"):
        outage.lasts(OUTAGE)
    return run
