"""Every layout of a dbt profile: where it is, what it is called, and what it asks for; none at all included."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import yaml

from flow_of_flows.cli.doctor import CHECKS
from flow_of_flows.dbt import connection
from flow_of_flows.dbt.arguments import Options
from flow_of_flows.dbt.comparison import plan
from flow_of_flows.errors import ConfigurationError, FlowsError, PlatformError
from flow_of_flows.settings import Settings
from flow_of_flows.warehouse import targets
from flow_of_flows.warehouse.targets import PostgresTarget
from tests.fixtures import dbt_projects, keys
from tests.fixtures.dbt_builds import build, built, execute
from tests.fixtures.dbt_projects import Place
from tests.fixtures.environment import set_variables
from tests.fixtures.postgres import PostgresDatabase
from tests.fixtures.snowflake import ACCOUNT, ROLE, USER, WAREHOUSE, SnowflakeDatabase

MODEL = {"models/a.sql": "select '{{ target.name }}' as built_in"}
PLAIN = """\
flow_of_flows:
  target: dev
  outputs:
    dev: {type: duckdb, path: dev.duckdb, schema: draft}
    prod: {type: duckdb, path: prod.duckdb, schema: live}
"""
JINJA = """\
team:
  target: "{{ env_var('WHERE') | lower }}"
  outputs:
    dev: {type: "{{ env_var('KIND', 'duckdb') }}", path: "{{ env_var('FILE', 'dev') }}.duckdb", schema: draft}
    prod: {type: duckdb, path: "{{ env_var('FILE', 'prod') }}.duckdb", schema: "{{ env_var('SCHEMA') }}"}
    broken: {type: duckdb, path: "{{ env_var('NOBODY_SETS_IT') }}"}
"""
FORMS = {
    "plain": (PLAIN, dbt_projects.PROJECT),
    "Jinja": (JINJA, dbt_projects.PROJECT.replace("flow_of_flows", "\"{{ env_var('WHOSE') }}\"")),
}
PLACES = ("FLOWS_DBT_PROFILES_DIR", "DBT_PROFILES_DIR", "project", "around", "home")


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A home of the test, without ~/.dbt, and a folder around the dbt project without a profile."""
    folder = tmp_path / "person"
    (tmp_path / "around").mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("FLOWS_PROJECT", str(tmp_path / "around"))
    return folder


def without_profile(place: Place, files: dict[str, str] = MODEL) -> Path:
    """Write a project without profiles.yml."""
    folder = place.use(files)
    (folder / "profiles.yml").unlink()
    return folder


def lay_out(where: str, text: str, place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Write a profiles.yml into one of the places that dbt looks in; return the file."""
    folders = {"project": place.project, "around": tmp_path / "around", "home": tmp_path / "person" / ".dbt"}
    folder = folders.get(where, tmp_path / where)
    folder.mkdir(parents=True, exist_ok=True)
    if where not in folders:
        monkeypatch.setenv(where, str(folder))
    file = folder / "profiles.yml"
    file.write_text(text)
    return file


def read(place: Place) -> targets.Output:
    """What dbt would connect with."""
    return targets.for_dbt(Settings.load(), place.project)


def doctor(check: str) -> str:
    """What `flows doctor` says on one line."""

    async def run() -> str:
        return await CHECKS[check](Settings.load())

    return asyncio.run(run())


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("where", PLACES)
def test_every_place_form_and_target(
    where: str, form: str, place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Adapter, file and schema are those of dbt's own reading, and nothing of the settings is in it."""
    text, own = FORMS[form]
    without_profile(place, {**MODEL, "dbt_project.yml": own})
    file = lay_out(where, text, place, monkeypatch, tmp_path)
    set_variables(monkeypatch, {"WHOSE": "team", "WHERE": "DEV", "SCHEMA": "live"})
    for target, name in ((None, "dev"), ("dev", "dev"), ("prod", "prod")):
        if target:
            monkeypatch.setenv("DBT_TARGET", target)

        found = read(place)

        assert (found.name, found.adapter, found.chosen.profile.file) == (name, "duckdb", file)
        assert (found.file, found.schema) == (place.project / f"{name}.duckdb", "live" if name == "prod" else "draft")
        assert (found.known, found.profiles_folder(tmp_path)) == (None, file.parent)


def test_the_nearer_place_counts(place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In dbt's order: what a variable names, the project, the folder around it, and home."""
    without_profile(place)
    files = {where: lay_out(where, PLAIN, place, monkeypatch, tmp_path) for where in PLACES}
    for where, file in files.items():
        assert read(place).chosen.profile.file == file
        file.unlink()
        if where.endswith("DIR"):
            monkeypatch.delenv(where)

    assert read(place).chosen.profile.file is None


@pytest.mark.parametrize("where", ["FLOWS_DBT_PROFILES_DIR", "around"])
def test_a_build_takes_the_profile_from_outside(
    where: str, place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Exact rows, in the place that the profile says, and nothing in the warehouse of the settings."""
    folder = without_profile(place)
    lay_out(where, PLAIN, place, monkeypatch, tmp_path)

    build()

    assert execute(folder / "dev.duckdb", "select * from draft.a") == [("dev",)]
    assert not place.warehouse.exists()


def test_a_project_without_profile_is_read_by_every_command(place: Place) -> None:
    """Plan, doctor and a build take the generated profile, under the name that dbt_project.yml has; no file is left."""
    folder = without_profile(place, {**MODEL, "models/b.sql": "select * from raw_orders.main.orders"})
    execute(place.home / "warehouse" / "raw_orders.duckdb", "create table orders as select 7 as id")

    assert set(plan(Settings.load(), Options()).nodes) == {"model.tiny.a", "model.tiny.b"}
    assert doctor("dbt profile") == (
        "output duckdb of profile flow_of_flows (duckdb) in profile generated from the settings"
    )
    assert doctor("dbt variables") == "settings: DBT_DUCKDB_FOLDER, DBT_SCHEMA, DBT_THREADS"
    assert doctor("target") == f"{place.warehouse} (dbt-build will make it)"
    assert doctor("dbt project") == f"tiny in {folder}"
    build()

    assert built(place) == {"a": [("duckdb",)], "b": [(7,)]}
    assert build(changed_only=True).summary == "Nothing to build: nothing differs from production"
    assert sorted(path.name for path in folder.iterdir()) == ["dbt_project.yml", "models"]


def test_a_project_without_profile_builds_in_postgres(
    place: Place, monkeypatch: pytest.MonkeyPatch, postgres: PostgresDatabase, tmp_path: Path
) -> None:
    """With the connection of PG*; the file that dbt reads has the names of variables only."""
    without_profile(place)
    set_variables(monkeypatch, {**postgres.environment(), "FLOWS_TARGET_SCHEMA": "marts"})

    build()

    assert postgres.execute("select * from marts.a") == [("postgres",)]
    found = read(place)
    assert isinstance(found.known, PostgresTarget)
    text = (found.profiles_folder(tmp_path) / "profiles.yml").read_text()
    assert postgres.password not in text
    assert yaml.safe_load(text)["flow_of_flows"]["outputs"]["postgres"]["password"] == (
        "{{ env_var('DBT_ENV_SECRET_PGPASSWORD') }}"
    )
    assert doctor("target").startswith(f"{postgres.user}@127.0.0.1:{postgres.port}/{postgres.database} (postgres ")


@pytest.mark.parametrize("kind", ["password", "key pair"])
def test_a_project_without_profile_builds_in_snowflake(
    place: Place, monkeypatch: pytest.MonkeyPatch, snowflake: SnowflakeDatabase, kind: str
) -> None:
    """With what the secret says: schema, and a password or an encrypted key."""
    key = {"password": None, "private_key": keys.encrypted(), "private_key_passphrase": keys.PASSPHRASE}
    without_profile(place)
    set_variables(monkeypatch, snowflake.environment(**(key if kind == "key pair" else {})))

    build()

    proof = "SNOWFLAKE_JWT" if kind == "key pair" else None
    assert {login.get("AUTHENTICATOR") for login in snowflake.front.logins} == {proof}
    assert snowflake.execute("select * from analytics.a") == [("snowflake",)]
    sources = read(place).supplied.origins(read(place).chosen.asked)
    assert set(sources.values()) == {"secret dbt/snowflake-credentials", "settings"}
    assert sources["DBT_SCHEMA"] == "secret dbt/snowflake-credentials"


def test_a_generated_profile_has_no_other_target(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence names those that there are."""
    without_profile(place)
    monkeypatch.setenv("DBT_TARGET", "prod")

    with pytest.raises(ConfigurationError) as refused:
        build()

    assert refused.value.fact == (
        "dbt refused the project: The profile 'flow_of_flows' does not have a target named 'prod', only duckdb, "
        "postgres, snowflake. Where: profile generated from the settings."
    )


def test_the_profiles_of_a_person_are_about_other_projects(
    place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A ~/.dbt/profiles.yml without the project's profile is as none; elsewhere it is refused as dbt refuses it."""
    without_profile(place)
    other = PLAIN.replace("flow_of_flows", "other")
    lay_out("home", other, place, monkeypatch, tmp_path)
    assert read(place).chosen.profile.file is None

    file = lay_out("project", other, place, monkeypatch, tmp_path)
    with pytest.raises(ConfigurationError) as refused:
        build()
    assert refused.value.fact == (
        f"dbt refused the project: Could not find profile named 'flow_of_flows'. Where: {file}."
    )


def test_an_output_called_like_its_adapter_is_what_the_profile_says(
    place: Place, monkeypatch: pytest.MonkeyPatch, postgres: PostgresDatabase
) -> None:
    """A name does not make the connection that of the settings, which lead nowhere here."""
    own = f"""\
flow_of_flows:
  outputs:
    duckdb: {{type: duckdb, path: own.duckdb, schema: "{{{{ env_var('DBT_SCHEMA', 'mine') }}}}"}}
    postgres:
      {{type: postgres, host: 127.0.0.1, port: {postgres.port}, user: {postgres.user}, dbname: {postgres.database},
       password: "{{{{ env_var('OWN_PASSWORD') }}}}", schema: "{{{{ env_var('DBT_SCHEMA', 'mine') }}}}"}}
"""
    folder = place.use({**MODEL, "profiles.yml": own})
    set_variables(monkeypatch, {"PGHOST": "nowhere.invalid", "OWN_PASSWORD": postgres.password})
    for target in ("duckdb", "postgres"):
        monkeypatch.setenv("DBT_TARGET", target)
        build()

    assert execute(folder / "own.duckdb", "select * from mine.a") == [("duckdb",)]
    assert postgres.execute("select * from mine.a") == [("postgres",)]
    assert not place.warehouse.exists()
    assert doctor("target") == "output postgres of profile flow_of_flows (postgres) answers"
    monkeypatch.setenv("DBT_SCHEMA", "theirs")
    assert read(place).schema == "theirs"


def test_snowflake_without_the_secret_of_the_platform(
    place: Place, monkeypatch: pytest.MonkeyPatch, snowflake: SnowflakeDatabase
) -> None:
    """A profile whose variables the environment has does not need the secret, whatever the output is called."""
    own = f"""\
flow_of_flows:
  target: snowflake
  outputs:
    snowflake:
      {{type: snowflake, account: "{{{{ env_var('DBT_SNOWFLAKE_ACCOUNT') }}}}", user: {USER}, role: {ROLE},
       password: "{{{{ env_var('DBT_ENV_SECRET_SNOWFLAKE_PASSWORD') }}}}", warehouse: {WAREHOUSE},
       database: {snowflake.database}, schema: own, host: 127.0.0.1, port: {snowflake.port}, protocol: http}}
"""
    place.use({**MODEL, "profiles.yml": own})
    set_variables(
        monkeypatch, {"DBT_SNOWFLAKE_ACCOUNT": ACCOUNT, "DBT_ENV_SECRET_SNOWFLAKE_PASSWORD": "their own password"}
    )

    build()

    assert snowflake.execute("select * from own.a") == [("snowflake",)]
    assert read(place).place == f"127.0.0.1 {ACCOUNT} {snowflake.database} own"


def test_every_variable_without_a_value_is_named(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of the output that counts, in one sentence, with where they were looked for; one of another output is not."""
    text = """\
flow_of_flows:
  outputs:
    default:
      type: duckdb
      path: "{{ env_var('FOLDER') }}/{{ env_var('FILE') | upper }}.duckdb"
      threads: "{{ env_var('MANY') | as_number }}"
      settings: {s3_region: "{{ env_var('REGION', 'eu') }}", list: ["{{ env_var('DBT_ENV_SECRET_KEY') }}"]}
    other: {type: duckdb, path: "{{ env_var('OTHER') }}"}
"""
    folder = place.use({**MODEL, "profiles.yml": text})
    monkeypatch.setenv("FOLDER", ".")

    with pytest.raises(ConfigurationError) as refused:
        build()

    assert str(refused.value) == (
        "The environment variables FILE, MANY and DBT_ENV_SECRET_KEY are not set, and the profile has no default for "
        f"them. Where: {folder}/profiles.yml, output default; looked in the environment, FLOWS_DBT_SECRETS and the "
        "platform's settings. Next: set FILE, MANY and DBT_ENV_SECRET_KEY, or give env_var a default as its second "
        "argument."
    )
    with pytest.raises(FlowsError, match=r"^The environment variables FILE, MANY and DBT_ENV_SECRET_KEY"):
        doctor("dbt profile")


def test_further_variables_of_a_session_count_before_the_settings(place: Place) -> None:
    """What comes from secrets is what the profile gets."""
    place.use({**MODEL, "profiles.yml": PLAIN.replace("draft", "\"{{ env_var('DBT_SCHEMA') }}\"")})

    found = targets.for_dbt(Settings.load(), place.project, {"DBT_SCHEMA": "given"})

    assert found.schema == "given"
    assert found.supplied.origins(found.chosen.asked) == {"DBT_SCHEMA": "FLOWS_DBT_SECRETS"}


def test_doctor_says_why_dbt_cannot_connect(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the adapter's own words and in a bounded time; a value of a variable is not among them."""
    own = "{type: postgres, host: 127.0.0.1, port: 9, user: u, dbname: d, schema: s, password: \"{{ env_var('P') }}\"}"
    place.use({**MODEL, "profiles.yml": f"flow_of_flows: {{target: prod, outputs: {{prod: {own}}}}}"})
    monkeypatch.setenv("P", "a secret word")

    with pytest.raises(PlatformError) as refused:
        doctor("target")
    with pytest.raises(PlatformError) as slow:
        connection.probe(read(place), seconds=0.01)

    said = 'dbt cannot connect: Database Error connection to server at "127.0.0.1", port 9 failed: Connection refused'
    assert refused.value.message.startswith(said)
    assert refused.value.location == "output prod of profile flow_of_flows (postgres)"
    assert "a secret word" not in str(refused.value)
    assert slow.value.message == "The warehouse did not answer dbt within 0.01 s"
    assert doctor("dbt variables") == "environment: P"


def test_a_file_of_duckdb_in_use_is_not_taken_from_its_build(place: Place) -> None:
    """Doctor reads it only, and says which one it is."""
    folder = place.use({**MODEL, "profiles.yml": PLAIN})
    assert doctor("target") == (
        f"output dev of profile flow_of_flows (duckdb): {folder}/dev.duckdb (dbt-build will make it)"
    )
    execute(folder / "dev.duckdb", "select 1")

    assert doctor("target") == f"output dev of profile flow_of_flows (duckdb): {folder}/dev.duckdb"
