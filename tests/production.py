"""daily-pipeline and weekly-full-refresh on this machine as production runs them: `make production`.

Starts the stand-ins of AWS, Airbyte and PagerDuty on loopback, puts the secrets where the flows look for them, and runs
both pipelines with dbt's state in S3, on DuckDB. The exit code is that of the first command that failed, else 0.
Everything is below one folder (FLOWS_HOME, default .flows/production).
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.commands import FLOWS, environment
from tests.fixtures.airbyte import Airbyte, serving
from tests.fixtures.aws import REGION
from tests.fixtures.http_server import listening
from tests.fixtures.hubspot import HUBSPOT, deliver_to
from tests.fixtures.slack_pagerduty import ROUTING_KEY, Both, certified, server

BUCKET = "your-org-dbt-artifacts"
STEPS = (
    # What daily and weekly find in a warehouse that is not new.
    ("run", "weekly-full-refresh", "--only", "currencies"),
    ("run", "daily-pipeline"),
    ("run", "weekly-full-refresh"),
    ("state", "show"),
)


@contextmanager
def aws() -> Iterator[tuple[str, dict[str, Any]]]:
    """Address of moto's server, and clients of its Secrets Manager and S3."""
    import boto3
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing", "region_name": REGION}
    address = f"http://{host}:{port}"
    try:
        yield address, {name: boto3.client(name, endpoint_url=address, **keys) for name in ("secretsmanager", "s3")}
    finally:
        running.stop()


@contextmanager
def alerts(folder: Path) -> Iterator[tuple[Both, Path]]:
    """Slack and PagerDuty with TLS, and the file of their certificate."""
    certificate, key = certified(folder)
    front, both = server(tls=(certificate, key))
    with listening(front):
        yield both, certificate


def main() -> int:
    """Run everything; the exit code of what failed first."""
    from flow_of_flows.warehouse.targets import DuckDBTarget

    home = Path(os.environ.get("FLOWS_HOME", ".flows/production")).absolute()
    target = DuckDBTarget(home / "warehouse", "analytics", 4)
    with ExitStack() as stack:
        address, clients = stack.enter_context(aws())
        airbyte = stack.enter_context(serving(Airbyte(deliver=lambda: deliver_to(target, HUBSPOT, "hubspot"))))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        both, certificate = stack.enter_context(alerts(folder))
        clients["s3"].create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        for name, content in {
            "airbyte/api-credentials": airbyte.credentials,
            "pagerduty/routing-key": {"routing_key": ROUTING_KEY},
        }.items():
            clients["secretsmanager"].create_secret(Name=name, SecretString=json.dumps(content))
        variables = environment(
            FLOWS_HOME=str(home),
            FLOWS_STATE_STORE=f"s3://{BUCKET}",
            FLOWS_AIRBYTE_ENABLED="true",
            FLOWS_RATES_SOURCE="snapshot",
            FLOWS_CURRENCIES_SOURCE="snapshot",
            FLOWS_ENVIRONMENT="production",
            # Slack's address is a block, which `flows register` makes on a server of one's own.
            FLOWS_ALERTS_SLACK="false",
            FLOWS_ALERTS_PAGERDUTY="true",
            FLOWS_ALERTS_PAGERDUTY_URL=both.url,
            SSL_CERT_FILE=str(certificate),
            AWS_ENDPOINT_URL=address,
            AWS_ACCESS_KEY_ID="testing",
            AWS_SECRET_ACCESS_KEY="testing",
        )
        for words in STEPS:
            sys.stdout.write(f"\n$ flows {' '.join(words)}\n")
            sys.stdout.flush()
            code = subprocess.run([FLOWS, *words], env=variables, check=False).returncode
            if code:
                return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
