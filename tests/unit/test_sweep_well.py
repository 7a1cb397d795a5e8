"""What a sweep leaves alone, although it is close to a finding; how submissions and places are read."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import StateType

from flow_of_flows.settings import Settings
from flow_of_flows.sweeper.rules import findings, submissions
from flow_of_flows.sweeper.snapshot import Facts, Limit, Place, place
from tests.fixtures.sweeps import (
    CANCELLING,
    COMPLETED,
    CRASHED,
    PARENT,
    PENDING,
    RUNNING,
    SCHEDULED,
    a_job,
    a_pod,
    a_run,
    ago,
    facts,
    history,
)

SETTINGS = Settings()


def well() -> dict[str, Facts]:
    """What is close to a finding, and is none."""
    pending, waiting, running = a_run(PENDING, 119), a_run(PENDING, 899), a_run(RUNNING, 600)
    long = a_run(PENDING, 930, parent=PARENT)
    live = a_run(RUNNING, 2000, id=PARENT, is_pipeline=True, run_count=1)
    crashed = a_run(CRASHED, 899, id=PARENT, run_count=4)
    over = a_run(StateType.FAILED, 60, id=PARENT)
    child, again = a_run(RUNNING, 60, parent=PARENT), a_run(RUNNING, 20, parent=PARENT)
    revived = history(StateType.FAILED, SCHEDULED, PENDING, RUNNING, last=20)
    done = a_run(COMPLETED, 119)
    refused = a_run(CRASHED, 30, is_pipeline=True, message="Failed to submit flow run to infrastructure: 403")
    judged = a_run(CRASHED, 30, is_pipeline=True, message="image: Pending for 16 min")
    given_up = a_run(CRASHED, 30, is_pipeline=True, message="never-started: submitted 3 times")
    often = a_run(CRASHED, 30, is_pipeline=True)
    theirs = a_run(PENDING, 9000, is_foreign=True)
    return {
        "no cluster": facts(a_run(PENDING, 9000), a_run(RUNNING, 9000), cluster=None),
        "pending briefly": facts(pending),
        "its image is pulled": facts(waiting, jobs=(a_job(waiting.id),), pods=(a_pod(waiting.id, is_started=False),)),
        "its parent is about to act": facts(
            long, live, jobs=(a_job(long.id),), pods=(a_pod(long.id, is_started=False), a_pod(PARENT))
        ),
        "it works": facts(running, jobs=(a_job(running.id),), pods=(a_pod(running.id),)),
        "its Job is about to make a pod": facts(running, jobs=(a_job(running.id),)),
        "its parent may come back": facts(child, crashed, pods=(a_pod(child.id),)),
        "somebody retried it alone": facts(again, over, pods=(a_pod(again.id),), histories={again.id: revived}),
        "its pod is about to end": facts(done, jobs=(a_job(done.id),)),
        "its Job is over": facts(a_run(COMPLETED, 9000), jobs=(a_job(done.id, is_active=False),)),
        "cancelling briefly": facts(a_run(CANCELLING, 59)),
        "never submitted": facts(refused),
        "ended with a cause": facts(judged),
        "given up": facts(given_up),
        "crashed often": facts(often, histories={often.id: history(CRASHED, SCHEDULED, CRASHED, SCHEDULED, CRASHED)}),
        "crashed long ago": facts(a_run(CRASHED, 3601, is_pipeline=True)),
        "a slot in use": facts(
            limits=(Limit(uuid4(), "warehouse", 2, 1), Limit(uuid4(), "deployment:d", 1, 1, uuid4()))
        ),
        "the sweep itself": facts(running, own=running.id),
        "a pipeline of another pool": facts(
            a_run(RUNNING, 9000, is_pipeline=True, run_count=1, is_foreign=True), a_run(PENDING, 9000, is_foreign=True)
        ),
        "another pool's run has a Job here": facts(
            theirs, jobs=(a_job(theirs.id),), pods=(a_pod(theirs.id, is_started=False),)
        ),
        "another pool's Job goes on": facts(
            a_run(COMPLETED, 9000, id=theirs.id, is_foreign=True), jobs=(a_job(theirs.id, release="b"),), release="a"
        ),
        "another pool's run is cancelled": facts(a_run(CANCELLING, 9000, is_foreign=True)),
        "another pool's run is late": facts(a_run(SCHEDULED, 9000, due=ago(9000), is_foreign=True)),
        "another pool's run is elsewhere": facts(a_run(RUNNING, 9000, place=Place("other"), is_foreign=True)),
        "a flow waits for its own next try": facts(a_run(SCHEDULED, 9000, state_name="AwaitingRetry", due=ago(-60))),
        "a Job of the future": facts(jobs=(a_job(done.id, created=ago(10)),), unknown=frozenset({done.id})),
    }


WELL = well()


@pytest.mark.parametrize("name", WELL)
def test_what_is_well_is_left_alone(name: str) -> None:
    """Nothing is found."""
    assert findings(WELL[name], SETTINGS) == ()


def test_submissions_are_counted_by_what_came_before_pending() -> None:
    """InfrastructurePending is Pending, too, and Late is Scheduled."""
    assert submissions(history(SCHEDULED, SCHEDULED, PENDING, PENDING, RUNNING, SCHEDULED, PENDING)) == 2


@pytest.mark.parametrize(
    ("layers", "expected", "elsewhere"),
    [
        ((), Place(), None),
        (({"namespace": "data"}, None, {}), Place("data"), None),
        (({"namespace": "data"}, {"namespace": "other"}, {}), Place("other"), "namespace other"),
        (({"namespace": "other"}, {"namespace": "other"}, {"namespace": "data"}), Place("data"), None),
        (({"cluster_config": None}, {"namespace": None}, None), Place(), None),
        (
            ({"namespace": "data"}, {"cluster_config": {"config": {}, "context_name": "x"}}, None),
            Place("data", is_other_cluster=True),
            "another cluster (`cluster_config`)",
        ),
    ],
    ids=["unsaid", "the pool's", "the deployment's", "the run's own", "nulls", "cluster"],
)
def test_where_a_job_is_made_is_what_the_innermost_job_variable_says(
    layers: tuple[Mapping[str, object] | None, ...], expected: Place, elsewhere: str | None
) -> None:
    """Of pool, deployment and run; seen from the namespace `data`."""
    assert place(*layers) == expected
    assert expected.elsewhere("data") == elsewhere
