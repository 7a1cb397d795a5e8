"""What holds for every workflow: pinned actions, least permissions, bounded jobs, no values pasted into scripts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.commands import REPOSITORY

WORKFLOWS = sorted((REPOSITORY / ".github" / "workflows").glob("*.yml"))
LOADED: dict[str, Any] = {path.stem: yaml.safe_load(path.read_text()) for path in WORKFLOWS}
JOBS = {f"{name}.{job}": body for name, loaded in LOADED.items() for job, body in loaded["jobs"].items()}
PIN = re.compile(r"(?P<action>[\w.-]+/[\w./-]+)@(?P<commit>[0-9a-f]{40}) # v\d+\.\d+\.\d+")


def uses(path: Path) -> list[str]:
    """What follows each `uses:` of another repository, with its comment."""
    found = re.findall(r"^ *(?:- )?uses: (.+)$", path.read_text(), flags=re.MULTILINE)
    return [each for each in found if not each.startswith("./")]


def test_the_workflows_are_there() -> None:
    """The tests below look at all of them."""
    assert list(LOADED) == ["checks", "deploy", "release"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_every_action_is_pinned_to_a_commit_and_says_its_version(path: Path) -> None:
    """A tag can be moved by whoever owns the action."""
    assert [each for each in uses(path) if not PIN.fullmatch(each)] == []


def test_an_action_has_one_pin_everywhere() -> None:
    """An update changes every place."""
    pins = {each for path in WORKFLOWS for each in uses(path)}
    assert len(pins) == len({each.split("@")[0] for each in pins})


@pytest.mark.parametrize("name", LOADED)
def test_a_workflow_has_no_permission_that_a_job_does_not_ask_for(name: str) -> None:
    """And no workflow runs code of a pull request with the base repository's secrets."""
    assert LOADED[name]["permissions"] == {}
    # YAML reads the key `on` as a boolean.
    assert not {"pull_request_target", "workflow_run"} & set(LOADED[name][True])


@pytest.mark.parametrize("name", JOBS)
def test_every_job_names_its_permissions_and_ends_in_time(name: str) -> None:
    """A job that calls a workflow is bounded by that one's jobs."""
    job = JOBS[name]
    publishes = name == "release.platform"
    assert set(job["permissions"]) <= {"contents", "id-token", "attestations", *(["packages"] if publishes else [])}
    assert job["permissions"]["contents"] == ("write" if publishes else "read")
    assert ("timeout-minutes" in job) != ("uses" in job)


@pytest.mark.parametrize("name", JOBS)
def test_no_value_is_pasted_into_a_script(name: str) -> None:
    """Values reach scripts as variables, so that the name of a branch is never run."""
    assert [step["run"] for step in JOBS[name].get("steps", []) if "${{" in step.get("run", "")] == []


@pytest.mark.parametrize("name", JOBS)
def test_a_checkout_leaves_no_token_behind(name: str) -> None:
    """What a build runs could read it from .git/config."""
    checkouts = [step for step in JOBS[name].get("steps", []) if "actions/checkout" in step.get("uses", "")]
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


def test_only_a_pull_request_of_the_repository_itself_gets_at_production() -> None:
    """Code of a fork or of a bot never runs with a role or a password: the steps that use one are left out."""
    job = JOBS["checks.dbt-slim"]
    assert job["env"]["SLIM"].removeprefix("${{ ").removesuffix(" }}").split(" && ") == [
        "github.event_name == 'pull_request'",
        "github.event.pull_request.head.repo.full_name == github.repository",
        "github.event.pull_request.user.login != 'dependabot[bot]'",
        "vars.AWS_CI_ROLE_ARN != ''",
        "vars.DBT_STATE_URI != ''",
        """contains(fromJSON('["postgres", "snowflake"]'), vars.DBT_TARGET)""",
    ]
    conditions = {step["if"] for step in job["steps"] if "AWS_CI_ROLE_ARN" in str(step) or "secrets." in str(step)}
    assert conditions == {"env.SLIM == 'true'", "steps.manifest.outputs.found == 'true'"}


def test_only_the_deployments_wait_for_each_other() -> None:
    """One environment, one deployment at a time, and none is cut short; of the checks only those of pull requests."""
    assert JOBS["deploy.deploy"]["concurrency"] == {
        "group": "deploy-${{ inputs.environment }}",
        "cancel-in-progress": False,
    }
    assert LOADED["release"]["concurrency"]["cancel-in-progress"] is False
    assert LOADED["checks"]["concurrency"]["cancel-in-progress"] == "${{ github.event_name == 'pull_request' }}"


@pytest.mark.parametrize(
    ("action", "option", "file", "version"),
    [
        ("Azure/setup-helm", "version", "Makefile", r"cmd/helm@(v\S+)"),
        ("astral-sh/setup-uv", "version", "Dockerfile", r"ARG UV_VERSION=(\S+)"),
    ],
)
def test_a_tool_has_the_version_that_is_used_elsewhere(action: str, option: str, file: str, version: str) -> None:
    """What passes on a laptop and in the image passes here."""
    elsewhere = re.search(version, (REPOSITORY / file).read_text())
    assert elsewhere is not None
    steps = [step for job in JOBS.values() for step in job.get("steps", []) if action in step.get("uses", "")]
    assert {step["with"][option] for step in steps} == {elsewhere[1]}
