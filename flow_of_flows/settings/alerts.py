"""Who is told of what: Slack, PagerDuty, and how much. No secret: those are in a Prefect block and in a secret."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from flow_of_flows.settings.choices import Environment, Finished


class AlertSettings(BaseSettings):
    """What the outermost pipeline tells people when it is over."""

    model_config = SettingsConfigDict(env_prefix="FLOWS_ALERTS_", env_ignore_empty=True, frozen=True, extra="ignore")

    slack: bool | None = Field(default=None, description="Tell Slack; unset: in production only.")
    slack_block: str = Field(
        default="slack-webhook",
        pattern=r"^[a-z0-9-]+$",
        description="Name of the Prefect block, of type slack-webhook, that holds Slack's address.",
    )
    pagerduty: bool = Field(default=False, description="Open and resolve PagerDuty incidents, one for each pipeline.")
    pagerduty_url: str = Field(
        default="https://events.pagerduty.com",
        pattern=r"^https://[^/\s@]+$",
        description="PagerDuty's Events API; `https://events.eu.pagerduty.com` for accounts in the EU.",
    )
    finished: Finished = Field(
        default=Finished.ON_FAILURE,
        description="Runs that end well: always, on-change (another end than the run before), or on-failure: not told.",
    )
    warnings: bool = Field(
        default=True, description="Tell Slack of test warnings and stale sources of a run that ends well."
    )
    environment: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,39}$",
        description="Name of this installation in messages and incidents; unset: FLOWS_ENVIRONMENT.",
    )
    seconds: float = Field(
        default=10, ge=1, le=120, description="Longest time that alerts may keep a run from its end."
    )

    def to_slack(self, environment: Environment) -> bool:
        """Whether Slack is told, in this environment."""
        return environment is Environment.PRODUCTION if self.slack is None else self.slack

    def name(self, environment: Environment) -> str:
        """Name of this installation for people."""
        return self.environment or str(environment)
