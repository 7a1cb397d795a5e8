"""Warehouses of the cloud, whose adapters are here and whose servers are not: what needs no connection."""

from __future__ import annotations

import asyncio
import json

import pytest

from flow_of_flows.cli.doctor import CHECKS
from flow_of_flows.dbt.arguments import Options
from flow_of_flows.dbt.cancellation import _has_cancel, _has_own
from flow_of_flows.dbt.comparison import plan
from flow_of_flows.dbt.locks.schemas import credentials, written
from flow_of_flows.settings import Settings
from tests.fixtures import dbt_projects
from tests.fixtures.dbt_projects import Place

SECRET = "{{ env_var('DBT_ENV_SECRET_WAREHOUSE') }}"
PROFILES = f"""\
flow_of_flows:
  target: bigquery
  outputs:
    bigquery:
      type: bigquery
      method: service-account
      keyfile: "{{{{ env_var('KEY_FILE') }}}}"
      project: acme
      dataset: analytics
      threads: 2
    redshift:
      type: redshift
      host: dwh.example.com
      port: 5439
      user: loader
      password: "{SECRET}"
      dbname: shop
      schema: analytics
    databricks:
      type: databricks
      host: dwh.example.com
      http_path: /sql/1.0/warehouses/1
      token: "{SECRET}"
      catalog: shop
      schema: analytics
    athena:
      type: athena
      region_name: eu-west-1
      s3_staging_dir: s3://acme-results/loader
      s3_data_dir: s3://acme-data/
      database: awsdatacatalog
      schema: analytics
      aws_secret_access_key: "{SECRET}"
    trino:
      type: trino
      method: ldap
      host: dwh.example.com
      port: 8443
      user: loader
      password: "{SECRET}"
      database: shop
      schema: analytics
"""
MAPPING = {
    "DBT_ENV_SECRET_WAREHOUSE": {"secret": "warehouse/main", "field": "password"},
    "KEY_FILE": {"secret": "warehouse/main", "field": "key", "file": True},
}
# What each is locked by: the adapter's field, and the schemas of its models.
WAREHOUSES = {
    "bigquery": ("bigquery acme", "acme"),
    "redshift": ("redshift dwh.example.com:5439", "shop"),
    "databricks": ("databricks dwh.example.com", "shop"),
    "athena": ("athena eu-west-1", "awsdatacatalog"),
    "trino": ("trino dwh.example.com:8443", "shop"),
}


async def project_check(settings: Settings) -> str:
    """What `flows doctor` says of the project."""
    return await CHECKS["dbt project"](settings)


@pytest.mark.parametrize("name", WAREHOUSES)
def test_a_project_is_parsed_planned_and_examined(place: Place, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """With variables from a secret, and nothing of the adapter's in the settings."""
    project = place.use({**dbt_projects.CHAIN, "profiles.yml": PROFILES})
    monkeypatch.setenv("DBT_TARGET", name)
    monkeypatch.setenv("FLOWS_DBT_SECRETS", json.dumps(MAPPING))
    monkeypatch.setenv("WAREHOUSE_MAIN", json.dumps({"password": "horse-battery-staple", "key": {"type": "none"}}))
    settings = Settings.load()

    found = plan(settings, Options(select="first+"))

    test = "test.tiny.not_null_first_id.1792d32eec"
    assert set(found.nodes) == {"model.tiny.first", "model.tiny.second", "model.tiny.third", test}
    warehouse, database = WAREHOUSES[name]
    locked = written(credentials(), [])
    assert locked.warehouse == warehouse
    assert credentials().database == database
    said = asyncio.run(project_check(settings))
    assert said == f"tiny in {project}, output {name} of profile flow_of_flows ({name})"


@pytest.mark.parametrize("name", WAREHOUSES)
def test_every_adapter_can_cancel(name: str) -> None:
    """One connection, or all of them in a way of its own."""
    from dbt.adapters.factory import FACTORY

    FACTORY.load_plugin(name)
    adapter = FACTORY.get_adapter_class_by_name(name)
    manager = adapter.ConnectionManager
    fake = type("Loaded", (), {"connections": object.__new__(manager)})()
    assert _has_cancel(fake) or _has_own(fake)
