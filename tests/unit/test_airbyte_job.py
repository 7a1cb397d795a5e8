"""What follows from what Airbyte says of its jobs."""

from __future__ import annotations

import pytest

from flow_of_flows.airbyte import client
from flow_of_flows.airbyte.job import SyncJob, SyncStatus, to_wait_for
from flow_of_flows.errors import ConfigurationError
from flow_of_flows.secrets import AirbyteCredentials

DONE, FAILED, RUNNING = SyncJob(7, SyncStatus.SUCCEEDED), SyncJob(8, SyncStatus.FAILED), SyncJob(9, SyncStatus.RUNNING)


@pytest.mark.parametrize(
    ("jobs", "newest", "found"),
    [
        ((), None, None),
        ((), 0, None),
        ((DONE, FAILED), None, None),
        ((DONE, FAILED), 8, None),
        ((DONE, FAILED), 7, FAILED),
        ((RUNNING, FAILED, DONE), None, RUNNING),
        ((RUNNING, FAILED, DONE), 9, RUNNING),
        ((SyncJob(10, SyncStatus.RUNNING, "reset"),), None, None),
        ((SyncJob(6, SyncStatus.INCOMPLETE), DONE), 6, SyncJob(6, SyncStatus.INCOMPLETE)),
    ],
)
def test_an_active_sync_is_waited_for_or_the_one_that_a_lost_answer_started(
    jobs: tuple[SyncJob, ...], newest: int | None, found: SyncJob | None
) -> None:
    """Nothing that was over before, and nothing but syncs."""
    assert to_wait_for(jobs, newest) == found


@pytest.mark.parametrize(
    ("records", "size", "text"),
    [
        (None, None, "0 records, 0 bytes"),
        (12_000, 999, "12,000 records, 999 bytes"),
        (1, 61_000, "1 records, 61.0 kB"),
        (1, 3_400_000, "1 records, 3.4 MB"),
        (1, 5_000_000_000_000, "1 records, 5,000.0 GB"),
    ],
)
def test_progress_is_in_records_and_bytes(records: int | None, size: int | None, text: str) -> None:
    """Decimal units, as Airbyte's own pages have them."""
    assert SyncJob(1, SyncStatus.RUNNING, "sync", records, size).progress == text


@pytest.mark.parametrize(
    "address",
    [
        "https://airbyte.example.com/api/public/v1",
        "http://localhost:8000/v1",
        "http://127.0.0.1:1/v1",
        "http://[::1]/v1",
    ],
)
def test_https_and_this_host_are_let_through(address: str) -> None:
    """Nobody else sees what goes to this host."""
    client.check(address, plain_http=False)


def test_plain_http_is_let_through_where_it_is_allowed() -> None:
    """An Airbyte in the cluster's own network."""
    client.check("http://airbyte-server.airbyte:8001/api/public/v1", plain_http=True)


@pytest.mark.parametrize(
    ("address", "what"),
    [
        ("http://airbyte.example.com/v1", "Airbyte's server_url is not https: it would show the credentials"),
        ("http://127.0.0.1.example.com/v1", "Airbyte's server_url is not https"),
        ("https://user:hunter2@airbyte.example.com/v1", "Airbyte's server_url carries more than an address"),
        ("airbyte.example.com", "Airbyte's server_url is not an address"),
        ("ftp://airbyte.example.com", "Airbyte's server_url is not an address"),
        ("https://[", "Airbyte's server_url is not an address"),
        ("", "Airbyte's server_url is not an address"),
    ],
)
def test_an_address_that_would_give_the_credentials_away_is_refused(address: str, what: str) -> None:
    """Before anything is sent, and without what it carries."""
    with pytest.raises(ConfigurationError) as caught:
        client.check(address, plain_http=False)
    assert str(caught.value).startswith(what)
    assert "hunter2" not in str(caught.value)


def test_airbyte_cloud_is_the_server_unless_said_otherwise() -> None:
    """The default of the secret."""
    found = AirbyteCredentials.model_validate({"token": "t", "connection_id": "c"})
    assert found.server_url == "https://api.airbyte.com/v1"
