"""A child that says every secret that it has read at every edge of its process; for the canary tests."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from urllib.parse import quote

from prefect import get_run_logger
from prefect.events import emit_event
from prefect.runtime import flow_run

from flow_of_flows import secrets
from flow_of_flows.child_flow import child
from flow_of_flows.child_report import ChildReport
from flow_of_flows.prefect_api import artifacts
from flow_of_flows.secrets.reading import Credentials
from flow_of_flows.settings import Settings

READ: dict[str, type[Credentials]] = {
    "terraform/github-token": secrets.GitHubToken,
    "dbt-cloud/api-credentials": secrets.DbtCloudCredentials,
    "airbyte/api-credentials": secrets.AirbyteCredentials,
    "airbyte/token": secrets.AirbyteCredentials,
    "slack/webhook": secrets.SlackWebhook,
    "pagerduty/routing-key": secrets.PagerDutyCredentials,
    "dbt/snowflake-credentials": secrets.SnowflakeCredentials,
    "snowflake/key": secrets.SnowflakeCredentials,
}


@child("leak")
def leak(file: str) -> ChildReport:
    """Say the secrets of a file in the forms that foreign libraries use, and raise them.

    Args:
        file: JSON list of secret values.
    """
    settings = Settings.load().secrets
    for name, shape in READ.items():
        secrets.read(name, shape, settings)
    text = "\n".join(form for value in json.loads(Path(file).read_text()) for form in _forms(value))
    get_run_logger().warning("A library says %s", text)
    sys.stdout.write(f"{text}\n")
    sys.stderr.write(f"{text}\n")
    artifacts.markdown("leak", text)
    emit_event("leak.happened", resource={"prefect.resource.id": f"leak.{flow_run.id}"}, payload={"said": text})
    raise RuntimeError(text)


def _forms(value: str) -> tuple[str, ...]:
    basic = base64.b64encode(f"user:{value}".encode()).decode()
    header = f"Bearer {value}\n".encode()
    return (value, f"Illegal header value {header!r}", json.dumps({"said": value}), quote(value, safe=""), basic)
