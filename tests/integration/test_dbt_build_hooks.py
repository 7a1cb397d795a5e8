"""What dbt reports that is not a node of its own: hooks and batches. They count, are shown, and are run again."""

from __future__ import annotations

import json
import re

import pytest

from flow_of_flows.errors import DataError, FlowsError
from tests.fixtures import dbt_projects
from tests.fixtures.dbt_builds import build, built, execute, load_raw
from tests.fixtures.dbt_projects import MICROBATCH, Place

END = dbt_projects.PROJECT + 'on-run-end: ["insert into audit.runs values ({{ results | length }})"]\n'
START = dbt_projects.PROJECT + 'on-run-start: ["insert into audit.runs values (0)"]\n'
MODEL = {"models/first.sql": "select 1 as id"}
AUDIT = ("create schema audit", "create table audit.runs(i int)")


def _fail(**parameters: object) -> FlowsError:
    with pytest.raises(DataError) as raised:
        build(**parameters)
    return raised.value


def test_hook_that_failed_is_run_by_a_resume(place: Place) -> None:
    """A failed `on-run-end` fails the run and publishes nothing; the resume builds again, so that the hook runs."""
    place.use({**MODEL, "dbt_project.yml": END})
    error = _fail()
    assert [problem.name for problem in error.problems] == ["operation.tiny.tiny-on-run-end-0"]
    assert "tiny.on-run-end.0 failed, error:" in error.message
    assert not place.artifacts.exists()
    execute(place.warehouse, *AUDIT)

    run = place.saved_run
    report = build(retry_of=run)

    assert execute(place.warehouse, "select * from audit.runs") == [(1,)]
    assert report.warnings == (
        f"Full run instead of a retry: of run {run} only operation tiny-on-run-end-0 is left, and hooks run with nodes",
    )
    assert report.summary == "2 dbt nodes: 2 success"
    assert (place.artifacts / "manifest.json").exists()


def test_hook_runs_with_the_nodes_that_a_resume_retries(place: Place) -> None:
    """Where nodes are left, dbt runs the hooks with them: nothing is built twice."""
    place.use({**dbt_projects.NEEDS_RAW, "dbt_project.yml": END})
    execute(place.warehouse, *AUDIT)
    error = _fail(freshness="off")
    assert [problem.name for problem in error.problems] == ["model.tiny.second"]
    load_raw(place)

    report = build(retry_of=place.saved_run, freshness="off")

    assert execute(place.warehouse, "select * from audit.runs") == [(5,), (2,)]
    assert report.summary == "3 dbt nodes: 3 success; resumed after 3 nodes were done already"


def test_nodes_that_a_failed_hook_skips_name_it(place: Place) -> None:
    """With dbt's flag that skips nodes after a failed `on-run-start`, each says because of which hook."""
    flag = "flags: {skip_nodes_if_on_run_start_fails: true}\n"
    place.use({**MODEL, "dbt_project.yml": START + flag})
    error = _fail()
    assert [problem.name for problem in error.problems] == ["operation.tiny.tiny-on-run-start-0"]
    assert error.skipped == ("model.tiny.first",)
    execute(place.warehouse, *AUDIT)

    build(retry_of=place.saved_run)

    assert built(place) == {"first": [(1,)]}
    assert execute(place.warehouse, "select * from audit.runs") == [(0,)]


def test_hook_that_fails_in_a_freshness_check_is_a_warning(place: Place) -> None:
    """A hook also runs when dbt checks freshness, and dbt leaves its end out of sources.json."""
    place.use({**dbt_projects.NEEDS_RAW, "dbt_project.yml": START})
    load_raw(place)

    error = _fail()

    (warning,) = error.warnings
    assert warning.startswith("While the freshness of sources was checked: tiny.on-run-start.0 failed, error:")


def test_failed_batch_has_its_cause_everywhere(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """The error, the log and the kept results say which batch of a microbatch model failed, and why."""
    place.use(MICROBATCH)

    with caplog.at_level("ERROR", logger="flow_of_flows"):
        error = _fail()

    (problem,) = error.problems
    assert problem.status == "partial success"
    cause = r"batch \d{4}-\d\d-\d\d: .*Could not convert string 'x' to INT32.*"
    assert re.fullmatch(rf"PARTIAL SUCCESS \(3/4\); {cause}", problem.message)
    assert sum("Could not convert" in record.getMessage() for record in caplog.records) == 1
    kept = json.loads((place.home / "state" / "runs" / place.saved_run / "run_results.json").read_text())
    messages = {result["unique_id"]: result["message"] for result in kept["results"]}
    assert re.fullmatch(rf"PARTIAL SUCCESS \(3/4\); {cause}", messages["model.tiny.daily"])


def test_resume_runs_the_failed_batches_alone(place: Place) -> None:
    """The batches that succeeded stay as they are."""
    place.use(MICROBATCH)
    _fail()
    execute(place.warehouse, "update analytics.events set amount = '2' where amount = 'x'")

    report = build(retry_of=place.saved_run)

    assert report.summary == "1 dbt nodes: 1 success; resumed after 1 nodes were done already"
    assert execute(place.warehouse, "select amount from analytics.daily order by happened_at") == [(1,), (2,)]
