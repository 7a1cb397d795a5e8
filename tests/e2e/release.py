"""The chart installed as a user installs it: helm in, a release out."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from prefect.client.orchestration import SyncPrefectClient

from tests.e2e.kube import Namespace
from tests.fixtures.runs import Runs

REPOSITORY = Path(__file__).parent.parent.parent
CHART = REPOSITORY / "helm"
TIMEOUT = "6m"
NOTED = re.compile(r"^ +(kubectl .* -- flows run .*)$", re.MULTILINE)
Through = Callable[[httpx.BaseTransport], httpx.BaseTransport]


@dataclass(frozen=True)
class Release:
    """One release of the chart, and the values it is installed with."""

    name: str
    namespace: str
    values: Path

    def install(self, image: str, chart: Path = CHART) -> str:
        """Install or upgrade with this image and chart, as the README says; what helm prints."""
        repository, _, tag = image.rpartition(":")
        return self._helm(
            "upgrade",
            "--install",
            self.name,
            str(chart),
            "--values",
            str(self.values),
            "--set",
            f"image.repository={repository},image.tag={tag}",
            "--atomic",
            "--timeout",
            TIMEOUT,
        )

    def in_worker(self, *command: str) -> tuple[int, str]:
        """Run a command in the worker's pod; its exit code and what it printed."""
        worker = f"deploy/{self.name}-flow-of-flows-worker"
        return exits(["kubectl", "--namespace", self.namespace, "exec", worker, "--", *command])

    def rows_on_claim(self, table: str) -> tuple[int, str]:
        """Count the rows of a table that dbt built in DuckDB, as the worker's pod sees them; see `in_worker`."""
        connect = "duckdb.connect('/var/lib/flow-of-flows/warehouse/warehouse.duckdb', read_only=True)"
        count = f"print({connect}.sql('select count(*) from {table}').fetchall()[0][0])"
        return self.in_worker("python", "-c", f"import duckdb; {count}")

    def test(self) -> str:
        """Run the chart's own test."""
        return self._helm("test", self.name, "--timeout", TIMEOUT)

    def uninstall(self) -> str:
        """Remove the release."""
        return self._helm("uninstall", self.name, "--wait", "--timeout", TIMEOUT)

    def manifest(self) -> str:
        """Everything that the release consists of, as YAML."""
        return self._helm("get", "manifest", self.name)

    def _helm(self, *arguments: str) -> str:
        done = subprocess.run(
            ["helm", "--namespace", self.namespace, *arguments], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"helm {arguments[0]} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
        return done.stdout


def exits(command: list[str]) -> tuple[int, str]:
    """Run a command; its exit code and what it printed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def run_noted(notes: str) -> tuple[int, str]:
    """Run the command that the notes of an install print, without their terminal; its exit code and what it printed."""
    (command,) = NOTED.findall(notes)
    return exits(command.replace(" -it ", " ").split())


def values(canaries: dict[str, str], server_url_secret: str) -> str:
    """The values of the end-to-end tests: everything in Postgres, credentials by reference, the loads from snapshots.

    Args:
        canaries: name of the Secret by what it is for: `postgres`, `auth`.
        server_url_secret: name of the Secret with the server's database URL.
    """
    wanted: dict[str, Any] = {
        "prefect": {"auth": {"existingSecret": canaries["auth"], "key": "auth-string"}},
        "server": {"database": {"existingSecret": server_url_secret, "key": "url"}},
        "warehouse": {
            "target": "postgres",
            "postgres": {
                "host": "postgres",
                "user": "postgres",
                "database": "warehouse",
                "existingSecret": canaries["postgres"],
                "key": "password",
            },
        },
        "settings": {"FLOWS_RATES_SOURCE": "snapshot", "FLOWS_CURRENCIES_SOURCE": "snapshot"},
        "worker": {"pollSeconds": 1},
    }
    return json.dumps(wanted, indent=2)


@contextmanager
def connected(
    namespace: Namespace, auth: str | None, release: str = "flows", through: Through = lambda transport: transport
) -> Iterator[Runs]:
    """The release's own Prefect server, through a port of this machine.

    Args:
        namespace: where the release is.
        auth: user and password of its API, as `user:password`.
        release: its name.
        through: what requests go through on their way.
    """
    with (
        namespace.forwarded(f"{release}-flow-of-flows-server", 4200) as port,
        SyncPrefectClient(
            f"http://127.0.0.1:{port}/api",
            auth_string=auth,
            # While kubectl is started again.
            httpx_settings={"transport": through(httpx.HTTPTransport(retries=5))},
        ) as client,
    ):
        yield Runs(api=f"http://127.0.0.1:{port}/api", client=client, patience=400)
