"""The hubspot child against Airbyte's API: it starts a sync or joins one, waits, and says how it ended."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest

from flow_of_flows.airbyte import client, sync
from flow_of_flows.airbyte.sync import probe
from flow_of_flows.errors import ConfigurationError, PlatformError
from flow_of_flows.secrets import AirbyteCredentials, read
from flow_of_flows.settings import Settings
from tests.fixtures.airbyte import CONNECTION, PREFIX, Airbyte, Refusal
from tests.fixtures.hubspot_child import configure, run


def calls(server: Airbyte) -> list[str]:
    """What was asked, repeated looks at the job once."""
    return [call for at, call in enumerate(server.asked) if call != "GET /jobs/" or server.asked[at - 1] != call]


def test_a_sync_is_started_and_waited_for(airbyte: Airbyte, caplog: pytest.LogCaptureFixture) -> None:
    """Progress is in the log whenever something changed."""
    airbyte.deliver = lambda: (9, 1_500)
    with caplog.at_level(logging.INFO, "flow_of_flows"):
        report = run()
    assert report.summary == "HubSpot → warehouse: 9 records, 1.5 kB synced by Airbyte (job 1)"
    facts = {name: value for name, value in report.facts.items() if name != "seconds"}
    assert facts == {"job": 1, "records": 9, "bytes": 1500, "source": "Airbyte connection HubSpot → warehouse"}
    assert report.warnings == ()
    assert calls(airbyte) == [
        "POST /applications/token",
        "GET /connections/",
        "GET /jobs",
        "POST /jobs",
        "GET /jobs/",
    ]
    assert [record.message for record in caplog.records if record.name.startswith("flow_of_flows")] == [
        f"Job 1 started: a sync of connection {CONNECTION}",
        "Job 1 is running: 600 records, 61.0 kB",
        "Job 1 is running: 1,200 records, 122.0 kB",
        "Job 1 is succeeded: 9 records, 1.5 kB",
    ]


def test_a_sync_that_runs_already_is_joined(airbyte: Airbyte) -> None:
    """No second one; the report says so."""
    airbyte.add("running", "incomplete", "running", "succeeded")
    report = run()
    assert report.facts["job"] == 1
    assert report.warnings == ("waited for a sync that already ran; what changed since its start comes with the next",)
    assert "POST /jobs" not in airbyte.asked


def test_a_sync_that_began_meanwhile_is_joined(airbyte: Airbyte) -> None:
    """Airbyte answers 409 to the trigger: the job that it means is looked up."""
    airbyte.refuse("GET /jobs", Refusal(body=b'{"data": []}'))
    airbyte.add("running", "succeeded")
    assert run().facts["job"] == 1
    assert airbyte.asked.count("POST /jobs") == 1
    assert len(airbyte.jobs) == 1


@pytest.mark.parametrize("script", [("running", "succeeded"), ("succeeded",)])
@pytest.mark.parametrize("lost", [Refusal(body=None, done=True), Refusal(502, b"<html>", done=True)])
def test_a_lost_answer_of_the_trigger_starts_no_second_sync(
    airbyte: Airbyte, lost: Refusal, script: tuple[str, ...]
) -> None:
    """The job is looked up, also when it is over by then."""
    airbyte.script = script
    airbyte.add("succeeded")
    airbyte.refuse("POST /jobs", lost)
    report = run()
    assert (report.facts["job"], report.warnings) == (2, ())
    assert airbyte.asked.count("POST /jobs") == 1
    assert len(airbyte.jobs) == 2


@pytest.mark.parametrize("nothing", [Refusal(body=None), Refusal(503), Refusal(429)])
def test_a_trigger_that_did_nothing_is_made_again(airbyte: Airbyte, nothing: Refusal) -> None:
    """After a look that finds no job of it."""
    airbyte.refuse("POST /jobs", nothing)
    assert run().facts["job"] == 1
    assert airbyte.asked.count("POST /jobs") == 2


def test_a_token_is_renewed_before_it_ends(airbyte: Airbyte) -> None:
    """A long wait outlives many of them; none is refused."""
    airbyte.lifetime, airbyte.script = 1.0, ("pending", *["running"] * 20, "succeeded")
    assert run().facts["job"] == 1
    assert 2 <= airbyte.asked.count("POST /applications/token") <= 6


def test_a_token_that_is_refused_before_its_time_is_renewed(airbyte: Airbyte) -> None:
    """At each call, also the trigger: a refused one had no effect."""
    for call in ("GET /connections/", "GET /jobs", "POST /jobs", "GET /jobs/"):
        airbyte.refuse(call, Refusal(401))
    assert run().facts["job"] == 1
    assert airbyte.asked.count("POST /applications/token") == 5
    assert len(airbyte.jobs) == 1


@pytest.mark.parametrize(
    "fault",
    [
        Refusal(429, headers={"retry-after": "0"}),
        Refusal(503),
        Refusal(body=None),
        Refusal(body=b'{"jobId": 1', length=500),
    ],
)
def test_a_passing_fault_is_not_the_end(airbyte: Airbyte, fault: Refusal) -> None:
    """Reads are made again: throttled, a server error, no answer, half an answer."""
    for call in ("POST /applications/token", "GET /connections/", "GET /jobs", "GET /jobs/"):
        airbyte.refuse(call, fault)
    assert run().facts["job"] == 1
    assert len(airbyte.jobs) == 1


def test_an_outage_during_the_sync_is_waited_out(airbyte: Airbyte, caplog: pytest.LogCaptureFixture) -> None:
    """More faults in a row than one call is made again."""
    airbyte.refuse("GET /jobs/", *[Refusal(502)] * 9)
    assert run().facts["job"] == 1
    assert "HTTP 502 Bad Gateway" in caplog.text
    assert "The sync goes on meanwhile." in caplog.text


def synced(known: int | None = None, **patience: float) -> sync.Synced:
    """A sync without a flow run around it, with a memory of its own."""
    settings = Settings.load()
    found = read(settings.secrets.airbyte, AirbyteCredentials, settings.secrets)
    memory = sync.Memory(lambda: known, lambda _: None)
    limit = timedelta(seconds=patience.get("seconds", 60))
    with client.opened(found, plain_http=False) as api:
        return sync.sync(api, memory, sync.SyncLimits(limit, 0.05, 0.1))


@pytest.mark.parametrize(("status", "job"), [("running", 1), ("succeeded", 1), ("failed", 2), ("cancelled", 2)])
def test_the_job_of_an_earlier_pod_counts_unless_it_came_to_nothing(airbyte: Airbyte, status: str, job: int) -> None:
    """It is not news that it ran already: it is this run's own."""
    airbyte.add(status, *(["succeeded"] if status == "running" else []))
    done = synced(known=1)
    assert (done.job.id, done.adopted) == (job, False)
    assert len(airbyte.jobs) == job


def test_an_outage_that_does_not_end_fails_the_run_and_leaves_the_sync(
    airbyte: Airbyte, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next run waits for it."""
    monkeypatch.setattr(sync, "OUTAGE_SECONDS", 0.2)
    airbyte.refuse("GET /jobs/", *[Refusal(502)] * 99)
    with pytest.raises(PlatformError, match="Airbyte does not show the job: HTTP 502 Bad Gateway"):
        synced()
    assert "DELETE /jobs/" not in airbyte.asked
    airbyte.refusals.clear()
    assert (synced().job.id, len(airbyte.jobs)) == (1, 1)


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("The HubSpot access token\nhas expired", "The HubSpot access token has expired"),
        (None, "this API does not say why"),
    ],
)
def test_a_sync_that_fails_says_airbytes_own_reason(airbyte: Airbyte, reason: str | None, said: str) -> None:
    """A self-managed Airbyte's internal API has it; no second sync is started."""
    airbyte.script, airbyte.reason = ("pending", "running", "incomplete", "running", "failed"), reason
    with pytest.raises(PlatformError) as caught:
        run()
    assert caught.value.fact == (
        f"Job 1 failed in Airbyte: {said} (1,200 records, 122.0 kB). "
        f"Where: {airbyte.url}{PREFIX}, connection {CONNECTION}."
    )
    assert len(airbyte.jobs) == 1


def test_a_sync_that_somebody_cancels_in_airbyte_is_a_failure(airbyte: Airbyte) -> None:
    """Not taken for success, nor for this run's own cancellation."""
    airbyte.script = ("running", "cancelled")
    with pytest.raises(PlatformError) as caught:
        run()
    assert caught.value.message == "Job 1 was cancelled in Airbyte (0 records, 0 bytes)"
    assert caught.value.cause == "platform"


@pytest.mark.parametrize(
    ("status", "said"), [("pending", "has not begun"), ("running", "is not over (0 records, 0 bytes)")]
)
def test_a_sync_that_takes_too_long_is_cancelled(airbyte: Airbyte, status: str, said: str) -> None:
    """Whether it waited or worked; the cause is the time."""
    airbyte.script = (status,)
    with pytest.raises(PlatformError) as caught:
        synced(seconds=0.3)
    assert caught.value.message == f"Job 1 {said} after 0.005 min, and was cancelled"
    assert caught.value.cause == "timeout"
    assert airbyte.jobs[0].status == "cancelled"


@pytest.fixture
def enabled(monkeypatch: pytest.MonkeyPatch) -> None:
    """HubSpot is to be loaded."""
    monkeypatch.setenv("FLOWS_AIRBYTE_ENABLED", "true")


@pytest.mark.usefixtures("enabled")
def test_the_doctor_reads_the_connection_and_starts_nothing(airbyte: Airbyte) -> None:
    """With a token that it got for it."""
    assert probe(Settings.load()) == f"connection HubSpot → warehouse (active) on {airbyte.url}{PREFIX}"
    assert airbyte.asked == ["POST /applications/token", "GET /connections/"]


@pytest.mark.usefixtures("enabled")
def test_the_doctor_says_what_is_wrong_at_once(airbyte: Airbyte, monkeypatch: pytest.MonkeyPatch) -> None:
    """No call is made twice."""
    airbyte.connection_status = "inactive"
    with pytest.raises(ConfigurationError, match="The Airbyte connection HubSpot → warehouse is inactive"):
        probe(Settings.load())
    airbyte.refuse("GET /connections/", Refusal(503))
    with pytest.raises(PlatformError, match="HTTP 503 Service Unavailable"):
        probe(Settings.load())
    configure(airbyte, monkeypatch, client_secret="wrong")
    with pytest.raises(ConfigurationError, match="HTTP 401 Unauthorized \\(Invalid client id or token\\)"):
        probe(Settings.load())
    configure(airbyte, monkeypatch, connection_id="0f0e7a1c-9999-4f72-9ed7-0b8fc27c5826")
    with pytest.raises(ConfigurationError, match="HTTP 404 Not Found \\(Could not find configuration"):
        probe(Settings.load())


def test_without_airbyte_the_doctor_asks_nobody(airbyte: Airbyte) -> None:
    """Nothing is wrong then."""
    assert probe(Settings.load()) == "not enabled (FLOWS_AIRBYTE_ENABLED)"
    assert airbyte.asked == []
