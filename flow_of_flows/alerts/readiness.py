"""Checks whether alerts would arrive. Sends nothing."""

from __future__ import annotations

import json

import httpx
from prefect.client.orchestration import get_client
from prefect.exceptions import PrefectHTTPStatusError
from prefect.settings import get_current_settings

from flow_of_flows import secrets as credentials
from flow_of_flows.alerts.history import slack_address
from flow_of_flows.errors import ConfigurationError, PlatformError
from flow_of_flows.settings import Settings


async def ready(settings: Settings) -> str:
    """Check that the block with Slack's address and PagerDuty's key exist.

    Raises:
        ConfigurationError: one that is needed is missing.
        PlatformError: the Prefect API or Secrets Manager does not answer.
    """
    alerts, channels = settings.alerts, []
    if alerts.to_slack(settings.environment):
        channels.append(await _slack(settings))
    if alerts.pagerduty:
        credentials.read(settings.secrets.pagerduty, credentials.PagerDutyCredentials, settings.secrets)
        channels.append(f"PagerDuty with {settings.secrets.pagerduty}")
    name = alerts.name(settings.environment)
    return f"{name}: {', '.join(channels)} (nothing was sent)" if channels else f"{name}: nobody is told"


async def _slack(settings: Settings) -> str:
    block = settings.slack_block
    if not get_current_settings().api.url:
        raise ConfigurationError(
            "Slack is to be told, but no Prefect API is set, which has the block with its address",
            location=f"block slack-webhook/{block}",
            hint="set PREFECT_API_URL, or FLOWS_ALERTS_SLACK=false",
        )
    try:
        async with get_client(httpx_settings={"timeout": 5}) as client:
            await slack_address(client, block)
    except (httpx.HTTPError, PrefectHTTPStatusError, json.JSONDecodeError) as error:
        raise PlatformError(
            f"The Prefect API does not say whether there is the block slack-webhook/{block}: {type(error).__name__}",
            hint="see the line of the Prefect API",
        ) from error
    return f"Slack by block slack-webhook/{block}"
