"""A state store on S3 that does not do its part: who must act, what is said, what is tried again, what is not lost."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from flow_of_flows import aws
from flow_of_flows.dbt.state import S3Store
from flow_of_flows.errors import Cause, ConfigurationError, DataError, FlowsError, PlatformError
from tests.fixtures import dbt_projects
from tests.fixtures.answers import answering
from tests.fixtures.aws import BUCKET, REGION
from tests.fixtures.dbt_builds import build, execute
from tests.fixtures.dbt_projects import Place
from tests.fixtures.http_server import Response

PLACE = f"s3://{BUCKET}"
OBJECTS = f"arn:aws:s3:::{BUCKET}/*"
Call = Callable[[S3Store], object]
CALLS: dict[str, tuple[Call, str, str]] = {
    "read": (
        lambda store: store.look("a.json"),
        "read from",
        f"s3:GetObject on {OBJECTS} and s3:ListBucket on arn:aws:s3:::{BUCKET}",
    ),
    "write": (lambda store: store.write("a.json", b"{}"), "write to", f"s3:PutObject on {OBJECTS}"),
    "replace": (
        lambda store: store.replace("a.json", b"{}", "version"),
        "write to",
        f"s3:PutObject and s3:GetObject on {OBJECTS}",
    ),
    "list": (lambda store: store.folders("runs"), "list", f"s3:ListBucket on arn:aws:s3:::{BUCKET}"),
}

# Status and code of S3's answer, then this platform's error: family, what, what to do, and how often it was asked.
REGION_TODO = "set FLOWS_AWS_REGION to the bucket's region"
IDENTITY_TODO = "check the role's trust policy (IRSA or Pod Identity), or the credentials in the environment"
REFUSED: dict[str, tuple[int, str, type[FlowsError], str, str, int]] = {
    "no such bucket": (
        404,
        "NoSuchBucket",
        ConfigurationError,
        "there is no such bucket",
        "create the bucket, or correct its name",
        1,
    ),
    "denied": (403, "AccessDenied", aws.DeniedError, "access is denied", "allow {} in the role of the job pods", 1),
    "throttled": (503, "SlowDown", PlatformError, "too many requests, also after 2 attempts", "run again later", 2),
    "region": (400, "AuthorizationHeaderMalformed", ConfigurationError, "it is in another region", REGION_TODO, 0),
    "another region": (301, "PermanentRedirect", ConfigurationError, "it is in another region", REGION_TODO, 0),
    "no region": (
        400,
        "IllegalLocationConstraintException",
        ConfigurationError,
        "it is in another region",
        REGION_TODO,
        0,
    ),
    "unknown caller": (
        403,
        "InvalidAccessKeyId",
        ConfigurationError,
        "it does not accept this process's identity (InvalidAccessKeyId)",
        IDENTITY_TODO,
        1,
    ),
    "old token": (
        400,
        "ExpiredToken",
        ConfigurationError,
        "it does not accept this process's identity (ExpiredToken)",
        IDENTITY_TODO,
        1,
    ),
}


@pytest.fixture
def store(aws_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> S3Store:
    """A store on whatever AWS_ENDPOINT_URL names then; it gives up after two attempts."""
    assert aws_endpoint
    monkeypatch.setattr(aws, "ATTEMPTS", 2)
    monkeypatch.setattr(aws, "READ_SECONDS", 0.5)
    return S3Store(BUCKET, "", REGION)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("case", REFUSED)
def test_a_refusal_says_who_must_act(store: S3Store, call: str, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of S3's own errors, for each thing that is done."""
    status, code, family, what, todo, count = REFUSED[case]
    act, verb, permission = CALLS[call]
    body = f"<Error><Code>{code}</Code><Message>told</Message></Error>".encode()
    with answering(
        Response(status, body, {"content-type": "application/xml", "x-amz-bucket-region": "eu-central-1"})
    ) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        with pytest.raises(FlowsError) as caught:
            act(store)
        assert type(caught.value) is family
        assert str(caught.value) == (
            f"AWS does not {verb} the state store: {what}. Where: {PLACE}. Next: {todo.format(permission)}."
        )
        # Of a bucket elsewhere boto3 asks for the region itself.
        assert server.count == count or not count


@pytest.mark.parametrize("call", CALLS)
def test_nobody_there_is_a_platform_error(store: S3Store, call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that nothing listens on."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(PlatformError, match=r"^AWS does not .* the state store: Could not connect to the endpoint URL"):
        CALLS[call][0](store)


@pytest.mark.parametrize("call", CALLS)
def test_a_slow_store_is_not_waited_for_without_end(store: S3Store, call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes the connection and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(PlatformError, match=r"^AWS does not .* the state store: Read timeout on endpoint URL"):
            CALLS[call][0](store)


def test_an_answer_that_breaks_off_is_asked_for_again_and_never_taken_for_whole(
    store: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three times."""
    with answering(Response(200, b'{"half', {"content-length": "100", "etag": '"x"'})) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        with pytest.raises(PlatformError, match=r"^AWS does not read from the state store: .*IncompleteRead"):
            store.look("a.json")
        assert server.count == 3


@pytest.mark.parametrize("body", [b"<ListBucketResult><Contents>", b"<html>a proxy</html"])
def test_a_list_that_makes_no_sense_is_a_platform_error(
    store: S3Store, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of it, or of something else: boto3 takes it for S3's own failure, and asks again."""
    with answering(Response(200, body)) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        with pytest.raises(PlatformError) as caught:
            store.folders("runs")
        assert server.count == 2
    assert caught.value.message == (
        "AWS does not list the state store: An error occurred (500) when calling the ListObjectsV2 operation (reached "
        "max retries: 1): Internal Server Error"
    )


def deny(bucket: Any, *actions: str) -> None:
    """Let the bucket refuse actions, as a policy of somebody else's does."""
    statement = {"Effect": "Deny", "Principal": "*", "Action": list(actions), "Resource": f"arn:aws:s3:::{BUCKET}/*"}
    bucket.Policy().put(Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))


@pytest.fixture
def s3(bucket: Any, place: Place, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The bucket that is the state store of a place."""
    assert place
    monkeypatch.setenv("FLOWS_STATE_STORE", PLACE)
    return bucket


def test_a_build_that_may_not_write_succeeds_and_warns(place: Place, s3: Any) -> None:
    """The tables are there; the next run builds in full again."""
    place.use()
    deny(s3, "s3:PutObject")
    report = build()
    assert report.summary == "5 dbt nodes: 1 pass, 4 success"
    (warning,) = report.warnings
    assert warning == (
        "The production artifacts may not be those of this run: AWS does not write to the state store: access is "
        f"denied. Where: {PLACE}. Next: allow s3:PutObject and s3:GetObject on {OBJECTS} in the role of the job pods."
    )


def test_a_build_that_failed_says_so_whatever_the_store_does(place: Place, s3: Any) -> None:
    """The reason of the build comes first, the store's is a warning, and there is nothing to retry."""
    place.use({**dbt_projects.CHAIN, "models/third.sql": "select nope"})
    deny(s3, "s3:PutObject")
    with pytest.raises(DataError) as failure:
        build()
    assert failure.value.cause is Cause.DBT_NODES_FAILED
    assert failure.value.hint == "correct them, then run dbt-build again"
    (warning,) = failure.value.warnings
    assert warning.startswith("This run cannot be continued: AWS does not write to the state store: access is denied.")


def test_a_build_that_may_not_read_stops_before_it_builds(place: Place, s3: Any) -> None:
    """Whether it goes on from an earlier try is not known."""
    place.use()
    deny(s3, "s3:GetObject")
    with pytest.raises(ConfigurationError, match=r"^AWS does not read from the state store: access is denied\."):
        build(retry_of=UUID(int=1))
    assert execute(place.warehouse, "select count(*) from information_schema.tables") == [(0,)]


def test_a_bucket_that_does_not_exist_stops_a_build(
    place: Place, aws_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it builds."""
    assert aws_endpoint
    place.use()
    monkeypatch.setenv("FLOWS_STATE_STORE", "s3://no-such-bucket")
    with pytest.raises(ConfigurationError) as caught:
        build()
    assert caught.value.message == "AWS does not read from the state store: there is no such bucket"


def test_a_retry_goes_on_from_what_another_pod_left_on_s3(place: Place, s3: Any) -> None:
    """Only what did not succeed runs."""
    place.use({**dbt_projects.CHAIN, "models/third.sql": "select late.id from late, {{ ref('second') }}"})
    with pytest.raises(DataError):
        build()
    (run,) = {item.key.split("/")[1] for item in s3.objects.filter(Prefix="runs/")}
    assert sorted(item.key.rpartition("/")[2] for item in s3.objects.filter(Prefix="runs/")) == [
        "manifest.json",
        "run.json",
        "run_results.json",
    ]
    execute(place.warehouse, "create table late (id int)")
    report = build(retry_of=UUID(run))
    assert report.warnings == ()
    assert report.summary == "1 dbt nodes: 1 success; resumed after 4 nodes were done already"
