"""The stand-in of AWS behind a forwarded port: a port in, clients out, and what this system expects to find there."""

from __future__ import annotations

import json
from typing import Any

import boto3
from botocore.config import Config

from tests.e2e.standins import PORTS
from tests.fixtures import airbyte
from tests.fixtures.slack_pagerduty import ROUTING_KEY, WEBHOOK

REGION = "eu-west-1"
BUCKET = "your-org-dbt-artifacts"
SECRETS = {
    "airbyte/api-credentials": {
        "client_id": airbyte.CLIENT,
        "client_secret": airbyte.SECRET,
        "connection_id": airbyte.CONNECTION,
        "server_url": f"http://airbyte:{PORTS['airbyte']}{airbyte.PREFIX}",
    },
    "slack/webhook": {"url": f"https://alerts:{PORTS['alerts']}{WEBHOOK}"},
    "pagerduty/routing-key": {"routing_key": ROUTING_KEY},
}


def client(service: str, port: int) -> Any:
    """A boto3 client of the stand-in; a forwarded port is away for as long as kubectl starts again."""
    return boto3.client(
        service,
        endpoint_url=f"http://127.0.0.1:{port}",
        region_name=REGION,
        aws_access_key_id="tests",
        aws_secret_access_key="tests",
        config=Config(retries={"mode": "standard", "total_max_attempts": 10}),
    )


def fill(port: int) -> None:
    """Make the secrets and the bucket."""
    manager = client("secretsmanager", port)
    for name, content in SECRETS.items():
        manager.create_secret(Name=name, SecretString=json.dumps(content))
    client("s3", port).create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
