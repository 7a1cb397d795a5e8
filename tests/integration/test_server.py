"""The server of a release, over SQLite and over Postgres, as a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from sqlalchemy import MetaData, create_engine
from sqlalchemy.engine import URL

from flow_of_flows.errors import ExitCode
from tests.conditions import eventually
from tests.fixtures.postgres import PostgresDatabase
from tests.fixtures.server import AUTH, answers

DATABASE = "PREFECT_API_DATABASE_CONNECTION_URL"
# Characters that mean something in a URL, a template or a format string.
PASSWORD = "p@ss/w:rd%#?&=+ ${x} %(y)s"


@contextmanager
def serving(folder: Path, **variables: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A server with these variables: its API and its process; its log is in the folder."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "PREFECT_HOME": str(folder),
        # As a Secret that was made with --from-file has it.
        "PREFECT_SERVER_API_AUTH_STRING": f"{':'.join(AUTH)}\n",
        "PREFECT_API_BLOCKS_REGISTER_ON_START": "false",
        "PREFECT_MEMOIZE_BLOCK_AUTO_REGISTRATION": "false",
        **variables,
    }
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "flow_of_flows.server", "--port", str(port)], env=environment, stdout=log, stderr=log
        )
    try:
        yield f"http://127.0.0.1:{port}/api", process
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Its API and its process."""
    with serving(tmp_path) as (api, process):
        eventually(lambda: answers(api), "the server answers", within=150)
        yield api, process


@pytest.fixture
def runs_database(postgres: PostgresDatabase) -> Iterator[PostgresDatabase]:
    """A database with Prefect's tables, owned by a role whose password needs encoding.

    The Postgres of the tests has no pg_trgm, which Prefect's migrations and some of its indexes need.
    """
    postgres.execute(f"create role {postgres.database} login superuser password '{PASSWORD}'")
    url = URL.create(
        "postgresql+psycopg2", postgres.database, PASSWORD, postgres.host, postgres.port, postgres.database
    )
    engine = create_engine(url)
    tables().create_all(engine)
    engine.dispose()
    yield replace(postgres, user=postgres.database, password=PASSWORD)
    postgres.execute(f"reassign owned by {postgres.database} to {postgres.user}", f"drop role {postgres.database}")


def tables() -> MetaData:
    """Prefect's tables without the indexes that need an extension."""
    from prefect.server.database import orm_models

    metadata = MetaData()
    for table in orm_models.Base.metadata.sorted_tables:
        copy = table.to_metadata(metadata)
        for index in [each for each in copy.indexes if each.dialect_options["postgresql"]["using"] == "gin"]:
            copy.indexes.remove(index)
    return metadata


def ready(api: str) -> bool:
    """Whether the server reaches its database."""
    try:
        return httpx.get(f"{api}/ready", auth=AUTH).is_success
    except httpx.TransportError:
        return False


def test_it_takes_runs_created_at_the_same_time_checks_credentials_and_stops(
    server: tuple[str, subprocess.Popen[bytes]],
) -> None:
    """Eight at once, each there once; nobody without the password; SIGTERM ends it."""
    api, process = server
    flow = httpx.post(f"{api}/flows/", json={"name": "child"}, auth=AUTH).json()["id"]

    def create(number: int) -> int:
        run = {"flow_id": flow, "name": f"child-{number}", "state": {"type": "PENDING"}}
        answer = httpx.post(f"{api}/flow_runs/", json=run, auth=AUTH, timeout=60)
        while answer.status_code == 503:
            # The server's own services write, too; Prefect's client comes back as soon as this says.
            assert answer.headers["retry-after"] == "0.1"
            answer = httpx.post(f"{api}/flow_runs/", json=run, auth=AUTH, timeout=60)
        return answer.status_code

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(create, range(8))) == [201] * 8
    assert httpx.post(f"{api}/flow_runs/count", json={}, auth=AUTH).json() == 8
    assert httpx.get(f"{api}/flows/{flow}").status_code == 401
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == -signal.SIGTERM  # uvicorn shuts down, and then ends by the signal it got


@pytest.mark.parametrize(
    "form",
    [
        "postgresql://{user}:{password}@{host}:{port}/{database}?sslmode=prefer",
        "postgres:///{database}?host={sockets}&port={port}&user={user}&password={password}",
    ],
    ids=["tcp", "socket"],
)
def test_a_url_of_postgres_in_libpq_s_form_starts_the_server(
    tmp_path: Path, runs_database: PostgresDatabase, form: str
) -> None:
    """As operators' Secrets have it, with the line break of a file; the password is in no log and no argument."""
    url = form.format(**{**asdict(runs_database), "password": quote(PASSWORD, safe="")})
    variables = {DATABASE: f"{url}&application_name=runs\n", "PREFECT_API_DATABASE_MIGRATE_ON_START": "false"}
    with serving(tmp_path, **variables) as (api, process):
        eventually(lambda: ready(api), "the server reaches Postgres", within=150)
        made: dict[str, Any] = httpx.post(f"{api}/flows/", json={"name": "child"}, auth=AUTH).json()
        arguments = Path(f"/proc/{process.pid}/cmdline").read_text()
        sessions = "select distinct application_name from pg_stat_activity where usename = current_user"
        assert ("runs",) in runs_database.execute(sessions)
    assert runs_database.execute("select id::text, name from flow") == [(made["id"], "child")]
    log = (tmp_path / "server.log").read_text()
    for secret in (PASSWORD, quote(PASSWORD, safe="")):
        assert secret not in log
        assert secret not in arguments


def test_sslmode_is_honoured(tmp_path: Path, postgres: PostgresDatabase) -> None:
    """A server without TLS is refused where the URL requires TLS: the parameter is not just dropped."""
    host = f"{postgres.host}:{postgres.port}"
    url = f"postgresql://{postgres.user}:{postgres.password}@{host}/{postgres.database}?sslmode=require"
    log = tmp_path / "server.log"
    with serving(tmp_path, **{DATABASE: url}) as (_, process):
        process.wait(150)
    assert "rejected SSL upgrade" in log.read_text()
    assert postgres.password not in log.read_text()


def test_a_url_that_the_server_cannot_use_ends_it_with_a_sentence(tmp_path: Path) -> None:
    """What is wrong and what to do, and nothing of the URL."""
    with serving(tmp_path, **{DATABASE: "jdbc:postgresql://app:canary-password@db/x"}) as (_, process):
        assert process.wait(60) == ExitCode.CONFIGURATION
    assert (tmp_path / "server.log").read_text() == (
        "error: The database URL is not one of Postgres or SQLite. Where: server.database of the chart. "
        "Next: write it as postgresql://user:password@host:5432/database; of several keys of an operator's Secret "
        "take the one that begins so (`uri`, say, and not `jdbc-uri`).\n"
    )
