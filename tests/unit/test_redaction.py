"""Redaction: the secrets that a process has read and a foreign text in, the text without them out."""

from __future__ import annotations

import base64
import json
import logging
import os
import re
import sys
from typing import Any
from urllib.parse import quote

import pytest
from pydantic import BaseModel, ValidationError

from flow_of_flows import prefect_requests, redaction
from flow_of_flows.errors import PlatformError
from flow_of_flows.output import guard
from flow_of_flows.redaction import HIDDEN, redact, redact_values, remember, remember_url, too_short
from flow_of_flows.settings.variables import prepare
from tests.commands import REPOSITORY

SECRET = 'p@ss"w\\rd/ä&1'
LINES = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg\nkqhkiG9w0BAQ==\n-----END PRIVATE KEY-----"


@pytest.mark.parametrize(
    "text",
    [
        f"refused: {SECRET}",
        f"refused: {SECRET!r}",
        f"refused: {SECRET.encode()!r}",
        json.dumps({"said": SECRET}),
        json.dumps({"said": SECRET}, ensure_ascii=False),
        json.dumps({"said": json.dumps({"password": SECRET})}),
        f"postgresql://loader:{quote(SECRET, safe='')}@db/shop",
        f"http://h/?password={quote(SECRET)}",
        f"authorization: Basic {base64.b64encode(f'u:{SECRET}'.encode()).decode()}",
        f"authorization: Basic {base64.b64encode(f'us:{SECRET}'.encode()).decode()}",
        f"authorization: Basic {base64.b64encode(f'use:{SECRET}!'.encode()).decode()}",
        base64.b64encode(SECRET.encode()).decode(),
    ],
)
def test_a_secret_is_removed_in_every_form_that_libraries_print(text: str) -> None:
    """Escaped for Python and JSON, encoded for URLs and for Basic authentication with a user of any length."""
    remember(f"{SECRET}\n", "PASSWORD")
    clean = redact(text)
    assert HIDDEN in clean
    for part in (SECRET, SECRET[:8], quote(SECRET, safe="")[:8], base64.b64encode(SECRET.encode()).decode()[4:10]):
        assert part not in clean


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (LINES, HIDDEN),
        (" ".join(LINES.split("\n")), HIDDEN),
        (LINES.replace("\n", "\\n"), HIDDEN),
        ("cannot read kqhkiG9w0BAQ==", f"cannot read {HIDDEN}"),
        ("no line -----BEGIN PRIVATE KEY----- found", "no line -----BEGIN PRIVATE KEY----- found"),
    ],
)
def test_a_secret_of_several_lines_is_removed_whole_and_line_by_line(text: str, expected: str) -> None:
    """What frames a key is not secret."""
    remember(LINES, "PRIVATE_KEY")
    assert redact(text) == expected


def test_a_value_that_pydantic_shortens_is_removed() -> None:
    """The start and the end of a long value are a part of it."""

    class Port(BaseModel):
        number: int

    secret = "canary-" * 12
    remember(secret, "TOKEN")
    with pytest.raises(ValidationError) as caught:
        Port.model_validate({"number": secret})
    assert "canary-canary" in str(caught.value)
    assert "canary" not in redact(str(caught.value))


@pytest.mark.parametrize("short", ["x", "ab", "abcde", " abcde\n"])
def test_a_short_secret_garbles_no_text_and_is_named(short: str) -> None:
    """Its letters are in ordinary words; `flows doctor` warns of it."""
    remember(short, "PGPASSWORD")
    text = "reference.exchange_rates does not exist, abcde"
    assert redact(text) == text
    assert too_short() == ("PGPASSWORD",)


def test_an_empty_secret_is_none() -> None:
    """A variable that is set to nothing, or to a line break."""
    remember("", "A")
    remember("\n", "B")
    assert redact("anything\n") == "anything\n"
    assert too_short() == ()


@pytest.mark.parametrize(
    ("url", "secret"),
    [
        ("postgresql+asyncpg://prefect:canary-7@db:5432/prefect", "canary-7"),
        ("postgresql://prefect:ca%2Fnary%40-7@db/prefect", "ca/nary@-7"),
        ("postgresql://prefect:ca/nary@7@db/prefect", "ca/nary@7"),
        ("postgresql://db/prefect?user=prefect&password=canary-7", "canary-7"),
        ("host=db user=prefect password=canary-7 dbname=prefect", "canary-7"),
        ("http://:canary-7@proxy:3128", "canary-7"),
        ("https://ghp_canary7@github.com/acme/dbt", "ghp_canary7"),
    ],
)
def test_the_password_in_a_url_is_removed_and_the_rest_stays(url: str, secret: str) -> None:
    """As it is written there, and decoded."""
    remember_url(url, "PREFECT_API_DATABASE_CONNECTION_URL")
    assert redact(f"{secret} is refused") == f"{HIDDEN} is refused"
    assert redact(url).count(HIDDEN) == 1
    assert redact("prefect@db:5432 postgresql github.com") == "prefect@db:5432 postgresql github.com"


def test_values_are_redacted_whatever_their_shape() -> None:
    """The body of a request keeps its keys, numbers and order."""
    remember("canary-7", "TOKEN")
    body: dict[str, Any] = {"state": {"message": "no canary-7", "details": ["canary-7", 7, None]}, "force": True}
    assert redact_values(body) == {"state": {"message": "no *****", "details": ["*****", 7, None]}, "force": True}


def test_an_error_says_no_secret() -> None:
    """Neither what happened, nor where, nor what to do."""
    remember("canary-7", "TOKEN")
    error = PlatformError("refused canary-7", location="http://u:canary-7@h", hint="replace canary-7")
    assert str(error) == "refused *****. Where: http://u:*****@h. Next: replace *****."


@pytest.mark.parametrize(
    ("name", "value", "printed"),
    [
        ("PREFECT_API_KEY", "pnu_canary", "pnu_canary"),
        ("PREFECT_API_AUTH_STRING", "admin:canary-7", "canary-7"),
        ("PREFECT_SERVER_API_AUTH_STRING", "admin:canary-7", "canary-7"),
        ("PREFECT_CLIENT_CUSTOM_HEADERS", '{"X-Edge": "Bearer canary-7"}', "canary-7"),
        ("PREFECT_API_DATABASE_CONNECTION_URL", "postgresql://u:canary-7@h/d", "canary-7"),
        ("PREFECT_SERVER_DATABASE_PASSWORD", "canary-7", "canary-7"),
        ("PREFECT_API_URL", "https://u:canary-7@h/api", "canary-7"),
        ("PGPASSWORD", "canary-7", "canary-7"),
        ("AWS_SECRET_ACCESS_KEY", "canary-7", "canary-7"),
        ("AWS_SESSION_TOKEN", "canary-7", "canary-7"),
        ("DBT_ENV_SECRET_ANYTHING", "canary-7", "canary-7"),
        ("DATABRICKS_TOKEN", "canary-7", "canary-7"),
        ("GITHUB_TOKEN", "canary-7", "canary-7"),
        ("https_proxy", "http://u:canary-7@proxy:3128", "canary-7"),
    ],
)
def test_secrets_of_the_environment_are_known_and_lose_their_last_line_break(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, printed: str
) -> None:
    """A Secret made with `--from-file` ends in one."""
    monkeypatch.setenv(name, f"{value}\r\n")
    prepare()
    assert os.environ[name] == value
    assert redact(f"no {printed}.") == f"no {HIDDEN}."


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FLOWS_SECRETS_GITHUB", "terraform/github-token"),
        ("PREFECT_INTEGRATIONS_KUBERNETES_WORKER_API_KEY_SECRET_NAME", "api-credentials"),
        ("PREFECT_INTEGRATIONS_KUBERNETES_WORKER_CREATE_SECRET_FOR_API_KEY", "true"),
        ("GOOGLE_APPLICATION_CREDENTIALS", "/var/run/key.json"),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", "/var/run/secrets/token"),
        ("PGUSER", "loader"),
    ],
)
def test_names_and_places_of_secrets_are_printed(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """A message that says where to look has to stay."""
    monkeypatch.setenv(name, value)
    prepare()
    assert redact(value) == value
    assert name not in too_short()


def test_the_docs_name_the_variables_that_are_redacted_and_those_that_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each ending and each exception of docs/secrets.md, tried."""
    listed = (
        (REPOSITORY / "docs" / "secrets.md").read_text().partition("A secret is\n")[2].partition("\n- each value")[0]
    )
    secret, _, exceptions = listed.partition("Three kinds of variables")
    *endings, beginning = re.findall(r"`([A-Z_]+)`", secret)
    kept = [name.replace("*", "TOKEN") for name in re.findall(r"`([A-Z_]+\*?)`", exceptions)]
    assert (len(endings), beginning, len(kept)) == (12, "DBT_ENV_SECRET_", 3)
    for name in [*(f"MY_{ending}" for ending in endings), f"{beginning}X", *kept]:
        monkeypatch.setenv(name, f"value of {name}")
    prepare()
    assert [name for name in os.environ if redact(f"value of {name}") == HIDDEN] == [
        *(f"MY_{ending}" for ending in endings),
        "DBT_ENV_SECRET_X",
    ]


@pytest.mark.usefixtures("redacted_output")
def test_a_log_record_has_no_secret_whatever_its_handler_does(caplog: pytest.LogCaptureFixture) -> None:
    """Neither its message, nor its arguments, nor the traceback."""
    guard()
    remember("canary-7", "TOKEN")
    try:
        int(b"Bearer canary-7\n")
    except ValueError:
        logging.getLogger("foreign").exception("no %s", "canary-7")
    (record,) = caplog.records
    assert record.getMessage() == "no *****"
    assert record.args == ()
    assert record.exc_info is None
    assert "invalid literal for int() with base 10: b'Bearer *****" in str(record.exc_text)
    assert "canary-7" not in caplog.text


@pytest.mark.usefixtures("redacted_output")
def test_what_is_printed_has_no_secret(capsys: pytest.CaptureFixture[str]) -> None:
    """On either stream, whoever writes to it."""
    guard()
    remember("canary-7", "TOKEN")
    assert sys.stdout.write("to a person: canary-7\n") == len("to a person: canary-7\n")
    sys.stderr.writelines(["error: canary-7\n", "again: canary-7\n"])
    assert sys.stdout.isatty() is False
    assert capsys.readouterr() == ("to a person: *****\n", "error: *****\nagain: *****\n")


def test_a_secret_that_is_a_word_of_prefects_leaves_events_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their names and ids are matched by automations; what people read is redacted."""
    monkeypatch.setattr(redaction, "_process", redaction.Redactor())
    redaction.remember("prefect", "PREFECT_API_AUTH_STRING")
    run = {"prefect.resource.id": "prefect.flow-run.1", "prefect.resource.name": "of prefect"}
    values = {"event": "prefect.kubernetes.pod", "resource": run, "related": [run], "payload": {"said": "prefect"}}
    shown = {"prefect.resource.id": "prefect.flow-run.1", "prefect.resource.name": "of *****"}
    assert prefect_requests.redacted_event(values) == {
        "event": "prefect.kubernetes.pod",
        "resource": shown,
        "related": [shown],
        "payload": {"said": "*****"},
    }
