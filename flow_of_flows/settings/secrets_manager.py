"""Where credentials are kept: names of secrets, and the folder and the region they are looked up in."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class SecretsSettings(BaseSettings):
    """Names and places of secrets; never their values. `flow_of_flows.secrets` reads them."""

    model_config = SettingsConfigDict(env_prefix="FLOWS_SECRETS_", env_ignore_empty=True, frozen=True, extra="ignore")

    region: str = Field(
        default="eu-west-1", pattern=r"^[a-z]{2}(-[a-z]+)+-\d$", description="AWS region of Secrets Manager and of S3."
    )
    folder: Path | None = Field(
        default=None, description="Folder of mounted Kubernetes Secrets, looked into before Secrets Manager."
    )
    github: str = Field(
        default="terraform/github-token", min_length=1, description="Secret with the token for git repositories."
    )
    snowflake: str = Field(
        default="dbt/snowflake-credentials", min_length=1, description="Secret with the connection to Snowflake."
    )
    dbt_cloud: str = Field(
        default="dbt-cloud/api-credentials",
        min_length=1,
        description="Secret with token, account and job of dbt Cloud.",
    )
    airbyte: str = Field(
        default="airbyte/api-credentials", min_length=1, description="Secret with the credentials of Airbyte's API."
    )
    slack: str = Field(
        default="slack/webhook", min_length=1, description="Secret with Slack's address, for `flows register`."
    )
    pagerduty: str = Field(
        default="pagerduty/routing-key", min_length=1, description="Secret with the key of PagerDuty's Events API."
    )
