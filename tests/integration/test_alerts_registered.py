"""What `flows register` makes for alerts, and what a real server's automation does when a parent's pod is gone."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.states import AwaitingRetry, Crashed, Running

from flow_of_flows.errors import ConfigurationError
from flow_of_flows.registration import alerting
from flow_of_flows.registration.plan import Action
from tests.commands import environment, flows
from tests.conditions import eventually
from tests.fixtures.http_server import listening
from tests.fixtures.registrations import Project, actions
from tests.fixtures.server import Embedded, answers
from tests.fixtures.slack_pagerduty import ROUTING_KEY, server

CANARY = "https://hooks.slack.com/services/T0/B0/c4nary"


@pytest.fixture
def project(embedded: Embedded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project of this test, in production, with a block of its own."""
    project = Project(tmp_path, embedded.api, embedded.client)
    monkeypatch.setenv("FLOWS_ENVIRONMENT", "production")
    monkeypatch.setenv("FLOWS_ALERTS_ENVIRONMENT", project.name)
    monkeypatch.setenv("FLOWS_ALERTS_SLACK_BLOCK", project.name)
    return project


def test_block_and_automation_are_registered_once_and_go_when_alerts_are_off(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address comes from the secret and is in no line; the automation knows the block by its id."""
    monkeypatch.setenv("SLACK_WEBHOOK", f'{{"url": "{CANARY}"}}')
    plan, said = project.register()
    automation = f"flow-of-flows: tell Slack of crashed pipelines ({project.name})"
    assert actions(plan)[f"slack-webhook/{project.name}"] is Action.CREATE
    assert actions(plan)[automation] is Action.CREATE
    assert "c4nary" not in said
    block = project.client.read_block_document_by_name(project.name, "slack-webhook", include_secrets=True)
    assert block.data == {"url": CANARY}
    (found,) = project.client.read_automations_by_name(automation)
    assert getattr(found.actions[0], "block_document_id", None) == block.id
    again, said = project.register()
    assert {change.action for change in again} == {Action.UNCHANGED}, said
    monkeypatch.delenv("SLACK_WEBHOOK")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    kept, _ = project.register()
    assert {change.action for change in kept} == {Action.UNCHANGED}, "a block that is there needs no secret"
    monkeypatch.setenv("FLOWS_ALERTS_SLACK", "false")
    gone, _ = project.register()
    assert [change.name for change in gone if change.action is Action.DELETE] == [automation]


def test_pagerduty_gets_an_automation_when_its_secret_has_the_key_that_prefect_asks_for(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prefect's block wants a REST API key, which nothing else needs."""
    monkeypatch.setenv("FLOWS_ALERTS_SLACK", "false")
    monkeypatch.setenv("FLOWS_ALERTS_PAGERDUTY", "true")
    monkeypatch.setenv("PAGERDUTY_ROUTING_KEY", f'{{"routing_key": "{ROUTING_KEY}"}}')
    automation = f"flow-of-flows: tell PagerDuty of crashed pipelines ({project.name})"
    assert automation not in actions(project.register(only_plan=True)[0])
    monkeypatch.setenv("PAGERDUTY_ROUTING_KEY", f'{{"routing_key": "{ROUTING_KEY}", "api_key": "c4nary-api-key"}}')
    plan, said = project.register()
    assert actions(plan)[automation] is Action.CREATE
    assert "c4nary" not in said
    found = project.client.read_block_document_by_name("flow-of-flows", "pager-duty-webhook", include_secrets=True)
    assert found.data == {
        "integration_key": ROUTING_KEY,
        "api_key": "c4nary-api-key",
        "region_name": "us",
        "notify_type": "failure",
        "source": f"flow-of-flows/{project.name}",
    }


def test_a_secret_that_is_nowhere_stops_the_registration_before_anything_is_written(
    project: Project, secrets_manager: object
) -> None:
    """Alerts that are on and reach nobody are a mistake."""
    assert secrets_manager
    with pytest.raises(ConfigurationError) as caught:
        project.register()
    assert str(caught.value).startswith("There is no secret slack/webhook. Where: looked for SLACK_WEBHOOK in the")
    assert str(caught.value).endswith("or name another (FLOWS_SECRETS_*), or set FLOWS_ALERTS_SLACK=false.")
    assert project.deployed() == []


def doctor(project: Project, **more: str) -> str:
    """What `flows doctor` says of alerts, in one line."""
    ended = flows("doctor", **{"PREFECT_API_URL": project.api, "COLUMNS": "400"} | more)
    lines = [" ".join(line.split()) for line in ended.out.splitlines()]
    found = next(number for number, line in enumerate(lines) if line.split()[1] == "alerts")
    return " ".join(line for line in lines[found : found + 2] if line == lines[found] or line.startswith("→"))


def test_doctor_looks_for_block_and_key_and_sends_nothing(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """First neither is there, then one, then both; without an API there is no block."""
    assert doctor(project) == (
        f"wrong alerts There is no Prefect block with Slack's address. Where: {project.api}, block "
        f"slack-webhook/{project.name}. → run `flows register` (on a cluster: `helm upgrade`) with the secret that "
        "FLOWS_SECRETS_SLACK names, or set FLOWS_ALERTS_SLACK=false"
    )
    assert doctor(project, PREFECT_API_URL="").startswith(
        "wrong alerts Slack is to be notified, but no Prefect API is set"
    )
    monkeypatch.setenv("SLACK_WEBHOOK", f'{{"url": "{CANARY}"}}')
    project.register()
    monkeypatch.setenv("FLOWS_ALERTS_PAGERDUTY", "true")
    monkeypatch.setenv("PAGERDUTY_ROUTING_KEY", '{"key": "c4nary"}')
    assert doctor(project) == (
        "wrong alerts The secret pagerduty/routing-key is malformed: routing_key: Field required. "
        "Where: environment variable PAGERDUTY_ROUTING_KEY. → correct it; docs/secrets.md says what it holds"
    )
    monkeypatch.setenv("PAGERDUTY_ROUTING_KEY", f'{{"routing_key": "{ROUTING_KEY}"}}')
    assert doctor(project) == (
        f"ok alerts {project.name}: Slack by block slack-webhook/{project.name}, PagerDuty with pagerduty/routing-key "
        "(nothing was sent)"
    )


@pytest.fixture
def whole_server(tmp_path: Path) -> Iterator[str]:
    """The API of a server that works on automations, which the embedded one does not."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with (tmp_path / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "flow_of_flows.server", "--port", str(port)],
            env=environment(PREFECT_HOME=str(tmp_path), PREFECT_API_BLOCKS_REGISTER_ON_START="false"),
            stdout=log,
            stderr=log,
        )
    try:
        api = f"http://127.0.0.1:{port}/api"
        eventually(lambda: answers(api), "the server answers", within=150)
        yield api
    finally:
        process.kill()
        process.wait()


def test_a_crashed_pipeline_run_is_told_by_the_server_unless_it_is_started_again(
    project: Project, whole_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of two runs that crashed got a new pod; Prefect's own notification block sends the message."""
    client = SyncPrefectClient(whole_server)
    project = replace(project, api=whole_server, client=client)
    monkeypatch.setattr(alerting, "UNRESTARTED_ALERT", timedelta(seconds=10))
    front, both = server()
    with listening(front):
        # The library behind Prefect's block takes real Slack addresses only; this is how it reaches any other server.
        monkeypatch.setenv("SLACK_WEBHOOK", f'{{"url": "{both.url.replace("http", "json")}"}}')
        project.deploy("first", tags=["flow-of-flows", "pipeline"])
        project.register()
        child, parent = project.found("second", flow="broken").id, project.found("first").id
        runs = [
            client.create_flow_run_from_deployment(of, name=f"run-{n}") for n, of in enumerate([parent, parent, child])
        ]
        for run in runs:
            client.set_flow_run_state(run.id, Running(), force=True)
            # Another crash would be revived by the server, which is no news.
            message = "Failed to submit flow run to infrastructure: c4nary row"
            client.set_flow_run_state(run.id, Crashed(message=message), force=True)
        client.set_flow_run_state(runs[1].id, AwaitingRetry(), force=True)
        eventually(lambda: both.bodies, "the automation fires", within=90)
    (body,) = both.bodies
    told = json.loads(body)
    assert told["title"] == f"work crashed ({project.name})"
    assert told["message"].startswith(f"work crashed, and was not started again within 0 minutes ({project.name}).")
    assert f"flows resume {runs[0].id}" in told["message"]
    assert "c4nary" not in body


def test_a_crashed_pipeline_run_is_revived_a_bounded_number_of_times(
    project: Project, whole_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server starts it again under its id, three times; not a child, and not what could not be submitted."""
    client = SyncPrefectClient(whole_server)
    project = replace(project, api=whole_server, client=client)
    project.deploy("first", tags=["flow-of-flows", "pipeline"])
    monkeypatch.setenv("FLOWS_ALERTS_SLACK", "false")
    project.register()
    child, parent = project.found("second", flow="broken").id, project.found("first").id

    def crash(of: UUID, message: str, *, times: int = 1) -> UUID:
        run = client.create_flow_run_from_deployment(of).id
        for _ in range(times - 1):
            client.set_flow_run_state(run, Running())
            client.set_flow_run_state(run, AwaitingRetry())
        client.set_flow_run_state(run, Running())
        client.set_flow_run_state(run, Crashed(message=message))
        return run

    left = [
        crash(child, "killed"),
        crash(parent, "Failed to submit flow run to infrastructure: ValidationError"),
        crash(parent, "killed", times=4),
    ]
    back = [crash(parent, "killed"), crash(parent, "killed", times=3)]

    def state(run: UUID) -> tuple[str, str]:
        found = client.read_flow_run(run).state
        return (str(found.name), str(found.message)) if found else ("", "")

    revived = ("AwaitingRetry", "Revived by the Prefect server: its process or pod died")
    eventually(lambda: [state(run) for run in back] == [revived] * 2, "both are revived", within=60)
    assert [state(run)[0] for run in left] == ["Crashed"] * 3
