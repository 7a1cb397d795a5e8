"""Secrets from the environment, from mounted Secrets and from Secrets Manager's API, in that order."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from flow_of_flows import aws
from flow_of_flows.aws import DeniedError
from flow_of_flows.errors import ConfigurationError, FlowsError, PlatformError
from flow_of_flows.secrets import GitHubToken, SnowflakeCredentials, read
from flow_of_flows.settings import SecretsSettings, Settings
from tests.fixtures.answers import answering
from tests.fixtures.http_server import Response

NAME = "terraform/github-token"
PLACE = "AWS Secrets Manager, eu-west-1, terraform/github-token"


def token(settings: SecretsSettings | None = None) -> str:
    """The token that is found."""
    return read(NAME, GitHubToken, settings or Settings.load().secrets).token.get_secret_value()


def test_secrets_manager_is_asked_by_name_and_rotation_counts_at_once(secrets_manager: Any) -> None:
    """Each read asks anew."""
    secrets_manager.create_secret(Name=NAME, SecretString=json.dumps({"token": "first"}))
    assert token() == "first"
    secrets_manager.put_secret_value(SecretId=NAME, SecretString=json.dumps({"token": "second"}))
    assert token() == "second"


def test_a_binary_secret_is_text(secrets_manager: Any) -> None:
    """As some tools store it."""
    secrets_manager.create_secret(Name=NAME, SecretBinary=json.dumps({"token": "binary"}).encode())
    assert token() == "binary"


def test_the_environment_comes_before_a_mounted_secret_and_both_before_secrets_manager(
    secrets_manager: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The documented order; what is not asked for is not touched."""
    secrets_manager.create_secret(Name=NAME, SecretString=json.dumps({"token": "manager"}))
    monkeypatch.setenv("FLOWS_SECRETS_FOLDER", str(tmp_path))
    assert token() == "manager"
    file = tmp_path / "terraform-github-token"
    file.write_text(json.dumps({"token": "file"}))
    assert token() == "file"
    monkeypatch.setenv("TERRAFORM_GITHUB_TOKEN", json.dumps({"token": "environment"}))
    assert token() == "environment"


def test_a_mounted_secret_may_be_a_folder_with_a_file_for_each_key(tmp_path: Path) -> None:
    """As Kubernetes mounts a Secret whose keys are the fields."""
    folder = tmp_path / "dbt-snowflake-credentials"
    (folder / "..2026_11_24").mkdir(parents=True)
    for key, value in {"account": "a", "user": "u", "private_key": "PEM\n", "database": "d", "schema": "s"}.items():
        (folder / key).write_text(value)
    found = read("dbt/snowflake-credentials", SnowflakeCredentials, SecretsSettings(folder=tmp_path))
    assert (found.account, found.user, found.schema_) == ("a", "u", "s")
    assert found.private_key is not None
    assert found.private_key.get_secret_value() == "PEM"


def test_a_secret_that_is_nowhere_lists_where_it_was_looked_for(secrets_manager: Any, tmp_path: Path) -> None:
    """In the order of the search."""
    assert secrets_manager.list_secrets()["SecretList"] == []
    with pytest.raises(ConfigurationError) as caught:
        token(SecretsSettings(folder=tmp_path))
    assert str(caught.value) == (
        "There is no secret terraform/github-token. Where: looked for TERRAFORM_GITHUB_TOKEN in the environment, then "
        f"{tmp_path}/terraform-github-token, then {PLACE}. Next: create it in one of them, or name another "
        "(FLOWS_SECRETS_*)."
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("hunter2", "it is no JSON object (line 1, column 1)"),
        ('{"token": "hunter2"', "it is no JSON object (line 1, column 20)"),
        ('["hunter2"]', "Input should be a valid dictionary or instance of GitHubToken"),
        ('{"tokn": "hunter2"}', "token: Field required"),
        ('{"token": "hunter2", "tokn": "hunter2"}', "tokn: unknown key"),
        ('{"token": ["hunter2"]}', "token: Input should be a valid string"),
    ],
)
def test_a_malformed_secret_is_said_without_a_word_of_it(secrets_manager: Any, text: str, problem: str) -> None:
    """Neither in the message nor in the chain of exceptions."""
    secrets_manager.create_secret(Name=NAME, SecretString=text)
    with pytest.raises(ConfigurationError) as caught:
        token()
    assert str(caught.value) == (
        f"The secret terraform/github-token is malformed: {problem}. Where: {PLACE}. "
        "Next: correct it; docs/secrets.md says what it holds."
    )
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


REFUSED = {
    "AccessDeniedException": (
        DeniedError,
        "access is denied",
        "allow secretsmanager:GetSecretValue on terraform/github-token in the role of the job pods",
    ),
    "UnrecognizedClientException": (
        ConfigurationError,
        "it does not accept this process's identity (UnrecognizedClientException)",
        "check the role's trust policy (IRSA or Pod Identity), or the credentials in the environment",
    ),
    "ThrottlingException": (PlatformError, "too many requests, also after 2 attempts", "run again later"),
    "InternalServiceError": (
        PlatformError,
        "An error occurred (InternalServiceError) when calling the GetSecretValue operation: told",
        "look up the error code",
    ),
}


@pytest.mark.parametrize("code", REFUSED)
def test_a_refusal_says_who_must_act(code: str, aws_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Denied and unknown are the operator's configuration; throttled is tried again, then said."""
    assert aws_endpoint
    monkeypatch.setattr(aws, "ATTEMPTS", 2)
    body = json.dumps({"__type": code, "message": "told"}).encode()
    with answering(Response(status=400, body=body, headers={"content-type": "application/x-amz-json-1.1"})) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        family, what, todo = REFUSED[code]
        with pytest.raises(family) as caught:
            token()
        assert type(caught.value) is family
        assert str(caught.value) == f"AWS does not hand out the secret: {what}. Where: {PLACE}. Next: {todo}."
        assert server.count == (2 if code == "ThrottlingException" else 1)


def test_an_answer_that_is_no_answer_is_said(aws_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy's page, say."""
    assert httpx.get(f"{aws_endpoint}/moto-api/").status_code == 200
    with answering(Response(status=200, body=b"<html>")) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        with pytest.raises(ConfigurationError, match="malformed: it is no JSON object"):
            token()


def test_nobody_there_is_a_platform_error(aws_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that nothing listens on."""
    monkeypatch.setattr(aws, "ATTEMPTS", 2)
    assert aws_endpoint
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(PlatformError, match="Could not connect to the endpoint URL"):
        token()


def test_no_identity_at_all_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """On a laptop without a profile."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with pytest.raises(FlowsError) as caught:
        token()
    assert str(caught.value) == (
        f"AWS does not hand out the secret: this process has no AWS identity. Where: {PLACE}. Next: give the job pods "
        "a role (IRSA or Pod Identity); elsewhere set AWS_PROFILE or AWS_ACCESS_KEY_ID."
    )
