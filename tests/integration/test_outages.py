"""What children use is away for a while: they wait for it, or say in one sentence that the operator has to act."""

from __future__ import annotations

import errno
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from flow_of_flows import aws, errors
from flow_of_flows.dbt.state import FolderStore, S3Store
from flow_of_flows.dbt.state.publishing import read_log
from flow_of_flows.errors import PlatformError
from flow_of_flows.secrets import GitHubToken, read
from flow_of_flows.settings import Settings
from tests.fixtures.aws import BUCKET, REGION
from tests.fixtures.dbt_builds import build
from tests.fixtures.dbt_projects import Place
from tests.fixtures.slow_front import CUTS, SlowFront, slow_front

OUTAGE_SECONDS = 20
STAGES: dict[str, Callable[[str, str], bool]] = {
    "start": lambda _method, _path: True,
    "middle": lambda _method, path: "/runs/" in path,
    "publication": CUTS["log"],
}


@contextmanager
def outage(endpoint: str, stage: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowFront]:
    """From its first request of a stage on, AWS answers 503 for a while."""
    began: list[float] = []

    def refuses(method: str, path: str) -> bool:
        if not STAGES[stage](method, path):
            return False
        began[:] = began or [time.monotonic()]
        return time.monotonic() - began[0] < OUTAGE_SECONDS

    with slow_front(SlowFront(endpoint, lambda *_: False, refuses)) as front:
        monkeypatch.setenv("AWS_ENDPOINT_URL", front.address)
        yield front


@pytest.mark.parametrize("stage", list(STAGES))
def test_a_build_outlives_a_state_store_that_is_away_for_20_s(
    place: Place, aws_endpoint: str, bucket: Any, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    """Everything is built and published; the requests of the outage are few, for the pauses grow."""
    place.use()
    monkeypatch.setenv("FLOWS_STATE_STORE", f"s3://{bucket.name}")
    with outage(aws_endpoint, stage, monkeypatch) as front:
        report = build()
    assert report.summary == "5 dbt nodes: 1 pass, 4 success"
    assert report.warnings == ()
    assert 2 <= len(front.refused) <= 2 * aws.ATTEMPTS
    monkeypatch.setenv("AWS_ENDPOINT_URL", aws_endpoint)
    current = read_log(S3Store(BUCKET, "", REGION))[0].current
    assert current is not None
    assert current.id == report.facts["published"]


def test_a_secret_is_waited_for_while_secrets_manager_is_away(
    aws_endpoint: str, secrets_manager: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For 20 s."""
    secrets_manager.create_secret(Name="token", SecretString=json.dumps({"token": "found"}))
    with outage(aws_endpoint, "start", monkeypatch):
        assert read("token", GitHubToken, Settings.load().secrets).token.get_secret_value() == "found"


def test_a_disk_that_is_full_leaves_no_half_file_in_the_state_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was there stays, the new file is gone, and the error names the folder."""
    store = FolderStore(tmp_path / "state")
    store.write("runs/a.json", b"old")

    def fill(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("flow_of_flows.dbt.state.store._fill", fill)
    with pytest.raises(PlatformError) as caught:
        store.write("runs/a.json", b"new")
    assert str(caught.value) == (
        f"The state store cannot be used: No space left on device. Where: {tmp_path / 'state'}. "
        "Next: set FLOWS_STATE_STORE to a folder that can be written, or free space on its disk."
    )
    assert [(path.name, path.read_bytes()) for path in (tmp_path / "state" / "runs").iterdir()] == [("a.json", b"old")]


def test_a_full_disk_anywhere_is_one_clear_error() -> None:
    """Also where a library's error came from it; other errors are not."""
    error = RuntimeError("a library gave up")
    error.__cause__ = OSError(errno.ENOSPC, "No space left on device", "/tmp/x")
    assert str(errors.full(error)) == (
        "The disk is full: No space left on device. Where: /tmp/x. "
        "Next: free space there, or give the pod a larger volume; then run this again."
    )
    assert errors.full(OSError(errno.EACCES, "Permission denied")) is None
