"""The shapes of secrets: a JSON object in, typed credentials out, or what is wrong without a word of the secret."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from flow_of_flows.secrets import (
    AirbyteCredentials,
    DbtCloudCredentials,
    GitHubToken,
    PagerDutyCredentials,
    SlackWebhook,
    SnowflakeCredentials,
)
from flow_of_flows.secrets.reading import Credentials

SNOWFLAKE = {"account": "org-name", "user": "dbt", "private_key": "PEM", "database": "SHOP"}
AIRBYTE = {"connection_id": "c1"}
CLOUD = {"api_token": "t", "account_id": 1, "job_id": 2}


@pytest.mark.parametrize(
    ("shape", "values"),
    [
        (GitHubToken, {"token": "t"}),
        (SnowflakeCredentials, {**SNOWFLAKE, "role": "R", "warehouse": "W", "schema": "S"}),
        (SnowflakeCredentials, {**SNOWFLAKE, "private_key_passphrase": "p"}),
        (SnowflakeCredentials, {"account": "a", "database": "d", "workload_identity_provider": "AWS"}),
        (DbtCloudCredentials, {**CLOUD, "host": "emea.dbt.com"}),
        (AirbyteCredentials, {**AIRBYTE, "token": "t"}),
        (AirbyteCredentials, {**AIRBYTE, "client_id": "i", "client_secret": "s"}),
        (SlackWebhook, {"url": "https://hooks.slack.com/services/T/B/x"}),
        (PagerDutyCredentials, {"routing_key": "k"}),
        (PagerDutyCredentials, {"routing_key": "k", "api_key": "a"}),
    ],
)
def test_what_fits_is_taken_and_does_not_print(shape: type[Credentials], values: dict[str, object]) -> None:
    """Secret values are masked in the printed form."""
    found = shape.model_validate(values)
    for name in (
        "token",
        "private_key",
        "private_key_passphrase",
        "api_token",
        "client_secret",
        "url",
        "routing_key",
        "api_key",
    ):
        if name in values:
            assert f"{name}=SecretStr('**********')" in repr(found)


@pytest.mark.parametrize(
    ("shape", "values", "problem"),
    [
        (GitHubToken, {}, "Field required"),
        (GitHubToken, {"token": ""}, "Value should have at least 1 item after validation"),
        (GitHubToken, {"token": "t", "tokn": "x"}, "Extra inputs are not permitted"),
        (
            SnowflakeCredentials,
            {**SNOWFLAKE, "password": "p"},
            "exactly one of private_key, workload_identity_provider",
        ),
        (SnowflakeCredentials, {"account": "a", "user": "u", "database": "d"}, "exactly one of private_key"),
        (SnowflakeCredentials, {"account": "a", "database": "d", "private_key": "k"}, "user is needed"),
        (
            SnowflakeCredentials,
            {"account": "a", "user": "u", "database": "d", "password": "p", "private_key_passphrase": "x"},
            "private_key_passphrase is given without a private_key",
        ),
        (SlackWebhook, {"url": ""}, "Value should have at least 1 item after validation"),
        (SlackWebhook, {"webhook": "w"}, "Field required"),
        (PagerDutyCredentials, {"api_key": "a"}, "Field required"),
        (DbtCloudCredentials, {**CLOUD, "job_id": 0}, "Input should be greater than 0"),
        (AirbyteCredentials, AIRBYTE, "either client_id and client_secret, or token, is needed"),
        (AirbyteCredentials, {**AIRBYTE, "client_id": "i"}, "either client_id and client_secret, or token"),
        (AirbyteCredentials, {**AIRBYTE, "client_id": "i", "token": "t"}, "either client_id and client_secret"),
        (
            AirbyteCredentials,
            {**AIRBYTE, "client_id": "i", "client_secret": "s", "token": "t"},
            "either client_id and client_secret",
        ),
    ],
)
def test_what_does_not_fit_is_said(shape: type[Credentials], values: dict[str, object], problem: str) -> None:
    """Contradictions and omissions, too."""
    with pytest.raises(ValidationError) as caught:
        shape.model_validate(values)
    assert problem in caught.value.errors()[0]["msg"]
