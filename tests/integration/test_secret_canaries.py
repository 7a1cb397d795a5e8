"""Every secret is given a value that is searched for in all output while every system that it is for fails."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from uuid import UUID

import httpx
import pytest
import yaml
from prefect.settings import Settings as PrefectSettings
from pydantic import BaseModel

from flow_of_flows.errors import ConfigurationError
from flow_of_flows.redaction import HIDDEN
from flow_of_flows.secrets import read
from flow_of_flows.secrets.reading import Credentials
from flow_of_flows.settings import SecretsSettings, Settings
from tests import commands
from tests.commands import REPOSITORY, flows
from tests.conditions import eventually
from tests.fixtures import canaries
from tests.fixtures.git_host import GitHost
from tests.fixtures.http_server import Request, Response, responding
from tests.fixtures.pods import Pod


def secrets_of(model: type[BaseModel]) -> Iterator[str]:
    """Yield the variables of a model's secret settings, and of the groups in it."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from secrets_of(kind)
        elif "SecretStr" in str(kind):
            yield f"{model.model_config.get('env_prefix', '')}{name.upper()}"


def test_every_secret_has_a_canary() -> None:
    """Those of the settings, of each system's credentials, of Prefect and of the chart's values."""
    given = canaries.credentials("http://127.0.0.1:9")
    assert {*secrets_of(Settings), *secrets_of(PrefectSettings)} <= set(canaries.VARIABLES)
    for shape in Credentials.__subclasses__():
        secret = {name for name, field in shape.model_fields.items() if "SecretStr" in str(field)}
        fitting = [values for values in given.values() if set(values) <= {*shape.model_fields, "schema"}]
        assert secret <= {key for values in fitting for key in values}, shape.__name__
    chart = yaml.safe_load((REPOSITORY / "helm" / "values.yaml").read_text())
    assert set(canaries.flattened(chart)) == set(canaries.CHART)
    assert set(canaries.CHART.values()) <= set(canaries.VARIABLES)


def test_the_search_finds_every_form_of_a_secret() -> None:
    """A search that finds nothing would let every test below pass."""
    for value in canaries.values():
        basic = base64.b64encode(f"user:{value}".encode()).decode()
        for text in (f"no {value}!", repr(value), json.dumps([value]), basic):
            assert canaries.found_in(text), text
    assert canaries.found_in("password authentication failed for user loader") == set()


Serving = Callable[[], AbstractContextManager[str]]


def answers(status: int, *, content_type: str = "application/json") -> Serving:
    """Serve an address that answers everything with a status, and repeats what it was sent."""

    def respond(asked: Request) -> Response:
        said = f"{asked.method} {asked.path} {dict(asked.headers)} {asked.body.decode(errors='replace')}"
        body = said if content_type == "text/html" else json.dumps({"detail": said, "message": said})
        return Response(status, body.encode(), {"content-type": content_type})

    return lambda: responding(respond)


@contextmanager
def nowhere() -> Iterator[str]:
    """Name an address where nothing listens."""
    yield "http://127.0.0.1:9"


@contextmanager
def without_tls() -> Iterator[str]:
    """Name an address of https where plain http is spoken."""
    with answers(200)() as address:
        yield address.replace("http://", "https://")


FAULTS: dict[str, Serving] = {
    "unreachable": nowhere,
    "no TLS": without_tls,
    "200 malformed": answers(200, content_type="text/html"),
    "400": answers(400),
    "401": answers(401),
    "403": answers(403),
    "404": answers(404),
    "422": answers(422),
    "500": answers(500),
}


def doctor_environment(url: str, git_host: GitHost, fault: str) -> dict[str, str]:
    """Return the variables with which every check looks at a system at one address."""
    address = httpx.URL(url)
    git_host.status = int(fault) if fault.isdigit() else 500
    return {
        **canaries.environment(url),
        "PREFECT_API_URL": f"{url}/api",
        "FLOWS_AIRBYTE_ENABLED": "true",
        "FLOWS_ALERTS_SLACK": "true",
        "FLOWS_ALERTS_PAGERDUTY": "true",
        # The store tries 5xx and no answer again for a minute.
        **({"FLOWS_STATE_STORE": "s3://your-org-dbt-artifacts"} if fault in ("400", "403") else {}),
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "AKIA0",
        "AWS_MAX_ATTEMPTS": "1",
        "FLOWS_REPOSITORY_URL": git_host.url(),
        "FLOWS_REPOSITORY_CA_FILE": str(git_host.certificate),
        "FLOWS_SNOWFLAKE_HOST": address.host,
        "FLOWS_SNOWFLAKE_PORT": str(address.port),
        "FLOWS_SNOWFLAKE_PROTOCOL": address.scheme,
        "FLOWS_SNOWFLAKE_LOGIN_SECONDS": "1",
        "PGHOST": address.host,
        "PGPORT": str(address.port),
        "PREFECT_CLIENT_MAX_RETRIES": "0",
    }


def variants(environment: dict[str, str]) -> dict[str, dict[str, str]]:
    """Return the environment with each warehouse and each kind of credentials."""
    kept = {name: value for name, value in environment.items() if name not in ("AIRBYTE_TOKEN", "SNOWFLAKE_KEY")}
    key = {name: value for name, value in kept.items() if name != "PREFECT_API_AUTH_STRING"}
    return {
        "postgres": {**kept, "DBT_TARGET": "postgres"},
        "snowflake": {
            **key,
            "DBT_TARGET": "snowflake",
            "AIRBYTE_API_CREDENTIALS": environment["AIRBYTE_TOKEN"],
            "DBT_SNOWFLAKE_CREDENTIALS": environment["SNOWFLAKE_KEY"],
        },
    }


@pytest.mark.parametrize(
    ("fault", "variant"),
    [*((fault, "postgres") for fault in FAULTS), *((fault, "snowflake") for fault in ("unreachable", "401", "500"))],
)
def test_no_secret_is_printed_while_every_system_fails(fault: str, variant: str, git_host: GitHost) -> None:
    """`flows doctor` talks to each of them; a server that repeats what it was sent is the worst of them."""
    with FAULTS[fault]() as url:
        ended = flows("doctor", **variants(doctor_environment(url, git_host, fault))[variant])
    assert ended.code in (2, 3)
    assert "dbt Cloud" in ended.out
    assert canaries.found_in(ended.out + ended.err) == set()


@pytest.mark.parametrize("fault", FAULTS)
def test_no_secret_is_printed_by_a_registration_that_fails(fault: str) -> None:
    """The hook's output is printed by helm."""
    with FAULTS[fault]() as url:
        ended = flows("register", "--wait=0", **canaries.environment(url) | {"PREFECT_API_URL": f"{url}/api"})
    assert ended.code in (2, 3)
    assert "error: " in ended.err
    assert canaries.found_in(ended.out + ended.err) == set()


BREAKS = {
    "PREFECT_API_KEY": "c4nary-key\nc4nary-more",
    "PREFECT_API_AUTH_STRING": "admin:c4nary\nc4nary-more",
    "PREFECT_CLIENT_CUSTOM_HEADERS": json.dumps({"X-Edge": "c4nary-edge\n"}),
}
PROCESSES = {
    "register": ["flow_of_flows.cli.app", "register", "--wait=60"],
    "doctor": ["flow_of_flows.cli.app", "doctor"],
    "sweep": ["flow_of_flows.cli.app", "sweep"],
    "worker": ["flow_of_flows.worker", "--pool=flows", "--type=process"],
    "pod": ["flow_of_flows.pod"],
    "server": ["flow_of_flows.server"],
    "prefect": ["flow_of_flows.prefect_command", "deployment", "run", "smoke/smoke"],
}


@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize("variable", BREAKS)
def test_a_value_that_no_header_can_have_ends_every_process_with_a_sentence(variable: str, process: str) -> None:
    """At once, for trying again mends nothing, and without the value."""
    given = commands.environment(PREFECT_API_URL="http://127.0.0.1:9/api", **{variable: BREAKS[variable]})
    command = [sys.executable, "-m", *PROCESSES[process]]
    ended = subprocess.run(command, env=given, capture_output=True, text=True, check=False, timeout=120)
    header = ", X-Edge" if variable == "PREFECT_CLIENT_CUSTOM_HEADERS" else ""
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == (
        f"error: {variable}{header} holds a line break or another character that an HTTP header cannot have. Where: "
        f"environment. Next: write {variable} as one line of printable ASCII characters; a Secret's key, likewise.\n"
    )


def test_the_line_break_that_ends_a_secret_is_no_part_of_it(tmp_path: Path) -> None:
    """An API that knows the credentials without it accepts them: `--from-file` adds one."""
    seen: set[str | None] = set()

    def respond(asked: Request) -> Response:
        seen.add(asked.headers.get("Authorization"))
        return Response(200, b"[]", {"content-type": "application/json"})

    for variable, value in (("PREFECT_API_KEY", "pnu_c4nary\n"), ("PREFECT_API_AUTH_STRING", "admin:c4nary\r\n")):
        with responding(respond) as url:
            flows("sweep", PREFECT_API_URL=f"{url}/api", FLOWS_HOME=str(tmp_path), **{variable: value})
    basic = base64.b64encode(b"admin:c4nary").decode()
    assert seen == {"Bearer pnu_c4nary", f"Basic {basic}"}


def seen(pod: Pod, run: UUID) -> dict[str, str]:
    """Return what the API has of a run for people to read, and what its pod has printed."""
    api = pod.embedded.api
    states = httpx.get(f"{api}/flow_run_states/", params={"flow_run_id": str(run)}).raise_for_status().text
    wanted = {"filter": {"event": {"name": ["leak.happened"]}, "any_resource": {"id": [f"leak.{run}"]}}, "limit": 5}

    def events() -> str | None:
        answer = httpx.post(f"{api}/events/filter", json=wanted).raise_for_status()
        return answer.text if answer.json()["events"] else None

    return {
        "states": states,
        "log": pod.logged(run),
        "artifacts": json.dumps(pod.embedded.artifacts(run)),
        "events": eventually(events, "the event has arrived", within=60),
        "printed": pod.text(),
    }


def test_no_secret_of_a_foreign_exception_leaves_a_pod(pod: Pod, tmp_path: Path) -> None:
    """Neither in a state, the log, an artifact or an event, nor in what the pod prints."""
    secrets = tmp_path / "secrets.json"
    secrets.write_text(json.dumps(sorted(canaries.values())))
    run = pod.run_of("tests.secret_children.leak", file=str(secrets))
    assert pod.start(run, **canaries.environment("http://127.0.0.1:9")).wait(120) == 0
    assert pod.state(run)[0] == "Failed"
    for edge, text in seen(pod, run).items():
        assert HIDDEN in text, edge
        assert [line for line in text.splitlines() if canaries.found_in(line)] == [], edge


@pytest.mark.parametrize("shape", Credentials.__subclasses__())
def test_credentials_that_are_malformed_are_not_printed(
    shape: type[Credentials], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an unknown key, and with a line break inside each value."""
    for values in canaries.credentials("http://h").values():
        if not set(values) <= {*shape.model_fields, "schema"}:
            continue
        broken = {key: f"{value}\n{value}" if isinstance(value, str) else value for key, value in values.items()}
        for wrong in ({**values, "tokn": "c4nary-misspelt"}, {**broken, "tokn": "c4nary-misspelt"}):
            monkeypatch.setenv("SOME_SECRET", json.dumps(wrong))
            with pytest.raises(ConfigurationError) as caught:
                read("some/secret", shape, SecretsSettings())
            assert canaries.found_in(str(caught.value)) == set()
