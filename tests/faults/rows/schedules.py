"""A schedule fires more often than it should."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterExpectedStartTime,
)
from prefect.client.schemas.schedules import IntervalSchedule

from tests.faults.case import Case
from tests.faults.matrix import Lane, Promise, row


@row(
    "fired-twice",
    "A schedule fires twice for the same time",
    Promise("Both are the same run; it works once.", state="Completed", attempts=1, starts=1),
    lane=Lane.PODS,
)
def fired_twice(case: Case) -> UUID:
    """Two more schedulers, in addition to the server's own, make the runs of the same hour of a real schedule."""
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
