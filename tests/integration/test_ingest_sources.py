"""The shop's files over HTTP and from S3, by the same child as from a folder."""

from __future__ import annotations

import functools
import http.server
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from flow_of_flows.errors import DataError, PlatformError
from flow_of_flows.testing import RunChild
from flows.ingest.sample import generate
from tests.fixtures.http_server import listening

ROWS = 1040
BUCKET = "shop"


class QuietFiles(http.server.SimpleHTTPRequestHandler):
    """Files of a folder, without a line on stderr for each."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the standard library's name
        """Say nothing."""


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample data set."""
    folder = tmp_path_factory.mktemp("sample")
    generate(folder)
    return folder


@pytest.fixture
def web(sample: Path) -> Iterator[str]:
    """Address of a web server with the sample."""
    handler = functools.partial(QuietFiles, directory=str(sample))
    with listening(http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)) as address:
        yield address


@pytest.fixture(scope="module")
def filled(sample: Path) -> Iterator[str]:
    """Address of a server of moto's whose bucket has the sample; one, since fsspec keeps its connections."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing-secret", "region_name": "us-east-1"}
    client = boto3.client("s3", endpoint_url=address, **keys)
    client.create_bucket(Bucket=BUCKET)
    for file in sample.iterdir():
        client.upload_file(str(file), BUCKET, f"2025/{file.name}")
    yield address
    server.stop()


@pytest.fixture
def bucket(filled: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Address of the sample in S3, which this process may read."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", filled)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing-secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    return f"s3://{BUCKET}/2025"


def test_orders_load_from_a_web_server(run_child: RunChild, web: str) -> None:
    """Every row arrives, and the second load finds nothing new."""
    assert run_child("raw-orders", source=web).facts["rows_total"] == ROWS
    assert run_child("raw-orders", source=web).facts["rows_loaded"] == 0


def test_orders_load_from_s3(run_child: RunChild, bucket: str) -> None:
    """Every row arrives, and the second load finds nothing new."""
    assert run_child("raw-orders", source=bucket).facts["rows_total"] == ROWS
    assert run_child("raw-orders", source=bucket).facts["rows_loaded"] == 0


def test_a_missing_file_on_a_web_server_is_one_sentence(run_child: RunChild, web: str) -> None:
    """The address is named."""
    error = run_child("raw-orders", source=f"{web}/nowhere").error
    assert isinstance(error, DataError)
    assert error.location == f"{web}/nowhere"


def test_a_missing_bucket_is_one_sentence(run_child: RunChild, bucket: str) -> None:
    """The address is named."""
    error = run_child("raw-orders", source=bucket.replace(BUCKET, "another")).error
    assert isinstance(error, DataError)
    assert error.location == "s3://another/2025"


def test_a_web_server_that_is_down_is_the_operators(run_child: RunChild, web: str) -> None:
    """Nobody listens on the port any more."""
    host, _, _ = web.rpartition(":")
    error = run_child("raw-orders", source=f"{host}:9").error
    assert isinstance(error, PlatformError)
    assert error.location == f"{host}:9/raw_orders.csv"
