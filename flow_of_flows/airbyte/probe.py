"""Whether Airbyte can be used: settings in, a sentence or an error out."""

from __future__ import annotations

from flow_of_flows.airbyte.client import opened
from flow_of_flows.airbyte.job import must_be_active
from flow_of_flows.secrets import AirbyteCredentials, read
from flow_of_flows.settings import Settings


def probe(settings: Settings) -> str:
    """Get a token and read the connection; nothing is started.

    Raises:
        ConfigurationError: no secret, wrong credentials, no right to the connection, or it is not active.
        PlatformError: Airbyte is away.
    """
    if not settings.airbyte.enabled:
        return "not enabled (FLOWS_AIRBYTE_ENABLED)"
    credentials = read(settings.secrets.airbyte, AirbyteCredentials, settings.secrets)
    with opened(credentials, plain_http=settings.airbyte.plain_http, pauses=()) as airbyte:
        connection = airbyte.connection()
        must_be_active(connection, airbyte.where)
        return f"connection {connection.name} ({connection.status}) on {airbyte.server}"
