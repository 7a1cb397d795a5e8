"""What the dbt Cloud child says and does when dbt Cloud does not do its part, or its job does not."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from typing import Any

import pytest

from flow_of_flows.errors import Cause, ConfigurationError, FlowsError, PlatformError
from tests.fixtures import dbt_cloud_runs as cloud
from tests.fixtures.answers import answering
from tests.fixtures.dbt_cloud import TOKEN, Fault, StandIn
from tests.fixtures.dbt_cloud_child import PAGE, build
from tests.fixtures.dbt_cloud_runs import Frame, Script
from tests.fixtures.http_server import Response

LATER = "run again later; it goes on with its run in dbt Cloud."
NETWORK = f"check the network and https://status.getdbt.com, then {LATER}"
SECRET = "dbt-cloud/api-credentials"


def failure(**parameters: Any) -> FlowsError:
    """The error of a build."""
    with pytest.raises(FlowsError) as caught:
        build(**parameters)
    return caught.value


@dataclass(frozen=True)
class Refusal:
    """One way not to be served.

    Attributes:
        asked: requests that were made, first to last; where there is patience, the one that was made again is last.
        again: whether that is made again.
    """

    fault: Fault
    family: type[FlowsError]
    what: str
    about: str
    todo: str
    asked: tuple[str, ...]
    again: bool = True
    secret: dict[str, Any] = field(default_factory=dict)


JOB, RUN, RUNS, TRIGGER = "GET /jobs/345/", "GET /runs/1000/", "GET /runs/", "POST /jobs/345/run/"
REFUSALS = {
    "unreachable while it waits": Refusal(
        Fault("GET /runs/1000/", times=99, lose=True),
        PlatformError,
        "dbt Cloud does not answer: RemoteProtocolError: Server disconnected without sending a response",
        "run 1000",
        NETWORK,
        (RUNS, JOB, TRIGGER, RUN, RUN),
    ),
    "slow": Refusal(
        Fault("GET /jobs", times=99, delay=0.8),
        PlatformError,
        "dbt Cloud does not answer: ReadTimeout: timed out",
        "job 345",
        NETWORK,
        (RUNS, JOB, JOB),
    ),
    "wrong token": Refusal(
        Fault("never"),
        ConfigurationError,
        "dbt Cloud does not accept the token: The request was unauthenticated",
        "runs of job 345",
        f"put a valid service token into the secret {SECRET}.",
        (RUNS,),
        again=False,
        secret={"api_token": "dbtc_wrong"},
    ),
    "token without permission": Refusal(
        Fault("POST /jobs", status=403, body=b'{"status": {"user_message": "Permission denied"}}'),
        ConfigurationError,
        "The token may not do this: Permission denied",
        "job 345",
        "give the service token a permission set that may read and run the job (Job Admin).",
        (RUNS, JOB, TRIGGER),
        again=False,
    ),
    "wrong job": Refusal(
        Fault("never"),
        ConfigurationError,
        "dbt Cloud does not know job 346: The requested resource wasn't found",
        "job 346",
        f"correct account_id, job_id and host in the secret {SECRET}, and what the token may see.",
        (RUNS, "GET /jobs/346/"),
        again=False,
        secret={"job_id": 346},
    ),
    "throttled": Refusal(
        Fault("GET /jobs", times=99, status=429, headers={"retry-after": "1"}),
        PlatformError,
        "dbt Cloud gets too many requests",
        "job 345",
        LATER,
        (RUNS, JOB, JOB),
    ),
    "throttled for longer than its patience": Refusal(
        Fault("GET /jobs", times=99, status=429, headers={"retry-after": "60"}),
        PlatformError,
        "dbt Cloud gets too many requests",
        "job 345",
        LATER,
        (RUNS, JOB),
        again=False,
    ),
    "down": Refusal(
        Fault("GET /jobs", times=99, status=503, body=b"<html>down</html>"),
        PlatformError,
        "dbt Cloud fails with HTTP 503",
        "job 345",
        f"check https://status.getdbt.com, then {LATER}",
        (RUNS, JOB, JOB),
    ),
    "a page instead of the API": Refusal(
        Fault("GET /jobs", times=99, status=200, body=b"<html>Sign in</html>"),
        PlatformError,
        "dbt Cloud's answer is not what its API says: it is not a JSON object with data",
        "job 345",
        f"check the host in the secret {SECRET}; a proxy may answer in its place; else {LATER}",
        (RUNS, JOB, JOB),
    ),
    "an answer without a field": Refusal(
        Fault("GET /jobs", times=99, status=200, body=b'{"status": {}, "data": {"id": 345, "name": "nightly"}}'),
        PlatformError,
        "dbt Cloud's answer is not what its API says: data.execute_steps: Field required",
        "job 345",
        f"check the host in the secret {SECRET}; a proxy may answer in its place; else {LATER}",
        (RUNS, JOB, JOB),
    ),
    "a status that is none": Refusal(
        Fault("GET /runs/1000", times=99, status=200, body=b'{"data":{"id":1000,"job_definition_id":1,"status":15}}'),
        PlatformError,
        "dbt Cloud's answer is not what its API says: data.status: Input should be 1, 2, 3, 10, 20 or 30",
        "run 1000",
        f"check the host in the secret {SECRET}; a proxy may answer in its place; else {LATER}",
        (RUNS, JOB, TRIGGER, RUN, RUN),
    ),
    "half an answer": Refusal(
        Fault("GET /jobs", times=99, half=20),
        PlatformError,
        "dbt Cloud does not answer: RemoteProtocolError: peer closed connection without sending complete message body "
        "(received 20 bytes, expected 135)",
        "job 345",
        NETWORK,
        (RUNS, JOB, JOB),
    ),
    "refused parameters": Refusal(
        Fault("POST /jobs", status=400, body=b'{"status": {"user_message": "Unknown branch"}}'),
        ConfigurationError,
        "dbt Cloud refuses with HTTP 400: Unknown branch",
        "job 345",
        "correct what the message names.",
        (RUNS, JOB, TRIGGER),
        again=False,
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_dbt_cloud_refuses_is_said_in_one_sentence(
    name: str, dbt_cloud_api: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The family, what, where and what to do; made again only where that can help; never a word of the token."""
    refusal = REFUSALS[name]
    monkeypatch.setenv("DBT_CLOUD_API_CREDENTIALS", dbt_cloud_api.secret(**refusal.secret))
    dbt_cloud_api.faults = [refusal.fault]
    error = failure()
    assert isinstance(error, refusal.family)
    assert str(error) == (
        f"{refusal.what}. Where: {dbt_cloud_api.url}, account 12, {refusal.about}. Next: {refusal.todo}"
    )
    assert error.retryable is (refusal.family is PlatformError)
    asked = dbt_cloud_api.requests
    assert tuple(asked[: len(refusal.asked)]) == refusal.asked
    assert set(asked[len(refusal.asked) :]) <= ({refusal.asked[-1]} if refusal.again else set())
    assert TOKEN not in str(error)


def test_a_host_that_nobody_answers_on_is_unreachable(dbt_cloud_api: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the job's fault, so that the run may be tried again."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("DBT_CLOUD_API_CREDENTIALS", dbt_cloud_api.secret(host=url))
    assert str(failure()) == (
        "dbt Cloud does not answer: ConnectError: [Errno 111] Connection refused. "
        f"Where: {url}, account 12, runs of job 345. Next: {NETWORK}"
    )


@pytest.mark.parametrize(("host", "account", "code"), [(None, 13, 404), ("redirect", 12, 302)], ids=["account", "host"])
def test_another_account_or_host_is_a_matter_of_the_secret(
    dbt_cloud_api: StandIn, monkeypatch: pytest.MonkeyPatch, host: str | None, account: int, code: int
) -> None:
    """A redirect is not followed: the token would go with it."""
    with answering(Response(302, headers={"location": "https://example.com/"})) as elsewhere:
        url = elsewhere.url if host else dbt_cloud_api.url
        monkeypatch.setenv("DBT_CLOUD_API_CREDENTIALS", dbt_cloud_api.secret(host=url, account_id=account))
        error = failure()
    assert isinstance(error, ConfigurationError)
    assert error.location == f"{url}, account {account}, runs of job 345"
    assert (": The requested" in error.message) is (code == 404)


STEP = "Invoke dbt with `dbt build`"
NO_RESULTS = Script((Frame(cloud.SUCCESS, (cloud.CLONE, (STEP, cloud.SUCCESS, "Done.\n"))),))
BAD_RESULTS = Script(NO_RESULTS.frames, {(2, "run_results.json"): b'{"results": [{"unique_id"'})
ODD_RESULTS = Script(NO_RESULTS.frames, {(2, "run_results.json"): b'{"results": [{"unique_id": "model.a.b"}]}'})


@pytest.mark.parametrize(
    ("script", "warning"),
    [
        (NO_RESULTS, f"dbt Cloud has no run_results.json of step 2 ({STEP})"),
        (BAD_RESULTS, f"run_results.json of step 2 ({STEP}) is malformed: JSONDecodeError"),
        (ODD_RESULTS, f"run_results.json of step 2 ({STEP}) is malformed: KeyError"),
    ],
    ids=["missing", "half", "odd"],
)
def test_a_run_that_succeeded_without_usable_artifacts_is_a_success_with_a_warning(
    dbt_cloud_api: StandIn, script: Script, warning: str
) -> None:
    """What dbt Cloud says of the run counts; that nothing is known of the nodes is said."""
    dbt_cloud_api.scripts = [script]
    report = build()
    assert report.summary == "The run 1000 in dbt Cloud succeeded; it left no results of nodes"
    assert report.warnings == (warning,)


def test_skipped_nodes_without_a_manifest_are_reported_without_their_reason(dbt_cloud_api: StandIn) -> None:
    """The failure is the same; what is not known is said."""
    broken = cloud.result("model.shop.orders", "error", "no column total")
    results = cloud.run_results(broken, cloud.result("model.shop.payments", "skipped", ""))
    dbt_cloud_api.scripts = [
        Script((Frame(cloud.ERROR, ((STEP, cloud.ERROR, ""),)),), {(1, "run_results.json"): results})
    ]
    error = failure()
    assert error.fact == (
        f"1 of 2 dbt nodes failed: model orders: no column total. 1 skipped because of them. Where: {PAGE}."
    )
    assert error.skipped == ("model.shop.payments",)
    assert error.warnings == ("dbt Cloud has no usable manifest.json: why nodes were skipped is not known",)


def test_a_step_that_fails_before_it_builds_anything_says_the_end_of_its_log(dbt_cloud_api: StandIn) -> None:
    """A branch that does not exist, a project that does not compile."""
    log = "Cloning.\nfatal: Remote branch next not found in upstream origin\n"
    frame = Frame(cloud.ERROR, (("Clone git repository", cloud.ERROR, log),), "Failed to clone")
    dbt_cloud_api.scripts = [Script((Frame(cloud.RUNNING), frame))]
    error = failure()
    assert isinstance(error, ConfigurationError)
    assert str(error) == (
        "Run 1000 failed in dbt Cloud: Failed to clone; step 1 (Clone git repository): Cloning. fatal: Remote branch "
        f"next not found in upstream origin. Where: {PAGE}. Next: correct what the step's log says, in the project or "
        "in the job, then retry this run."
    )
    assert error.cause is Cause.ERROR


def test_a_run_that_is_cancelled_in_dbt_cloud_is_no_success(dbt_cloud_api: StandIn) -> None:
    """The cause is the cancellation, not the job."""
    frames = (Frame(cloud.RUNNING), Frame(cloud.CANCELLED, (cloud.CLONE,), "Cancelled by Ada."))
    dbt_cloud_api.scripts = [Script(frames)]
    error = failure()
    assert str(error) == (
        f"Run 1000 was cancelled in dbt Cloud: Cancelled by Ada. Where: {PAGE}. Next: find out on its page who or what "
        "cancelled it, then retry this run: it starts a new one."
    )
    assert error.cause is Cause.CANCELLED


@pytest.mark.parametrize(("script", "state"), [(cloud.STUCK, "queued"), (cloud.ENDLESS, "running")])
def test_a_run_whose_time_is_over_is_cancelled(dbt_cloud_api: StandIn, script: Script, state: str) -> None:
    """Also one that never left dbt Cloud's queue."""
    dbt_cloud_api.scripts = [script]
    error = failure(time_limit_minutes=0.5 / 60)
    assert str(error) == (
        f"The run in dbt Cloud took longer than 0:00:00.500000: it is {state}, and it was cancelled. Where: {PAGE}. "
        "Next: find out on its page what it waits for, or raise time_limit_minutes."
    )
    assert error.cause is Cause.TIMEOUT
    assert dbt_cloud_api.posts() == [TRIGGER.removeprefix("POST "), "/runs/1000/cancel/"]
    assert dbt_cloud_api.runs[1000].cancelled


def test_a_job_is_started_three_times_at_most(dbt_cloud_api: StandIn) -> None:
    """When dbt Cloud answers with errors, and no run of this flow is to be seen."""
    dbt_cloud_api.faults = [Fault("POST /jobs", times=99, status=502)]
    error = failure()
    assert error.message == "dbt Cloud fails with HTTP 502"
    assert dbt_cloud_api.posts() == ["/jobs/345/run/"] * 3
    assert dbt_cloud_api.runs == {}


def test_a_secret_without_a_job_is_said_before_anything_is_asked(
    dbt_cloud_api: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And without a word of the token."""
    monkeypatch.setenv("DBT_CLOUD_API_CREDENTIALS", '{"api_token": "dbtc_s3cret", "account_id": 12}')
    assert str(failure()) == (
        f"The secret {SECRET} is malformed: job_id: Field required. "
        "Where: environment variable DBT_CLOUD_API_CREDENTIALS. Next: correct it; docs/secrets.md says what it holds."
    )
    assert dbt_cloud_api.requests == []
