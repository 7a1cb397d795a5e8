"""Who logs in to Snowflake and what each statement is tagged with, as fakesnow's server saw it."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest

from flow_of_flows import query_tag
from flow_of_flows.dbt.children import dbt_build
from flow_of_flows.errors import ConfigurationError
from flow_of_flows.settings import Settings
from flow_of_flows.warehouse.reading import probe
from flow_of_flows.warehouse.targets import from_settings
from flows.ingest.currencies import currencies
from flows.settings import CurrenciesSource
from tests.fixtures import keys
from tests.fixtures.environment import set_variables
from tests.fixtures.snowflake import SnowflakeDatabase

RUN = query_tag.QueryTag(flow="dbt-build", run=str(uuid4()), pipeline="daily-pipeline", pipeline_run=str(uuid4()))
TAG = {"app": "flows", "flow": RUN.flow, "run": RUN.run, "pipeline": RUN.pipeline, "pipeline_run": RUN.pipeline_run}
ENCRYPTED = {"password": None, "private_key": keys.encrypted(), "private_key_passphrase": keys.PASSPHRASE}
PROOFS: dict[str, tuple[dict[str, str | None], dict[str, str]]] = {
    "password": ({}, {"LOGIN_NAME": "LOADER", "PASSWORD": "loader's password"}),
    "encrypted key": (ENCRYPTED, {"LOGIN_NAME": "LOADER", "AUTHENTICATOR": "SNOWFLAKE_JWT"}),
}


@pytest.fixture
def within_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """The current flow run, as Prefect knows it."""
    monkeypatch.setattr(query_tag, "of_run", lambda: RUN)


def use(snowflake: SnowflakeDatabase, monkeypatch: pytest.MonkeyPatch, **changes: str | None) -> None:
    """Name the database, and change the secret."""
    set_variables(monkeypatch, snowflake.environment(**changes))


def probed() -> Any:
    """The dashboards' and the doctor's way in."""
    probe(from_settings(Settings.load()))


def loaded() -> Any:
    """The way in of dlt."""
    currencies.fn.__wrapped__(source=CurrenciesSource.SNAPSHOT)  # type: ignore[attr-defined]


@pytest.mark.usefixtures("within_a_run")
@pytest.mark.parametrize("kind", PROOFS)
@pytest.mark.parametrize("work", [probed, loaded])
def test_every_way_in_takes_every_kind_of_credentials(
    kind: str, work: Any, snowflake: SnowflakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With role, warehouse, database and query tag; a key is proved by a signed token and never sent."""
    changes, proof = PROOFS[kind]
    use(snowflake, monkeypatch, **changes)
    work()
    for login in snowflake.front.logins:
        assert {name: login[name] for name in proof} == proof
        assert (login["roleName"], login["warehouse"], login["databaseName"]) == (
            "TRANSFORMER",
            "LOADING",
            snowflake.database,
        )
        assert json.loads(login["SESSION_PARAMETERS"]["QUERY_TAG"]) == TAG
        assert "PRIVATE KEY" not in json.dumps(login)


@pytest.mark.usefixtures("within_a_run")
@pytest.mark.parametrize("kind", PROOFS)
def test_dbt_adds_the_node_to_the_query_tag(
    kind: str, snowflake: SnowflakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pipeline, run and node around each model and test; after it the connection's own tag again."""
    changes, proof = PROOFS[kind]
    use(snowflake, monkeypatch, **changes)
    loaded()
    snowflake.front.logins.clear()
    snowflake.front.statements.clear()
    report = dbt_build.fn.__wrapped__(select="stg_currencies", exclude="stg_payments", freshness="off")  # type: ignore[attr-defined]
    assert report.summary.startswith("3 ")
    for login in snowflake.front.logins:
        assert {name: login[name] for name in proof} == proof
        assert json.loads(login["SESSION_PARAMETERS"]["QUERY_TAG"]) == TAG
    tags = [statement for statement in snowflake.front.statements if "query_tag" in statement]
    models = [json.loads(tag.split("'")[1]) for tag in tags]
    node = "model.flow_of_flows.stg_currencies"
    assert models[:2] == [{**TAG, "node": node}, TAG]
    named = {model["node"] for model in models if "node" in model}
    assert {name.split(".")[2] for name in named} == {
        "stg_currencies",
        "unique_stg_currencies_currency",
        "not_null_stg_currencies_currency",
    }


def test_a_workload_identity_is_shown_to_snowflake_alone(
    snowflake: SnowflakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connector gives an identity to Snowflake's own hosts only: a stand-in cannot be logged in to with one."""
    use(snowflake, monkeypatch, password=None, user=None, workload_identity_provider="AWS")
    with pytest.raises(ConfigurationError) as caught:
        probed()
    assert caught.value.message.startswith(
        "The connector refuses the login: 251021: WORKLOAD_IDENTITY requires a recog"
    )
    assert caught.value.location == f"workload identity (AWS)@acme-main/{snowflake.database}"
    assert snowflake.front.logins == []
