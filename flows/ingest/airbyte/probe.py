"""Whether HubSpot can be loaded through Airbyte: settings in, a sentence or an error out. Called by `flows doctor`."""

from __future__ import annotations

from flows.credentials import AirbyteCredentials, read
from flows.ingest.airbyte.client import opened
from flows.ingest.airbyte.job import must_be_active
from flows.settings import Settings


def probe(settings: Settings) -> str:
    """Get a token and read the connection; nothing is started.

    Raises:
        ConfigurationError: no secret, wrong credentials, no right to the connection, or it is not active.
        PlatformError: Airbyte is away.
    """
    if not settings.airbyte.enabled:
        return "not enabled: HubSpot is not loaded"
    credentials = read(settings.secrets.airbyte, AirbyteCredentials, settings.secrets)
    with opened(credentials, plain_http=settings.airbyte.plain_http, pauses=()) as airbyte:
        connection = airbyte.connection()
        must_be_active(connection, airbyte.where)
        return f"connection {connection.name} ({connection.status}) on {airbyte.server}"
