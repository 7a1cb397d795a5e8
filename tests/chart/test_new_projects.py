"""The chart installs every project that `flows init` writes, with the values that come with it."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from flow_of_flows.scaffold.rendering import render as files_of
from tests.chart.render import objects, pods, variables
from tests.fixtures.new_projects import LAYOUTS

DUCKDB = {"DBT_TARGET": "duckdb"}
EXPECTED = {
    "duckdb": DUCKDB,
    "postgres": {"DBT_TARGET": "postgres", "PGHOST": "db.example.com", "PGDATABASE": "acme_data"},
    "snowflake": {"DBT_TARGET": "snowflake"},
    "another adapter": {"DBT_TARGET": "bigquery"},
    "a dbt project with a profile": DUCKDB | {"DBT_PROFILES_DIR": "/project/profiles"},
    "a dbt project without a profile": DUCKDB,
    "a dbt repository": DUCKDB,
    "a dbt project with a profile of another adapter": {"DBT_TARGET": "dev"},
}


@pytest.mark.parametrize("kind", LAYOUTS)
def test_the_values_of_a_new_project_reach_its_pods(kind: str) -> None:
    """Image, work pool and connection; DuckDB's files are on a claim that the chart creates."""
    found = objects(files_of(LAYOUTS[kind][0])[PurePosixPath("values.yaml")])
    pod = pods(found)["Job/flow-run"]
    given = variables(pod)
    assert {name: given.get(name) for name in EXPECTED[kind]} == EXPECTED[kind]
    assert given["FLOWS_WORK_POOL"] == "acme-data"
    assert pods(found)["Deployment/worker"]["containers"][0]["image"] == "acme-data:0.1.0"
    assert any(name.startswith("PersistentVolumeClaim/") for name in found) is (
        EXPECTED[kind]["DBT_TARGET"] == "duckdb"
    )
