"""The dbt Cloud child against a stand-in of its API: starts, follows, reports, and never starts a job twice."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest

from flow_of_flows.child_report import Problem
from flow_of_flows.cli.doctor import findings
from flow_of_flows.errors import Cause, ConfigurationError, DataError
from flow_of_flows.settings import Settings
from tests.fixtures import dbt_cloud_runs as cloud
from tests.fixtures.dbt_cloud import Fault, StandIn
from tests.fixtures.dbt_cloud_child import PAGE, build
from tests.fixtures.dbt_cloud_runs import FAILING, Frame, Script


def test_a_run_is_started_followed_and_reported(dbt_cloud_api: StandIn, caplog: pytest.LogCaptureFixture) -> None:
    """The nodes and links in the report; each line of the steps' logs once, whole, without colours."""
    with caplog.at_level(logging.INFO, logger="flow_of_flows"):
        report = build()
    assert report.summary == "2 dbt nodes: 1 pass, 1 success (run 1000 in dbt Cloud)"
    assert report.warnings == ()
    assert report.facts == {
        "nodes": 2,
        "seconds": 42.0,
        "dbt": "1.11.2",
        "models": 1,
        "tests": 1,
        "rows": 100,
        "nodes pass": 1,
        "nodes success": 1,
        "dbt Cloud run": 1000,
        "page": PAGE,
        "manifest": f"{dbt_cloud_api.url}/api/v2/accounts/12/runs/1000/artifacts/manifest.json",
    }
    assert caplog.messages == [
        f"Started run 1000 of job 345 (nightly) in dbt Cloud: {PAGE}",
        "1 Clone git repository: Cloned.",
        "2 Invoke dbt with `dbt build`: Running with dbt=1.11",
        "2 Invoke dbt with `dbt build`: 1 of 2 START sql table model analytics.customers",
        "2 Invoke dbt with `dbt build`: 1 of 2 OK created sql table model analytics.customers",
        "2 Invoke dbt with `dbt build`: Done.",
    ]
    assert dbt_cloud_api.posts() == ["/jobs/345/run/"]
    (run,) = dbt_cloud_api.runs.values()
    assert run.cause.startswith("flow-of-flows by hand ")
    assert run.cause.endswith(" attempt 1")
    assert run.asked == {}


def test_a_full_refresh_takes_the_jobs_own_steps(dbt_cloud_api: StandIn) -> None:
    """Branch and schema go along; commands that do not know the option stay as they are."""
    dbt_cloud_api.steps = ["dbt seed", "dbt build --select tag:daily", "dbt test", "dbt run --full-refresh"]
    build(full_refresh=True, git_branch=" next ", schema_override="review")
    (run,) = dbt_cloud_api.runs.values()
    assert run.asked == {
        "steps_override": [
            "dbt seed --full-refresh",
            "dbt build --select tag:daily --full-refresh",
            "dbt test",
            "dbt run --full-refresh",
        ],
        "git_branch": "next",
        "schema_override": "review",
    }


def test_a_job_that_cannot_be_refreshed_is_not_started(dbt_cloud_api: StandIn) -> None:
    """Rather than running it as if it had been."""
    dbt_cloud_api.steps = ["dbt test"]
    with pytest.raises(ConfigurationError) as caught:
        build(full_refresh=True)
    assert str(caught.value) == (
        "The job has no command that takes --full-refresh: dbt test. Where: execute_steps of the job in dbt Cloud. "
        "Next: give the job one of dbt build, dbt run, dbt seed, or run it without full_refresh."
    )
    assert dbt_cloud_api.runs == {}


def test_failed_nodes_are_named_as_dbt_build_names_them(dbt_cloud_api: StandIn) -> None:
    """With the run's page, what was skipped because of them, and how to go on."""
    dbt_cloud_api.scripts = [FAILING]
    with pytest.raises(DataError) as caught:
        build()
    error = caught.value
    assert error.fact == (
        "1 of 3 dbt nodes failed: model orders: Database Error in model orders no column total. 1 skipped because of "
        f"them. Where: {PAGE}."
    )
    assert error.hint is not None
    assert error.hint.startswith("correct them, then retry this run, or run dbt-cloud with retry_of=")
    assert (error.cause, error.skipped, error.warnings) == (Cause.DBT_NODES_FAILED, ("model.shop.payments",), ())
    assert error.problems == (
        Problem(name="model.shop.orders", status="error", message="Database Error in model orders no column total"),
    )


def test_nodes_of_every_step_are_reported_once(dbt_cloud_api: StandIn) -> None:
    """A job of several commands leaves a file for each; what `dbt docs generate` leaves is not of nodes."""
    steps = ("dbt seed", "dbt run", "dbt docs generate")
    dbt_cloud_api.scripts = [
        Script(
            (Frame(cloud.SUCCESS, tuple((f"Invoke dbt with `{step}`", cloud.SUCCESS, "") for step in steps)),),
            {
                (1, "run_results.json"): cloud.run_results(cloud.result("seed.shop.rates")),
                (2, "run_results.json"): cloud.run_results(cloud.CUSTOMERS, cloud.result("seed.shop.rates")),
                (3, "run_results.json"): b"not to be read",
            },
        )
    ]
    report = build()
    assert report.summary == "2 dbt nodes: 2 success (run 1000 in dbt Cloud)"
    assert report.warnings == ()


def sources(*verdicts: str) -> bytes:
    """A sources.json of one source per verdict."""
    results = [
        {"unique_id": f"source.shop.raw.{name}", "status": name, "max_loaded_at": "2026-01-02T03:04:05Z"}
        for name in verdicts
    ]
    return json.dumps({"results": results}).encode()


FRESHNESS = "Invoke dbt with `dbt source freshness`"


def test_sources_that_are_not_fresh_are_said_and_counted(dbt_cloud_api: StandIn) -> None:
    """As dbt-build does; a job's option for it does not fail the run."""
    steps = ((FRESHNESS, cloud.SUCCESS, ""), (cloud.BUILD, cloud.SUCCESS, ""))
    results = cloud.run_results(cloud.CUSTOMERS)
    dbt_cloud_api.scripts = [
        Script(
            (Frame(cloud.SUCCESS, steps),),
            {(1, "sources.json"): sources("pass", "warn"), (2, "run_results.json"): results},
        )
    ]
    report = build()
    assert report.warnings == ("source.shop.raw.warn is not fresh (warn: last loaded 2026-01-02T03:04:05Z)",)
    assert (report.facts["sources"], report.facts["sources fresh"], report.facts["nodes"]) == (2, 1, 1)


def test_a_job_that_stops_at_stale_sources_names_them(dbt_cloud_api: StandIn) -> None:
    """The analyst's matter, not that of whoever made the job."""
    frame = Frame(cloud.ERROR, ((FRESHNESS, cloud.ERROR, "1 of 2 ERROR STALE\n"), (cloud.BUILD, cloud.CANCELLED, "")))
    dbt_cloud_api.scripts = [Script((frame,), {(1, "sources.json"): sources("pass", "error")})]
    with pytest.raises(DataError) as caught:
        build()
    assert str(caught.value) == (
        "1 sources are not fresh: source.shop.raw.error (error: last loaded 2026-01-02T03:04:05Z). "
        f"Where: {PAGE}. Next: load them, or have the job build before it checks freshness."
    )


def test_a_trigger_whose_answer_was_lost_starts_the_job_once(
    dbt_cloud_api: StandIn, caplog: pytest.LogCaptureFixture
) -> None:
    """The run is found by its cause."""
    dbt_cloud_api.faults = [Fault("POST /jobs", lose=True)]
    assert build().summary == "2 dbt nodes: 1 pass, 1 success (run 1000 in dbt Cloud)"
    assert len(dbt_cloud_api.runs) == 1
    assert "The answer was lost, but run 1000 in dbt Cloud has begun" in caplog.messages


@pytest.mark.parametrize(
    "fault",
    [
        Fault("POST /jobs", status=503),
        Fault("POST /jobs", status=429, headers={"retry-after": "1"}),
        Fault("POST /jobs", status=502, body=b"<html>"),
    ],
    ids=["unavailable", "throttled", "gateway"],
)
def test_a_trigger_that_started_nothing_is_made_again(dbt_cloud_api: StandIn, fault: Fault) -> None:
    """Once dbt Cloud has no run of our cause, or says that it has not begun."""
    dbt_cloud_api.faults = [fault]
    build()
    assert (dbt_cloud_api.posts(), len(dbt_cloud_api.runs)) == (["/jobs/345/run/"] * 2, 1)


def doctor() -> str:
    """What the doctor finds of dbt Cloud."""
    (found,) = (one for one in asyncio.run(findings(Settings.load())) if one.subject == "dbt Cloud")
    return str(found.error or found.found)


def test_the_doctor_reads_the_job_and_its_runs_and_starts_nothing(dbt_cloud_api: StandIn) -> None:
    """Token, account and job, in one line."""
    assert doctor() == f"job 345 (nightly) of account 12 at {dbt_cloud_api.url}: dbt build"
    assert dbt_cloud_api.requests == ["GET /jobs/345/", "GET /runs/"]


def test_the_doctor_says_what_is_wrong_without_waiting(dbt_cloud_api: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """The child would be patient; a person is not."""
    dbt_cloud_api.faults = [Fault("GET /jobs", times=99, status=503)]
    assert doctor().startswith("dbt Cloud fails with HTTP 503. ")
    assert dbt_cloud_api.requests == ["GET /jobs/345/"]
    monkeypatch.setenv("DBT_CLOUD_API_CREDENTIALS", dbt_cloud_api.secret(api_token="dbtc_wrong"))
    dbt_cloud_api.faults = []
    assert doctor().startswith("dbt Cloud does not accept the token: The request was unauthenticated. ")


def test_the_doctor_misses_the_secret_only_where_it_is_needed(
    secrets_manager: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipeline transforms in dbt Cloud, and there is no secret."""
    assert doctor() == "not used: no pipeline transforms in dbt Cloud (FLOWS_TRANSFORM_*)"
    assert secrets_manager.list_secrets()["SecretList"] == []
    monkeypatch.setenv("FLOWS_TRANSFORM_DAILY_PIPELINE", "cloud")
    assert doctor().startswith("There is no secret dbt-cloud/api-credentials. Where: looked for ")
