"""FLOWS_DBT_SECRETS: variables of any profile that come from secrets, as values or as files in memory."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flow_of_flows.errors import ConfigurationError, ExitCode
from flow_of_flows.redaction import HIDDEN, redact
from flow_of_flows.settings import Settings
from flow_of_flows.warehouse import dbt_secrets
from tests.commands import flows, refused
from tests.conditions import eventually
from tests.fixtures.dbt_builds import build
from tests.fixtures.dbt_projects import Place
from tests.fixtures.environment import set_variables
from tests.fixtures.postgres import PostgresDatabase

PROFILES = """\
flow_of_flows:
  target: prod
  outputs:
    prod:
      type: postgres
      host: "{{ env_var('WAREHOUSE_HOST') }}"
      port: "{{ env_var('WAREHOUSE_PORT') | int }}"
      user: "{{ env_var('WAREHOUSE_USER') }}"
      password: "{{ env_var('DBT_ENV_SECRET_PASSWORD') }}"
      dbname: "{{ env_var('WAREHOUSE_DATABASE') }}"
      schema: analytics
"""
# One row that shows a variable, and one that shows that the file was there while dbt ran.
MODELS = {
    "models/a.sql": "select '{{ target.user }}' as built_by",
    "dbt_project.yml": """\
name: tiny
version: "1.0"
profile: flow_of_flows
on-run-start: "create table public.seen as select '{{ env_var('KEY_FILE') }}' as path"
""",
}
NAME = "warehouse/main"
PASSWORD = "horse-battery-staple"


def leftovers() -> set[Path]:
    """Folders of files in memory that are there now."""
    return set(Path("/dev/shm").glob("flows-secrets-*"))


def use(monkeypatch: pytest.MonkeyPatch, mapping: object, secret: str | None = None) -> None:
    """Set the mapping, and the secret in the environment."""
    monkeypatch.setenv("FLOWS_DBT_SECRETS", mapping if isinstance(mapping, str) else json.dumps(mapping))
    if secret is not None:
        monkeypatch.setenv("WAREHOUSE_MAIN", secret)


def refusal() -> ConfigurationError:
    """The error of a mapping."""
    with pytest.raises(ConfigurationError) as caught, dbt_secrets.opened(Settings.load()):
        pass
    assert caught.value.exit_code is ExitCode.CONFIGURATION
    return caught.value


def test_a_build_connects_with_the_fields_of_one_secret(
    place: Place, monkeypatch: pytest.MonkeyPatch, postgres: PostgresDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    """As a managed database's secret has them; the password and the key are on no disk, and the file is gone."""
    secret = {
        "username": postgres.user,
        "password": postgres.password,
        "host": postgres.host,
        "port": postgres.port,
        "dbname": postgres.database,
        "key": {"private_key": PASSWORD},
    }
    public = {"WAREHOUSE_HOST": "host", "WAREHOUSE_PORT": "port", "WAREHOUSE_USER": "username"}
    public["WAREHOUSE_DATABASE"] = "dbname"
    mapping: dict[str, object] = {
        variable: {"secret": NAME, "field": field, "redact": False} for variable, field in public.items()
    }
    mapping["DBT_ENV_SECRET_PASSWORD"] = {"secret": NAME, "field": "password"}
    mapping["KEY_FILE"] = {"secret": NAME, "field": "key", "file": True}
    use(monkeypatch, mapping, json.dumps(secret))
    place.use({**MODELS, "profiles.yml": PROFILES})
    # The parse of a test before may have the same password in a model.
    shutil.rmtree(place.home / "dbt", ignore_errors=True)

    build()

    assert postgres.execute("select * from analytics.a") == [(postgres.user,)]
    ((path,),) = postgres.execute("select path from public.seen")
    assert path.endswith("/KEY_FILE")
    assert not Path(path).exists()
    assert not leftovers()
    assert not {*mapping} & {*os.environ}
    for file in (file for file in place.folder.rglob("*") if file.is_file()):
        assert postgres.password.encode() not in file.read_bytes(), file
        assert PASSWORD.encode() not in file.read_bytes(), file
    assert postgres.password not in caplog.text


def test_a_file_is_in_memory_for_its_owner_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the whole text as it is; a field of a name that says so is redacted by itself, too."""
    key = json.dumps(
        {"type": "service_account", "project_id": "acme-data", "private_key": f"a\n{PASSWORD}\n"}, indent=1
    )
    use(monkeypatch, {"GOOGLE_APPLICATION_CREDENTIALS": {"secret": NAME, "file": True}}, key)

    with dbt_secrets.opened(Settings.load()) as variables:
        file = Path(variables["GOOGLE_APPLICATION_CREDENTIALS"])
        assert (file.name, file.read_text()) == ("GOOGLE_APPLICATION_CREDENTIALS", key)
        assert [stat.S_IMODE(path.stat().st_mode) for path in (file, file.parent)] == [0o600, 0o700]
        assert file.parent.parent == Path("/dev/shm")

    assert not leftovers()
    assert redact(f"project acme-data, key {PASSWORD}") == f"project acme-data, key {HIDDEN}"


def test_files_of_a_killed_process_go_with_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of a process that still runs stay."""
    use(monkeypatch, {"KEY_FILE": {"secret": NAME, "file": True}}, PASSWORD)
    hold = (
        "import time; from flow_of_flows.settings import Settings; from flow_of_flows.warehouse import dbt_secrets\n"
        "with dbt_secrets.opened(Settings.load()): time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", hold]) as process:
        eventually(lambda: [file for folder in leftovers() for file in folder.glob("*")] != [], "it has its file")
        with dbt_secrets.opened(Settings.load()):
            assert len(leftovers()) == 2
        (theirs,) = leftovers()
        process.kill()
        process.wait()
    assert theirs.exists()
    with dbt_secrets.opened(Settings.load()):
        assert not theirs.exists()


def test_secrets_manager_and_mounted_secrets_are_asked_as_for_every_secret(
    secrets_manager: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same three places in the same order; numbers and booleans are JSON's text."""
    secrets_manager.create_secret(Name=NAME, SecretString=json.dumps({"port": 5439, "ssl": True, "user": "cloud\n"}))
    mapping = {name.upper(): {"secret": NAME, "field": name, "redact": False} for name in ("port", "ssl", "user")}
    use(monkeypatch, mapping)
    with dbt_secrets.opened(Settings.load()) as variables:
        assert variables == {"PORT": "5439", "SSL": "true", "USER": "cloud"}

    monkeypatch.setenv("FLOWS_SECRETS_FOLDER", str(tmp_path))
    (tmp_path / "warehouse-main").mkdir()
    for name, value in {"port": "5440", "ssl": "false", "user": "mounted\n"}.items():
        (tmp_path / "warehouse-main" / name).write_text(value)
    with dbt_secrets.opened(Settings.load()) as variables:
        assert variables == {"PORT": "5440", "SSL": "false", "USER": "mounted"}


@pytest.mark.parametrize(
    ("secret", "message", "hint"),
    [
        (
            json.dumps({"user": "u", "password": None}),
            "The secret warehouse/main has no field password for the variable DBT_ENV_SECRET_PASSWORD",
            "add the field, or name one of those it has in FLOWS_DBT_SECRETS: password, user",
        ),
        (
            PASSWORD,
            "The secret warehouse/main is not a JSON object, so it has no field password for DBT_ENV_SECRET_PASSWORD",
            "store an object, or leave `field` out of FLOWS_DBT_SECRETS for the whole text",
        ),
        (
            json.dumps({"password": ""}),
            (
                "The secret warehouse/main, password is empty, "
                "and FLOWS_DBT_SECRETS takes the variable DBT_ENV_SECRET_PASSWORD from it"
            ),
            "give it a value, or correct FLOWS_DBT_SECRETS",
        ),
    ],
)
def test_a_secret_without_the_value(monkeypatch: pytest.MonkeyPatch, secret: str, message: str, hint: str) -> None:
    """One sentence with the variable, the secret and the field, and never a value."""
    use(monkeypatch, {"DBT_ENV_SECRET_PASSWORD": {"secret": NAME, "field": "password"}}, secret)
    error = refusal()
    assert (error.message, error.location, error.hint) == (message, "environment variable WAREHOUSE_MAIN", hint)


def test_a_missing_secret(secrets_manager: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The three places, and the setting that names it."""
    del secrets_manager
    use(monkeypatch, {"DBT_ENV_SECRET_PASSWORD": {"secret": NAME, "field": "password"}})
    error = refusal()
    assert error.message == "There is no secret warehouse/main"
    assert error.hint == "create it in one of them, or name another (FLOWS_DBT_SECRETS)"


def test_nothing_starts_in_the_warehouse_without_the_secret(
    place: Place, monkeypatch: pytest.MonkeyPatch, postgres: PostgresDatabase
) -> None:
    """Neither a hook nor a model runs."""
    set_variables(monkeypatch, postgres.environment())
    place.use({"models/a.sql": "select 1 as id", "profiles.yml": PROFILES})
    use(monkeypatch, {"DBT_ENV_SECRET_PASSWORD": {"secret": NAME, "field": "password"}}, "{}")
    with pytest.raises(ConfigurationError):
        build()
    assert postgres.execute("select 1 from information_schema.schemata where schema_name = 'analytics'") == []


@pytest.mark.parametrize(
    ("mapping", "what"),
    [
        ("DBT_PASSWORD=warehouse", "Invalid JSON: expected value at line 1 column 1"),
        ("[]", "Input should be an object"),
        ({"A": "warehouse/main"}, "A: Input should be an object"),
        ({"A": {"field": "password"}}, "A.secret: Field required"),
        ({"A": {"secret": NAME, "key": "password"}}, "A.key: Extra inputs are not permitted"),
        ({"A": {"secret": NAME, "file": "yes"}}, "A.file: Input should be a valid boolean"),
        ({"A": {"secret": ""}}, "A.secret: String should have at least 1 character"),
        ({"A-B": {"secret": NAME}}, "'A-B' is not the name of a variable"),
        ({"DBT_TARGET": {"secret": NAME}}, "DBT_TARGET cannot come from a secret; set it in the environment"),
    ],
)
def test_a_mapping_that_does_not_fit(monkeypatch: pytest.MonkeyPatch, mapping: object, what: str) -> None:
    """The first place that does not fit."""
    use(monkeypatch, mapping)
    with pytest.raises(ConfigurationError) as caught:
        Settings.load()
    assert caught.value.message == f"Setting FLOWS_DBT_SECRETS does not fit: Value error, {what}"


def test_a_command_says_so_in_one_sentence() -> None:
    """On standard error, with exit code 2."""
    assert flows("plan", FLOWS_DBT_SECRETS="{") == refused(
        2,
        "Setting FLOWS_DBT_SECRETS does not fit: Value error, Invalid JSON: EOF while parsing an object at line 1 "
        "column 1. Where: environment. Next: correct FLOWS_DBT_SECRETS or unset it.",
    )


def test_a_machine_without_files_in_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A secret is never written to a disk instead."""
    monkeypatch.setattr(dbt_secrets, "SHARED_MEMORY", tmp_path)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    use(monkeypatch, {"KEY_FILE": {"secret": NAME, "file": True}}, PASSWORD)
    error = refusal()
    assert error.message == "FLOWS_DBT_SECRETS asks for a file for KEY_FILE, and no folder here keeps files in memory"
    assert list(tmp_path.iterdir()) == []
