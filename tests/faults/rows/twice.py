"""Two pods for one run: one works, the other ends before its first side effect and says so."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification

from tests.e2e.kube import RUN
from tests.faults import node
from tests.faults.case import OVER, Case
from tests.faults.matrix import Promise, row
from tests.faults.rows.children import ONE, again, crashed, working_one

OWN = ("controller-uid", "batch.kubernetes.io/controller-uid", "job-name", "batch.kubernetes.io/job-name")
ONCE = Promise(
    "The copy ends before it does anything and says why; the first goes on and completes.",
    state="Completed",
    message=ONE,
    children={"only/1": "Completed"},
    struck="only",
    starts=1,
)


def copied(job: dict[str, Any], name: str) -> dict[str, Any]:
    """The same Job under another name."""
    spec = copy.deepcopy(job["spec"])
    del spec["selector"]
    for label in OWN:
        spec["template"]["metadata"]["labels"].pop(label, None)
    labels = {key: value for key, value in job["metadata"]["labels"].items() if key not in OWN}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "labels": labels, "annotations": job["metadata"].get("annotations", {})},
        "spec": spec,
    }


def second_job(case: Case, run: UUID) -> list[bool]:
    """Make a copy of a run's Job and wait for its end; which of the two pods, the first and the copy, does nothing."""
    (job,) = case.namespace.jobs(f"{RUN}={run}")
    name = f"copy-{run}"
    with case.fault():
        case.namespace.apply(copied(job, name))

    def over() -> object:
        return [pod for pod in case.namespace.pods(f"job-name={name}") if pod["status"]["phase"] in OVER]

    case.when(over, "the copy is over")
    case.notice()
    pods = [case.namespace.pods(f"job-name={each}")[0] for each in (job["metadata"]["name"], name)]
    said = ["does nothing" in case.namespace.log(pod["metadata"]["name"]) for pod in pods]
    # Its end must not count as the run's.
    case.namespace.kubectl("delete", "job", name, "--wait=false")
    return said


def _expect_copy_idle(case: Case, run: UUID) -> None:
    case.expect("the first and the copy say that they do nothing", second_job(case, run), [False, True])


@row(
    "second-job-at-once",
    "A second Job for the same run, at the same time",
    replace(ONCE, words="One of the two ends before it does anything and says why; the other goes on and completes."),
    fast=True,
)
def second_job_at_once(case: Case) -> UUID:
    """A copy as soon as the first Job is there: whichever Python is up first has the run."""
    run = case.sleeping("faults-one", 15, "only")
    child = case.child(run, "only")
    case.when(lambda: case.namespace.jobs(f"{RUN}={child}"), "the Job of the child is there")
    case.expect("pods that say that they do nothing", sum(second_job(case, child)), 1)
    return run


@row("second-job-later", "A second Job for the same run, while the first works", ONCE)
def second_job_later(case: Case) -> UUID:
    """A copy when the child has begun."""
    run = working_one(case, 20)
    _expect_copy_idle(case, case.child(run, "only"))
    return run


@row(
    "second-job-afterwards",
    "A second Job for a run that is over",
    Promise("The copy ends before it does anything; the run stays Completed.", state="Completed", starts=1),
)
def second_job_afterwards(case: Case) -> UUID:
    """A copy when the run has completed."""
    run = case.start("faults-sleeper", seconds=0.1)
    case.until_state(run, "Completed")
    _expect_copy_idle(case, run)
    return run


@row(
    "paused-pod-wakes",
    "A pod is paused, its run starts again elsewhere, the pod wakes up",
    again("The new pod does the work once; the one that wakes up ends without another side effect."),
    within=180,
)
def paused_pod_wakes(case: Case) -> UUID:
    """Frozen from the node; its run is given to a new pod as the sweeper or a person would; then it is thawed."""
    run = working_one(case, 15)
    child = case.child(run, "only")
    pod = case.until_pod(child)
    with case.fault():
        frozen = node.freeze(pod)
        try:
            _start_elsewhere(case, child)
            case.when(lambda: len(case.effects("only began")) == 2, "the second pod works")
        finally:
            node.thaw(frozen)
    return run


@row(
    "paused-pod-unresponsive",
    "A pod is paused where an automation crashes runs without heartbeats, as Prefect Cloud's detection of unresponsive "
    "runs does; the pod wakes up",
    crashed(
        "The run is Crashed and a second attempt completes; the pod that wakes up ends without another side effect."
    ),
    within=300,
)
def paused_pod_unresponsive(case: Case) -> UUID:
    """Frozen from the node until the second attempt works."""
    run = working_one(case, 45, env={"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"})
    child = case.child(run, "only")
    pod = case.until_pod(child)
    with _crashed_when_silent(case, child), case.fault():
        frozen = node.freeze(pod)
        try:
            case.when(lambda: case.read(child).state_name == "Crashed", "Prefect crashes the run")
            case.notice()
            case.when(lambda: len(case.effects("only began")) == 2, "the second attempt works")
        finally:
            node.thaw(frozen)
    return run


@contextmanager
def _crashed_when_silent(case: Case, run: UUID) -> Iterator[None]:
    """Keep the automation of Prefect's documentation on unresponsive runs for one run, once it has seen a heartbeat."""
    heartbeat = "prefect.flow-run.heartbeat"
    ends = (f"prefect.flow-run.{state}" for state in ("Completed", "Failed", "Cancelled", "Crashed"))
    trigger = EventTrigger(
        after={heartbeat},
        expect={heartbeat, *ends},
        match=ResourceSpecification({"prefect.resource.id": f"prefect.flow-run.{run}"}),
        for_each={"prefect.resource.id"},
        posture=Posture.Proactive,
        threshold=1,
        within=timedelta(seconds=40),
    )
    crash = ChangeFlowRunState(state=StateType.CRASHED, message="No heartbeat")
    core = AutomationCore(name=f"silent {run}", trigger=trigger, actions=[crash])
    client = case.prefect.client
    since = datetime.now(UTC).isoformat()
    created = client.request("POST", "/automations/", json=core.model_dump(mode="json")).json()["id"]
    of_run = {"event": {"name": [heartbeat]}, "any_resource": {"id": [f"prefect.flow-run.{run}"]}}
    wanted = {"filter": {**of_run, "occurred": {"since": since}}, "limit": 1}
    try:
        case.when(lambda: client.request("POST", "/events/filter", json=wanted).json()["events"], "it beats")
        yield
    finally:
        client.request("DELETE", "/automations/{id}", path_params={"id": created})


@row(
    "network-partition",
    "The network cuts a child's pod off from the API while its run starts again elsewhere",
    again("The run works once more in a new pod; the one that was cut off does not finish its work."),
    within=180,
)
def network_partition(case: Case) -> UUID:
    """A NetworkPolicy for this one pod, which lets it reach Postgres only."""
    run = working_one(case, 30)
    child = case.child(run, "only")
    pod = case.until_pod(child)
    name = pod["metadata"]["name"]
    cut = _cut_off(child)
    with case.fault():
        # The chart's policy of job pods allows more, and policies add up: it must not select this pod.
        case.namespace.kubectl("label", "pod", name, "app.kubernetes.io/component=cut", "--overwrite")
        case.namespace.apply(cut)
        _start_elsewhere(case, child)
    case.settled(run)
    case.namespace.kubectl("delete", "networkpolicy", cut["metadata"]["name"])
    return run


def _start_elsewhere(case: Case, run: UUID) -> None:
    """Give a run to a new pod, as the sweeper or a person would."""
    state = {"state": {"type": "SCHEDULED", "name": "AwaitingRetry"}, "force": True}
    case.prefect.client.request(
        "POST", "/flow_runs/{id}/set_state", path_params={"id": run}, json=state
    ).raise_for_status()


def _cut_off(run: UUID) -> dict[str, Any]:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": f"cut-{run}"},
        "spec": {
            "podSelector": {"matchLabels": {RUN: str(run), "app.kubernetes.io/component": "cut"}},
            "policyTypes": ["Egress"],
            "egress": [{"to": [{"podSelector": {"matchLabels": {"app": "postgres"}}}]}],
        },
    }
