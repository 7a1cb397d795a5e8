"""Two dbt builds meet in one schema: the second waits, visibly, whatever happens to builds and lock store."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flow_of_flows.child_report import WAITING_FOR_SCHEMA
from tests.e2e.kube import RUN
from tests.faults import node, outage
from tests.faults.case import OVER, Case
from tests.faults.matrix import Lane, Promise, row
from tests.faults.rows.cancelling import SECONDS
from tests.faults.rows.parts import OUTAGE
from tests.faults.rows.transform import DONE, building, held
from tests.faults.rows.twice import copied

# Within which a builder that died frees its place.
MINUTE = 60
BUILT = {"dbt-build/1": "Completed"}
# The child as a person runs it, without a Prefect API.
BY_HAND = """
import logging
logging.basicConfig(level=logging.INFO)
from flow_of_flows.dbt.children import dbt_build
dbt_build.fn.__wrapped__(select="stg_customers")
"""


def behind(case: Case, first: UUID) -> UUID:
    """A pipeline whose dbt build waits for that of the first one, and says so."""
    run = case.start("jaffle-shop", only=["dbt-build"])
    read = case.until_state(case.child(run, "dbt-build"), WAITING_FOR_SCHEMA)
    ahead = case.read(case.child(first, "dbt-build")).name
    message = str(read.state.message if read.state else "")
    case.expect("for whom it waits", message.partition(" (")[0], f"Waiting for run {ahead}")
    return run


def both_complete(case: Case, *runs: UUID) -> None:
    """Wait for the pipelines; each built every model once, which is not twice of one."""
    for run in runs:
        case.until_state(run, "Completed")
    case.restart()


@row(
    "builder-killed-while-another-waits",
    "The container of dbt is SIGKILLed in the middle of a build while another build waits for its schema",
    Promise(f"The other one builds within {MINUTE} s; the first goes on after it.", "Completed", DONE, BUILT),
    lane=Lane.DBT,
    within=300,
)
def builder_killed_while_another_waits(case: Case) -> UUID:
    """From the node; the next attempt of the first waits for the other one."""
    case.site.shop()
    case.restart()
    with held(case):
        first = building(case)
        run = behind(case, first)
        child = case.child(run, "dbt-build")
        with case.fault():
            node.kill_container(case.until_pod(case.child(first, "dbt-build")))
        case.by(MINUTE, lambda: case.read(child).state_name == "Running", "the waiting build has the schema")
    both_complete(case, run, first)
    return run


@row(
    "waiting-build-cancelled",
    "A pipeline is cancelled while its dbt build waits for the schema of another",
    Promise(
        f"Cancelled within {SECONDS} s; the other build goes on and completes.",
        "Cancelled",
        children={"dbt-build/1": "Cancelled"},
    ),
    lane=Lane.DBT,
    within=SECONDS,
)
def waiting_build_cancelled(case: Case) -> UUID:
    """The first build waits for a table meanwhile."""
    case.site.shop()
    case.restart()
    with held(case):
        first = building(case)
        run = behind(case, first)
        with case.fault():
            case.prefect.cancel(run)
        case.by(SECONDS, lambda: case.read(run).state_name == "Cancelled", "the waiting pipeline is Cancelled")
    case.until_state(first, "Completed")
    return run


@row(
    "lock-store-away",
    f"The state store is away for {OUTAGE} s while one dbt build works and another waits for its schema",
    Promise("Neither fails, and one builds after the other.", "Completed", DONE, BUILT),
    lane=Lane.LONG,
    builds=True,
    within=300,
)
def lock_store_away(case: Case) -> UUID:
    """Nothing is behind its Service; the first build sends no statement while its lock is not confirmed."""
    case.site.shop()
    case.restart()
    with held(case):
        first = building(case)
        run = behind(case, first)
        with case.fault(), outage.unreachable(case.site, "aws"):
            outage.lasts(OUTAGE)
    both_complete(case, first, run)
    case.expect("attempts of the first", case.prefect.states(first), BUILT)
    return run


@row(
    "two-laptops-and-a-cluster",
    "Two people build by hand, without a Prefect API, into the schema that a pipeline builds into",
    Promise("Both wait for the pipeline's run, and all three complete.", "Completed", DONE, BUILT),
    lane=Lane.DBT,
    within=300,
)
def two_laptops_and_a_cluster(case: Case) -> UUID:
    """The laptops are pods with the same state store and warehouse, and nothing of Prefect."""
    case.site.shop()
    case.restart()
    with held(case):
        run = building(case)
        child = case.child(run, "dbt-build")
        (job,) = case.namespace.jobs(f"{RUN}={child}")
        names = [f"laptop-{number}-{child}"[:52] for number in (1, 2)]
        with case.fault():
            for name in names:
                case.namespace.apply(_by_hand(job, name))
        ahead = f"Waiting for run {case.read(child).name} ("
        for name in names:
            case.when(lambda name=name: ahead in _log(case, name), f"{name} waits")  # type: ignore[misc]
    for name in names:
        case.when(lambda name=name: _phase(case, name) in OVER, f"{name} is over")  # type: ignore[misc]
        case.expect(name, _phase(case, name), "Succeeded")
        case.namespace.kubectl("delete", "job", name, "--wait=false")
    both_complete(case, run)
    return run


def _by_hand(job: dict[str, Any], name: str) -> dict[str, Any]:
    """A Job like that of a child, which is not a run of Prefect."""
    made = copied(job, name)
    template = made["spec"]["template"]
    for labels in (made["metadata"]["labels"], template["metadata"]["labels"]):
        for label in [label for label in labels if label.startswith("prefect.io/")]:
            del labels[label]
    container = template["spec"]["containers"][0]
    container.pop("args", None)
    container["command"] = ["python", "-c", BY_HAND]
    container["env"] = [entry for entry in container["env"] if not entry["name"].startswith("PREFECT")]
    return made


def _pod(case: Case, job: str) -> dict[str, Any] | None:
    found = case.namespace.pods(f"job-name={job}")
    return found[0] if found else None


def _phase(case: Case, job: str) -> str:
    pod = _pod(case, job)
    return str(pod["status"]["phase"]) if pod else ""


def _log(case: Case, job: str) -> str:
    pod = _pod(case, job)
    return case.namespace.log(pod["metadata"]["name"]) if pod else ""
