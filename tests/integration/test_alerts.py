"""Alerts of real pipeline runs on a real Prefect server, sent to stand-ins of Slack and PagerDuty."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun

from flow_of_flows.registration.plan import Item, ResourceKind
from flow_of_flows.registration.resources import Blocks
from tests.conditions import eventually
from tests.fixtures.pods import Pod, made
from tests.fixtures.runs import ended, overrides
from tests.fixtures.server import Embedded
from tests.fixtures.slack_pagerduty import ROUTING_KEY, Both, Reply


@dataclass
class Told:
    """Pipelines whose runs tell the stand-ins."""

    embedded: Embedded
    both: Both
    block: str
    certificate: Path
    more: dict[str, str] = field(default_factory=dict)
    environment: str = field(default_factory=lambda: f"test-{uuid4().hex[:6]}")

    @property
    def variables(self) -> dict[str, str]:
        """What the pods of an installation with alerts have in their environment."""
        return {
            "FLOWS_ENVIRONMENT": "production",
            "FLOWS_ALERTS_ENVIRONMENT": self.environment,
            "FLOWS_ALERTS_SLACK_BLOCK": self.block,
            "FLOWS_ALERTS_PAGERDUTY": "true",
            "FLOWS_ALERTS_PAGERDUTY_URL": self.both.url,
            "SSL_CERT_FILE": str(self.certificate),
            "PAGERDUTY_ROUTING_KEY": f'{{"routing_key": "{ROUTING_KEY}"}}',
            **self.more,
        }

    def start(self, pipeline: str, **parameters: Any) -> UUID:
        """Start a pipeline."""
        return self.embedded.start_with(pipeline, {"env": self.variables}, **parameters)

    def run(self, pipeline: str, **parameters: Any) -> FlowRun:
        """Run a pipeline to its end."""
        return self.embedded.end_of(self.start(pipeline, **parameters))

    @property
    def headlines(self) -> list[str]:
        """The first line of each message, without the name of the installation."""
        return [
            message["blocks"][0]["text"]["text"].replace(f" ({self.environment})", "") for message in self.both.slack
        ]

    @property
    def actions(self) -> list[tuple[str, str]]:
        """What happened to which pipeline's incident."""
        return [(event["event_action"], event["dedup_key"].rpartition("/")[2]) for event in self.both.pagerduty]

    def logged(self, run: FlowRun, text: str) -> None:
        """Wait until a text is in a run's log, and look whether a secret is."""

        def log() -> str:
            return "\n".join(self.embedded.log(run.id))

        eventually(lambda: text in log(), f"the log has {text!r}; it has {log()}", within=20)
        assert "c4nary" not in log()


@pytest.fixture
def told(embedded: Embedded, slack_pagerduty: Both, certificate: tuple[Path, Path]) -> Iterator[Told]:
    """Alerts to stand-ins, with a block of this test, made as `flows register` makes it."""
    name = f"slack-{uuid4().hex[:6]}"
    item = Item(ResourceKind.BLOCK, f"slack-webhook/{name}", {"data": {"url": slack_pagerduty.webhook}})

    async def on_api(work: Callable[[PrefectClient, Item], Awaitable[None]]) -> None:
        async with PrefectClient(embedded.api) as client:
            await work(client, item)

    asyncio.run(on_api(Blocks().write))
    yield Told(embedded, slack_pagerduty, name, certificate[0])
    asyncio.run(on_api(Blocks().remove))


def settle(told: Told, pipeline: str) -> None:
    """Have the run before end well, whatever the tests before did."""
    told.run(pipeline)
    told.both.slack.clear()
    told.both.pagerduty.clear()
    told.both.incidents.clear()


def test_a_failed_run_is_told_and_its_retry_tells_that_it_recovered(told: Told, tmp_path: Path) -> None:
    """One message and one incident; the Retry button's success resolves it."""
    bad = tmp_path / "bad"
    bad.touch()
    run = told.run("diamond", overrides=overrides(left={"fail_if": str(bad)}))
    assert ended(run)[0] == "Failed"
    assert told.headlines == ["❌ diamond failed"]
    message = str(told.both.slack)
    assert "A row is bad. Where: orders.csv, line 7." in message
    assert "*What to do:* Correct the row" in message
    assert f"flows resume {run.id}" in message
    assert told.actions == [("trigger", "diamond")]
    assert told.both.incidents == {f"flow-of-flows/{told.environment}/diamond": 1}
    bad.unlink()
    assert ended(told.embedded.retry(run.id))[0] == "Completed"
    assert told.headlines == ["❌ diamond failed", "✅ diamond recovered"]
    assert told.actions == [("trigger", "diamond"), ("resolve", "diamond")]
    assert told.both.incidents == {}
    told.logged(run, "PagerDuty was notified: diamond completed")


def test_a_pipeline_with_a_suffix_has_an_incident_of_its_own(told: Told) -> None:
    """Of the same pipeline and environment; here its children with that suffix are not registered."""
    told.more["FLOWS_DEPLOYMENTS_SUFFIX"] = "-dev"
    run = told.run("diamond")
    assert ended(run)[0] == "Failed"
    assert "the deployment work/work-dev does not exist" in str(told.embedded.answers(run.id))
    assert told.headlines == ["❌ diamond-dev failed"]
    assert told.both.incidents == {f"flow-of-flows/{told.environment}/diamond-dev": 1}


def test_a_retry_that_fails_again_is_told_again_and_is_the_same_incident(told: Told, tmp_path: Path) -> None:
    """A new attempt is news; the incident of the pipeline stays one."""
    (tmp_path / "bad").touch()
    run = told.run("diamond", overrides=overrides(left={"fail_if": str(tmp_path / "bad")}))
    told.embedded.retry(run.id)
    assert told.headlines == ["❌ diamond failed"] * 2
    assert told.both.incidents == {f"flow-of-flows/{told.environment}/diamond": 2}


def test_the_next_run_that_completes_tells_that_the_pipeline_recovered(told: Told, tmp_path: Path) -> None:
    """The run before of the same deployment counts; a run of some steps only does not make good for it."""
    (tmp_path / "bad").touch()
    told.run("lenient", overrides=overrides(after={"fail_if": str(tmp_path / "bad")}))
    told.run("lenient", only=["optional"])
    assert told.headlines == ["❌ lenient failed"]
    told.run("lenient")
    told.run("lenient")
    assert told.headlines == ["❌ lenient failed", "✅ lenient recovered"]
    assert told.actions == [("trigger", "lenient"), ("resolve", "lenient")]


def test_a_skipped_run_tells_nobody_and_makes_good_for_nothing(told: Told, tmp_path: Path) -> None:
    """The next run that completes tells that the pipeline recovered."""
    bad, gate = tmp_path / "bad", tmp_path / "gate"
    bad.touch()
    told.run("alone", overrides=overrides(load={"fail_if": str(bad)}))
    working = told.start("alone", overrides=overrides(load={"await_file": str(gate)}))
    eventually(lambda: told.embedded.states(working) == {"load/1": "Running"}, "a run is at work")
    assert ended(told.run("alone"))[0] == "Skipped"
    assert told.headlines == ["❌ alone failed"]
    gate.touch()
    told.embedded.end_of(working)
    assert told.headlines == ["❌ alone failed", "✅ alone recovered"]


def test_a_degraded_run_is_told_and_opens_no_incident(told: Told, tmp_path: Path) -> None:
    """The pipeline completed."""
    settle(told, "lenient")
    (tmp_path / "bad").touch()
    told.run("lenient", overrides=overrides(optional={"fail_if": str(tmp_path / "bad")}))
    assert (told.headlines, told.actions) == (["⚠️ lenient degraded"], [])


def test_a_cancelled_run_is_told_with_what_was_done(told: Told, pod: Pod, tmp_path: Path) -> None:
    """By the hook, which a pod's supervisor runs once the engine is ended."""
    began, never = tmp_path / "began", tmp_path / "never"
    run = pod.run_of(
        "tests.children.diamond", overrides=overrides(left={"touch": str(began), "await_file": str(never)})
    )
    process = pod.start(run, **told.variables)
    made(pod, began)
    eventually(lambda: list(told.embedded.states(run).values()).count("Completed") == 2, "two children complete")
    told.embedded.cancel(run)
    assert process.wait(60) == 0
    assert told.headlines == ["⛔ diamond cancelled"]
    assert told.both.slack[0]["blocks"][1]["text"]["text"].startswith("2 of 4 steps completed. Run ")
    assert told.both.pagerduty[0]["payload"]["severity"] == "warning"
    assert told.actions == [("trigger", "diamond")]


def test_only_the_outermost_pipeline_tells(told: Told, tmp_path: Path) -> None:
    """The inner one failed, too, and its parent names the step."""
    (tmp_path / "bad").touch()
    inner = {
        "parameters": {"overrides": overrides(right={"fail_if": str(tmp_path / "bad")})},
        "job_variables": {"env": told.variables},
    }
    told.run("outer", overrides={"diamond": inner})
    assert told.headlines == ["❌ outer failed"]
    assert "• `right` (data): A row is bad. Where: orders.csv, line 7." in str(told.both.slack)


def test_runs_that_end_well_are_told_when_something_changed_if_the_setting_says_so(told: Told, tmp_path: Path) -> None:
    """Completed, degraded, completed, completed."""
    settle(told, "lenient")
    told.more = {"FLOWS_ALERTS_FINISHED": "on-change"}
    for number in range(4):
        bad = tmp_path / f"bad-{number}"
        if number == 1:
            bad.touch()
        told.run("lenient", overrides=overrides(optional={"fail_if": str(bad)}))
    assert told.headlines == ["⚠️ lenient degraded", "✅ lenient completed"]


def test_in_development_nobody_is_told_unless_it_is_asked_for(told: Told) -> None:
    """One image serves both."""
    told.more = {"FLOWS_ENVIRONMENT": "development", "FLOWS_ALERTS_PAGERDUTY": "false"}
    told.run("mistaken")
    assert told.both.asked == []
    told.more["FLOWS_ALERTS_SLACK"] = "true"
    told.run("mistaken")
    assert told.headlines == ["❌ mistaken failed"]


def test_a_run_that_ends_before_its_steps_is_told(told: Told) -> None:
    """Nothing to resume from."""
    told.run("diamond", resume_from="00000000-0000-4000-8000-000000000000")
    assert told.headlines == ["❌ diamond failed"]
    text = told.both.slack[0]["blocks"][2]["text"]["text"]
    assert "There is no run 00000000-0000-4000-8000-000000000000." in text
    assert "*What to do:* Copy the id from the run's page" in text


def test_what_was_sent_is_marked_and_not_sent_again(told: Told) -> None:
    """A pod dies after it sent the alert and before its end: the run starts again, completes, and sends no other."""
    told.more = {"FLOWS_ALERTS_FINISHED": "always"}
    settle(told, "lenient")
    run = told.run("lenient")
    assert told.headlines == ["✅ lenient completed"]
    told.embedded.retry(run.id)
    assert told.headlines == ["✅ lenient completed"]


def test_endpoints_that_do_not_answer_hold_a_run_up_for_no_longer_than_the_setting_says(
    told: Told, tmp_path: Path
) -> None:
    """Its end stays as it is."""
    (tmp_path / "bad").touch()
    told.both.script = {"slack": [Reply(200, delay=60)], "pagerduty": [Reply(202, delay=60)]}
    told.more = {"FLOWS_ALERTS_SECONDS": "2"}
    begin = time.monotonic()
    run = told.run("diamond", only=["alone"], overrides=overrides(alone={"fail_if": str(tmp_path / "bad")}))
    assert time.monotonic() - begin < 40
    assert ended(run) == ("Failed", "0 of 4 steps completed; failed: alone (data)")
    assert (told.both.slack, told.both.pagerduty) == ([], [])
    told.logged(run, "Alerts were given up after 2 s")


def test_one_channel_that_does_badly_does_not_keep_the_other_from_being_told(told: Told) -> None:
    """The log says which alerts were not sent and why; the address is not in it."""
    told.both.script = {"slack": [Reply(404, "no_service")], "pagerduty": []}
    run = told.run("mistaken")
    assert (told.both.slack, told.actions) == ([], [("trigger", "mistaken")])
    told.logged(run, "Slack was not notified: Slack does not take the message: 404 no_service. Where: 127.0.0.1.")


def test_a_missing_block_and_a_malformed_key_are_said_in_the_log(told: Told) -> None:
    """With where and what to do."""
    told.more = {"FLOWS_ALERTS_SLACK_BLOCK": "nowhere", "PAGERDUTY_ROUTING_KEY": "{c4nary"}
    run = told.run("mistaken")
    told.logged(run, "Slack was not notified: There is no Prefect block with Slack's address. Where: ")
    told.logged(run, "PagerDuty was not notified: The secret pagerduty/routing-key is malformed: it is no JSON object")
