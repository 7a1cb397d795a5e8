"""Time limits and counts of recovery: how long each part waits, and how often it starts something again.

docs/reliability.md has a table of them, made from the annotations here. What an installation may change is a setting.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

API_OUTAGE_SECONDS: Annotated[float, "How long a pipeline waits for a Prefect API that does not answer"] = 600.0
EVENT_OUTAGE_SECONDS: Annotated[float, "How long the pod observer tries to report why a pod ended"] = 120.0

# The pod's diagnosis is there 2 to 4 s after the state Crashed (measured): a container ends after its engine.
EVIDENCE_WAIT: Annotated[timedelta, "How long a pipeline waits for a diagnosis after an unexplained crash"] = timedelta(
    seconds=6
)
# The automation that restarts pipelines needs up to 4 s (measured).
AUTOMATION_WAIT: Annotated[
    timedelta, "How long a pipeline waits for the automation to restart a crashed pipeline below it"
] = timedelta(seconds=8)
MAX_RESTARTS: Annotated[int, "How often a crashed pipeline run is restarted under its own id"] = 3
CANCEL_GRACE: Annotated[
    timedelta, "How long a child may take to stop after it passed its timeout and was cancelled"
] = timedelta(minutes=2)
# The parent reads in intervals, and starting takes its time.
NEXT_ATTEMPT_NOTICE: Annotated[
    timedelta, "How long after it is due `flows run` and `flows report` still expect the next attempt"
] = timedelta(seconds=30)
OVERLAP_RESTART: Annotated[
    timedelta, "How long a crashed pipeline run keeps its place among the runs of its deployment"
] = timedelta(seconds=30)
UNRESTARTED_ALERT: Annotated[timedelta, "How long a crashed pipeline run may stay down before an alert is sent"] = (
    timedelta(minutes=10)
)

MAX_POD_CRASHES: Annotated[
    int, "How often a run may crash before a pod fails it; a person's retry resets the count"
] = 3
MAX_POD_STARTS: Annotated[
    int, "How often a run is started without an end before a pod fails it; a person's retry resets it"
] = 10
DEADLINE_MARGIN_SECONDS: Annotated[
    float, "How long before its Job's deadline a pod ends its run (at most a quarter of the deadline)"
] = 45.0
SUPERSEDED_GRACE_SECONDS: Annotated[
    float, "How long a process has to cancel its queries when another pod has taken its run"
] = 5.0
TIMEOUT_GRACE_SECONDS: Annotated[float, "How long a process has to stop at its deadline before it is killed"] = 15.0
CHILD_CANCEL_SECONDS: Annotated[
    float, "How long a pod tries to cancel its run's children itself; the run's cancellation hook tries again"
] = 10.0
LAST_REQUEST_SECONDS: Annotated[float, "How long a pod tries to write its last log line and to release its run"] = 10.0

MAX_SUBMISSIONS: Annotated[int, "How often a run without a Job is submitted before it is Crashed"] = 3
MAX_SWEEP_STARTS: Annotated[int, "Below so many starts the sweeper starts a pipeline without a pod again"] = 3
MAX_EARLY_CRASHES: Annotated[int, "Below so many crashes the sweeper starts a pipeline that never began again"] = 3
EARLY_CRASH_SECONDS: Annotated[float, "How long ago it may have crashed for that"] = 3600.0
PARENT_MARGIN_SECONDS: Annotated[
    float, "How much later than its pipeline the sweeper ends a child that cannot start"
] = 60.0
CRASHES_READ: Annotated[timedelta, "How far back the sweeper reads crashed runs"] = timedelta(hours=2)
