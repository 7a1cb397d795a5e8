"""Snowflake as a value: a secret of each kind in, the rendered dbt profile and the connector's arguments out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
import yaml
from dbt.config.profile import Profile
from dbt.config.renderer import ProfileRenderer
from dbt_common.context import set_invocation_context
from pydantic import SecretStr

from flow_of_flows.errors import ConfigurationError
from flow_of_flows.redaction import redact
from flow_of_flows.settings import Settings
from flow_of_flows.warehouse import snowflake_target, targets
from flow_of_flows.warehouse.snowflake_target import SnowflakeTarget
from tests.commands import REPOSITORY
from tests.fixtures import keys
from tests.fixtures.environment import set_variables

SECRET = {"account": "acme-main", "user": "LOADER", "database": "SHOP"}
EVERYTHING = {**SECRET, "role": "TRANSFORMER", "warehouse": "LOADING", "schema": "ANALYTICS"}
# What the profile says whatever the credentials are; those of `EVERYTHING` and a password.
RENDERED = {
    "type": "snowflake",
    "account": "acme-main",
    "user": "LOADER",
    "private_key": "",
    "private_key_passphrase": "",
    "password": "",
    "authenticator": None,
    "workload_identity_provider": None,
    "role": "TRANSFORMER",
    "warehouse": "LOADING",
    "database": "SHOP",
    "host": None,
    "port": 443,
    "protocol": "https",
    "schema": "ANALYTICS",
    "threads": 8,
    "query_tag": '{"app": "flows"}',
    "connect_retries": 2,
    "connect_timeout": 5,
}
KEY = {"private_key": keys.plain()}
ENCRYPTED = {"private_key": keys.encrypted(), "private_key_passphrase": keys.PASSPHRASE}
IDENTITY = {"workload_identity_provider": "AWS"}
# What dbt hands to the connector to log in.
ALWAYS = {"user": "LOADER", "port": 443, "protocol": "https", "reuse_connections": True, "private_key": None}
KINDS: dict[str, tuple[dict[str, str], dict[str, Any], dict[str, Any]]] = {
    "password": ({**EVERYTHING, "password": "p'w\"d"}, {"password": "p'w\"d"}, {"password": "p'w\"d"}),
    "plain key": ({**EVERYTHING, **KEY}, {"private_key": keys.plain().strip()}, {"private_key": keys.der()}),
    "encrypted key": (
        {**EVERYTHING, **ENCRYPTED},
        {"private_key": keys.encrypted().strip(), "private_key_passphrase": keys.PASSPHRASE},
        {"private_key": keys.der()},
    ),
    "workload identity": (
        {**{name: value for name, value in EVERYTHING.items() if name != "user"}, **IDENTITY},
        {"user": "", "authenticator": "workload_identity", "workload_identity_provider": "AWS"},
        {
            "user": None,
            "authenticator": "WORKLOAD_IDENTITY",
            "workload_identity_provider": "AWS",
            "client_store_temporary_credential": True,
            "client_request_mfa_token": True,
        },
    ),
    "defaults of the user": (
        {**SECRET, "password": "p"},
        {"password": "p", "role": None, "warehouse": None, "schema": "analytics"},
        {"password": "p"},
    ),
}


def made(monkeypatch: pytest.MonkeyPatch, secret: Mapping[str, str], **variables: str) -> SnowflakeTarget:
    """The target of a secret."""
    variables = {"DBT_TARGET": "snowflake", "DBT_SNOWFLAKE_CREDENTIALS": json.dumps(secret), **variables}
    set_variables(monkeypatch, variables)
    target = targets.from_settings(Settings.load())
    assert isinstance(target, SnowflakeTarget)
    return target


def rendered(variables: Mapping[str, str]) -> dict[str, Any]:
    """The output that dbt selects of the project's profile, with everything filled in."""
    set_invocation_context(dict(variables))
    raw = yaml.safe_load((REPOSITORY / "docker" / "dbt" / "profiles.yml").read_text())["flow_of_flows"]
    _, output = Profile.render_profile(raw, "flow_of_flows", None, ProfileRenderer({}))
    return dict(output)


@pytest.mark.parametrize("kind", KINDS)
def test_the_profile_fits_every_kind_of_credentials(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole rendered output; the adapter's own parser takes it, and logs in with what the secret holds."""
    secret, differs, logs_in = KINDS[kind]
    output = rendered(made(monkeypatch, secret).dbt_environment())
    assert output == {**RENDERED, **differs}
    parsed = Profile._credentials_from_profile(output, "flow_of_flows", "snowflake")  # noqa: SLF001 - dbt's own door to the adapter's parser
    proof = {name: value for name, value in {**ALWAYS, **logs_in}.items() if value is not None or name == "private_key"}
    assert parsed.auth_args() == proof  # type: ignore[attr-defined]
    assert (parsed.role, parsed.warehouse) == (secret.get("role"), secret.get("warehouse"))  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("secret", "proof"),
    [
        ({**EVERYTHING, "password": "p"}, {"user": "LOADER", "password": "p"}),
        ({**EVERYTHING, **KEY}, {"user": "LOADER", "authenticator": "SNOWFLAKE_JWT", "private_key": keys.der()}),
        ({**EVERYTHING, **ENCRYPTED}, {"user": "LOADER", "authenticator": "SNOWFLAKE_JWT", "private_key": keys.der()}),
        (
            {**{name: value for name, value in EVERYTHING.items() if name != "user"}, **IDENTITY},
            {"authenticator": "WORKLOAD_IDENTITY", "workload_identity_provider": "AWS"},
        ),
    ],
)
def test_the_connector_gets_time_limits_and_one_proof(
    secret: dict[str, str], proof: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole argument list; a key is bytes in memory, never a file."""
    assert made(monkeypatch, secret).connection() == {
        "account": "acme-main",
        "role": "TRANSFORMER",
        "warehouse": "LOADING",
        "database": "SHOP",
        "port": 443,
        "protocol": "https",
        "login_timeout": 20,
        "network_timeout": 300,
        "session_parameters": {"QUERY_TAG": '{"app": "flows"}'},
        "platform_detection_timeout_seconds": 0.0,
        **proof,
    }


@pytest.mark.parametrize(
    ("variables", "schema", "threads"),
    [
        ({}, "ANALYTICS", 8),
        ({"FLOWS_THREADS": "4"}, "ANALYTICS", 4),
        ({"FLOWS_TARGET_SCHEMA": "mine"}, "mine", 8),
    ],
)
def test_settings_come_before_the_secret(
    variables: dict[str, str], schema: str, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight threads and the secret's schema, unless somebody says otherwise."""
    target = made(monkeypatch, {**EVERYTHING, "password": "p"}, **variables)
    assert (target.schema, target.threads) == (schema, threads)


def test_nothing_printed_holds_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the value's own form nor what people read."""
    target = made(monkeypatch, {**EVERYTHING, **ENCRYPTED})
    printed = f"{target!r} {target.describe()}"
    assert keys.PASSPHRASE not in printed
    assert "PRIVATE KEY" not in printed
    assert target.describe() == "LOADER@acme-main/SHOP"
    assert targets.place(Settings.load()) == "Snowflake, as the secret dbt/snowflake-credentials says"


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"database": "my shop"}, "The secret dbt/snowflake-credentials is malformed: database: String should match"),
        ({"schema": 'a"; drop'}, "The secret dbt/snowflake-credentials is malformed: schema: String should match"),
        ({"private_key": "not a key"}, "The private key is not a PEM text"),
        ({"private_key": keys.plain().replace("\n", "\\n")}, "The private key is not a PEM text"),
        ({"private_key": keys.plain()[:400]}, "The private key is not a PEM text"),
        ({"private_key": keys.encrypted()}, "The private key is encrypted, and there is no passphrase"),
        ({"private_key": keys.traditional()}, "The private key is encrypted, and there is no passphrase"),
        (
            {"private_key": keys.encrypted(), "private_key_passphrase": "another"},
            "The private key cannot be decrypted: the passphrase does not fit, or the text is damaged",
        ),
        (
            {"private_key": keys.traditional(), "private_key_passphrase": "another"},
            "The private key cannot be decrypted: the passphrase does not fit, or the text is damaged",
        ),
    ],
)
def test_a_secret_that_cannot_be_used_is_said_before_anything_connects(
    changes: dict[str, str], what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One sentence, and not a word of the secret; the chain of errors has none either."""
    with pytest.raises(ConfigurationError) as caught:
        made(monkeypatch, {**EVERYTHING, **({} if "private_key" in changes else KEY), **changes})
    assert caught.value.message.startswith(what)
    assert caught.value.__cause__ is None
    assert "MII" not in str(caught.value)
    assert "another" not in str(caught.value)


def test_every_form_of_a_key_is_read() -> None:
    """Plain, encrypted, the old form, on one line; a passphrase that a plain key does not need is left alone."""
    word = SecretStr(keys.PASSPHRASE)
    for pem, passphrase in [
        (keys.plain(), None),
        (keys.plain(), word),
        (keys.plain().replace("\n", " "), None),
        (keys.encrypted(), word),
        (keys.traditional(), word),
    ]:
        assert snowflake_target.der(SecretStr(pem), passphrase, where="here") == keys.der()


def test_what_dbt_says_is_scrubbed_of_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a whole, and as dbt's messages are: all its lines on one."""
    made(monkeypatch, {**EVERYTHING, **ENCRYPTED})
    key = keys.encrypted().strip()
    for said in (key, " ".join(key.splitlines()), keys.PASSPHRASE):
        left = redact(f"dbt said {said} and went on")
        assert set(left.removeprefix("dbt said ").removesuffix(" and went on")) <= {"*", " "}
