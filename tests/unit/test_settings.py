"""Settings: the environment in, one frozen value out, or one sentence."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import SecretStr
from pydantic_settings import BaseSettings

from flow_of_flows.errors import ConfigurationError
from flow_of_flows.settings import (
    GROUPS,
    Environment,
    Finished,
    PostgresSettings,
    Settings,
    TargetName,
    environment,
)
from flow_of_flows.settings.variables import ELSEWHERE
from tests.commands import REPOSITORY


def test_defaults_suit_a_laptop(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every setting when nothing is set: the embedded warehouse, live sources, everything below one folder."""
    monkeypatch.delenv("FLOWS_HOME")
    monkeypatch.chdir(tmp_path)
    assert Settings.load().model_dump() == {
        "target": None,
        "environment": Environment.DEVELOPMENT,
        "home": REPOSITORY / ".flows",
        "warehouse_folder": REPOSITORY / ".flows" / "warehouse",
        "target_schema": "analytics",
        "threads": 4,
        "dbt_project": REPOSITORY / "docker" / "dbt",
        "dbt_profiles_dir": None,
        "dbt_secrets": {},
        "deployments": REPOSITORY / "prefect.yaml",
        "deployments_suffix": "",
        "command_prefix": "",
        "owner": None,
        "work_pool": "flows",
        "image": None,
        "schedules": True,
        "registration": None,
        "local_limit": max(8, 2 * (os.cpu_count() or 1)),
        "poll_seconds": 1.0,
        "poll_max_seconds": 10.0,
        "postgres": {
            "host": "localhost",
            "port": 5432,
            "user": "postgres",
            "password": SecretStr(""),
            "database": "postgres",
        },
        "state": {"store": None, "publish": True, "history": 10, "warehouse": None},
        "snowflake": {"host": None, "port": 443, "protocol": "https", "login_seconds": 20},
        "airbyte": {
            "enabled": False,
            "limit_minutes": 100,
            "poll_seconds": 2.0,
            "poll_max_seconds": 30.0,
            "plain_http": False,
        },
        "repository": {
            "url": None,
            "ref": None,
            "subfolder": None,
            "ca_file": None,
            "timeout": 300,
            "stall": 30,
        },
        "secrets": {
            "region": "eu-west-1",
            "folder": None,
            "github": "terraform/github-token",
            "snowflake": "dbt/snowflake-credentials",
            "dbt_cloud": "dbt-cloud/api-credentials",
            "airbyte": "airbyte/api-credentials",
            "slack": "slack/webhook",
            "pagerduty": "pagerduty/routing-key",
        },
        "deadlines": {"pending": 900.0},
        "retry": {"memory_max": "16Gi", "nodes": {}, "pause_factor": 1.0},
        "pod": {"lease_seconds": 120.0, "patience_seconds": 600.0, "deadline_seconds": None},
        "alerts": {
            "slack": None,
            "slack_block": "slack-webhook",
            "pagerduty": False,
            "pagerduty_url": "https://events.pagerduty.com",
            "finished": Finished.ON_FAILURE,
            "warnings": True,
            "environment": None,
            "seconds": 10,
        },
        "transform": {"children": {}},
        "dbt_cloud": {"poll_seconds": 5.0, "patience_seconds": 300.0, "request_seconds": 30.0},
        "sweep": {
            "never_started_seconds": 120.0,
            "gone_seconds": 20.0,
            "cancelling_seconds": 60.0,
            "leftover_seconds": 120.0,
            "crashed_parent_seconds": 900.0,
            "late_seconds": 600.0,
            "namespace": None,
            "release": None,
        },
    }


def test_folders_follow_the_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A relative home is absolute from then on, wherever a child starts."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FLOWS_HOME", "mine")
    settings = Settings.load()
    assert settings.home == tmp_path / "mine"
    assert settings.warehouse_folder == tmp_path / "mine" / "warehouse"
    assert settings.results_folder == tmp_path / "mine" / "results"
    assert settings.state_folder == tmp_path / "mine" / "state"
    monkeypatch.setenv("FLOWS_STATE_STORE", "elsewhere")
    monkeypatch.setenv("FLOWS_WAREHOUSE_FOLDER", "volume")
    settings = Settings.load()
    assert (settings.state_folder, settings.warehouse_folder) == (tmp_path / "elsewhere", tmp_path / "volume")


@pytest.mark.parametrize(
    ("store", "bucket"),
    [
        ("/var/lib/state", None),
        ("s3://your-org-dbt-artifacts", ("your-org-dbt-artifacts", "")),
        ("s3://your-org-dbt-artifacts/", ("your-org-dbt-artifacts", "")),
        ("s3://your-org-dbt-artifacts/team/dbt", ("your-org-dbt-artifacts", "team/dbt/")),
    ],
)
def test_the_state_store_is_a_folder_or_a_bucket(
    store: str, bucket: tuple[str, str] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A prefix ends with one slash."""
    monkeypatch.setenv("FLOWS_STATE_STORE", store)
    assert Settings.load().state.bucket == bucket


def test_variables_become_typed_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also dbt's and libpq's own variables."""
    for name, value in {
        "DBT_TARGET": "postgres",
        "FLOWS_THREADS": "8",
        "PGHOST": "db",
        "PGPORT": "6543",
        "PGUSER": "loader",
        "PGPASSWORD": "s3cret",
        "PGDATABASE": "shop",
    }.items():
        monkeypatch.setenv(name, value)
    settings = Settings.load()
    assert (settings.target, settings.threads) == (TargetName.POSTGRES, 8)
    assert settings.postgres.model_dump() == {
        "host": "db",
        "port": 6543,
        "user": "loader",
        "password": SecretStr("s3cret"),
        "database": "shop",
    }
    assert "s3cret" not in repr(settings)


def test_the_suffix_of_the_deployments_is_that_of_slack_s_block_unless_one_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each release has the block that it registers itself."""
    monkeypatch.setenv("FLOWS_DEPLOYMENTS_SUFFIX", "-dev")
    settings = Settings.load()
    assert (settings.deployment_name("smoke"), settings.slack_block) == ("smoke-dev", "slack-webhook-dev")
    monkeypatch.setenv("FLOWS_ALERTS_SLACK_BLOCK", "slack-webhook")
    assert Settings.load().slack_block == "slack-webhook"


def test_settings_know_which_variables_are_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """For `flows doctor`."""
    assert Settings.load().variables == ("FLOWS_HOME",)
    monkeypatch.setenv("DBT_TARGET", "duckdb")
    monkeypatch.setenv("PGHOST", "db")
    monkeypatch.setenv("FLOWS_SECRETS_SLACK", "slack/other")
    assert Settings.load().variables == ("DBT_TARGET", "FLOWS_HOME", "FLOWS_SECRETS_SLACK")


def test_the_former_name_of_the_aws_region_still_works(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It wins over the present one, which the chart always sets; one warning announces its end."""
    monkeypatch.setenv("FLOWS_AWS_REGION", "eu-central-1")
    settings = Settings.load()
    assert (settings.aws_region, settings.variables) == ("eu-central-1", ("FLOWS_AWS_REGION", "FLOWS_HOME"))
    monkeypatch.setenv("FLOWS_SECRETS_REGION", "us-east-1")
    settings = Settings.load()
    assert (settings.aws_region, settings.variables) == ("us-east-1", ("FLOWS_AWS_REGION", "FLOWS_HOME"))
    monkeypatch.delenv("FLOWS_AWS_REGION")
    assert Settings.load().aws_region == "us-east-1"
    assert caplog.messages == [
        "FLOWS_SECRETS_REGION is deprecated, and version 0.2 will not read it: set FLOWS_AWS_REGION instead."
    ]


@pytest.mark.parametrize(
    ("environment", "slack", "told"),
    [
        ("development", "", False),
        ("development", "true", True),
        ("production", "", True),
        ("production", "false", False),
    ],
)
def test_slack_is_told_in_production_unless_the_setting_says_otherwise(
    environment: str,
    slack: str,
    told: bool,  # noqa: FBT001
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One image serves both environments; an installation may have a name of its own."""
    monkeypatch.setenv("FLOWS_ENVIRONMENT", environment)
    monkeypatch.setenv("FLOWS_ALERTS_SLACK", slack)
    settings = Settings.load()
    assert settings.alerts.to_slack(settings.environment) is told
    assert settings.alerts.name(settings.environment) == environment
    monkeypatch.setenv("FLOWS_ALERTS_ENVIRONMENT", "eu-2")
    assert Settings.load().alerts.name(settings.environment) == "eu-2"


def test_an_empty_variable_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chart or a compose file passes empty values; an empty home is not the current folder."""
    monkeypatch.delenv("FLOWS_HOME")
    expected = Settings.load()
    for name in (
        "FLOWS_HOME",
        "FLOWS_STATE_STORE",
        "FLOWS_TRANSFORM_DAILY_PIPELINE",
        "DBT_TARGET",
        "PGDATABASE",
        "PGPORT",
    ):
        monkeypatch.setenv(name, "")
    assert Settings.load() == expected


@pytest.mark.parametrize("name", ["TARGET", "HOST", "THREADS", "POSTGRES", "STATE_STORE"])
def test_variables_of_others_are_not_read(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name without our prefix belongs to somebody else."""
    expected = Settings.load()
    monkeypatch.setenv(name, "postgres")
    assert Settings.load() == expected


@pytest.mark.parametrize(
    ("variable", "todo"),
    [
        ("FLOWS_THREDS", "did you mean FLOWS_THREADS? Otherwise unset it"),
        ("FLOWS_AWS_REGIN", "did you mean FLOWS_AWS_REGION? Otherwise unset it"),
        ("FLOWS_SHOP_SORCE", "did you mean FLOWS_SHOP_SOURCE? Otherwise unset it"),
        ("FLOWS_TRANSFORM_DAILY_PIPLINE", "did you mean FLOWS_TRANSFORM_DAILY_PIPELINE? Otherwise unset it"),
        ("FLOWS_QUX", "unset it, or see the README's table of settings"),
        ("FLOWS_TARGET", "did you mean DBT_TARGET? Otherwise unset it"),
        (
            "FLOWS_POSTGRES",
            "did you mean PGHOST, PGPORT, PGUSER, PGPASSWORD and PGDATABASE? Otherwise unset it",
        ),
    ],
)
def test_an_unknown_variable_is_refused_with_a_suggestion(
    variable: str, todo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A misspelt setting is never ignored."""
    monkeypatch.setenv(variable, "postgres")
    with pytest.raises(ConfigurationError) as caught:
        Settings.load()
    assert str(caught.value) == f"Unknown setting {variable}. Where: environment. Next: {todo}."


@pytest.mark.parametrize(
    ("variable", "value", "problem"),
    [
        ("FLOWS_ENVIRONMENT", "staging", "Input should be 'development' or 'production'"),
        ("FLOWS_THREADS", "0", "Input should be greater than or equal to 1"),
        ("FLOWS_THREADS", "many", "Input should be a valid integer, unable to parse string as an integer"),
        ("FLOWS_TARGET_SCHEMA", "Ana lytics", "String should match pattern '^[a-z_][a-z0-9_]*$'"),
        ("FLOWS_TRANSFORM_DAILY_PIPELINE", "spark", "Input should be 'core' or 'cloud'"),
        ("FLOWS_POLL_SECONDS", "0", "Input should be greater than or equal to 0.05"),
        ("FLOWS_ENVIRONMENT", "prod", "Input should be 'development' or 'production'"),
        ("FLOWS_ALERTS_FINISHED", "never", "Input should be 'always', 'on-change' or 'on-failure'"),
        ("FLOWS_ALERTS_SECONDS", "0", "Input should be greater than or equal to 1"),
        ("FLOWS_ALERTS_PAGERDUTY_URL", "http://pd", "String should match pattern '^https://[^/\\s@]+$'"),
        ("FLOWS_DEPLOYMENTS_SUFFIX", "dev", "String should match pattern '^(-[a-z0-9-]*[a-z0-9])?$'"),
        ("FLOWS_DEPLOYMENTS_SUFFIX", "-a/b", "String should match pattern '^(-[a-z0-9-]*[a-z0-9])?$'"),
        ("FLOWS_ALERTS_SLACK_BLOCK", "a/b", "String should match pattern '^[a-z0-9-]+$'"),
        ("FLOWS_AWS_REGION", "Ireland", "String should match pattern '^[a-z]{2}(-[a-z]+)+-\\d$'"),
        ("FLOWS_SECRETS_REGION", "Ireland", "String should match pattern '^[a-z]{2}(-[a-z]+)+-\\d$'"),
        ("FLOWS_STATE_STORE", "gs://bucket", "Value error, it is neither a folder nor s3://bucket/prefix"),
        ("FLOWS_STATE_STORE", "s3://", "Value error, it is neither a folder nor s3://bucket/prefix"),
        ("FLOWS_STATE_STORE", "s3://Bucket", "Value error, it is neither a folder nor s3://bucket/prefix"),
        ("FLOWS_STATE_HISTORY", "1", "Input should be greater than or equal to 2"),
        ("FLOWS_RETRY_PAUSE_FACTOR", "-1", "Input should be greater than or equal to 0"),
        ("FLOWS_RETRY_PAUSE_FACTOR", "11", "Input should be less than or equal to 10"),
        ("FLOWS_RETRY_PAUSE_FACTOR", "nan", "Input should be a finite number"),
        ("PGPORT", "70000", "Input should be less than or equal to 65535"),
        ("PGPORT", "five", "Input should be a valid integer, unable to parse string as an integer"),
    ],
)
def test_a_value_that_does_not_fit_names_its_variable(
    variable: str, value: str, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What, where, what to do; not the value, which may be a secret in the wrong place."""
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError) as caught:
        Settings.load()
    assert str(caught.value) == (
        f"Setting {variable} does not fit: {problem}. Where: environment. Next: correct {variable} or unset it."
    )


@pytest.mark.parametrize("model", [Settings, *GROUPS.values()])
def test_every_setting_has_a_description(model: type[BaseSettings]) -> None:
    """Completeness: the README's table is made of them."""
    assert [name for name, field in model.model_fields.items() if not field.description] == []


def test_every_setting_with_another_prefix_is_explained() -> None:
    """Completeness: the message for the usual prefix names the variable that counts."""
    fields = Settings.model_fields
    assert set(ELSEWHERE) == {
        f"FLOWS_{name.upper()}"
        for name, field in fields.items()
        if field.validation_alias or field.annotation is PostgresSettings
    }


def test_environment_is_put_in_and_taken_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when the block fails; a variable that was there gets its value back."""
    monkeypatch.setenv("PGHOST", "before")
    with pytest.raises(KeyError), environment({"PGHOST": "within", "DBT_THREADS": "2"}):
        os.environ.pop("DBT_NOT_SET")
    with environment({"PGHOST": "within", "DBT_THREADS": "2"}):
        assert (os.environ["PGHOST"], os.environ["DBT_THREADS"]) == ("within", "2")
    assert os.environ["PGHOST"] == "before"
    assert "DBT_THREADS" not in os.environ
