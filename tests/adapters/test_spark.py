"""Spark in dbt's own process (`method: session`); asked for with `make adapters`, since Spark alone is 480 MB."""

from __future__ import annotations

from uuid import UUID

import pytest

from tests.fixtures import dbt_projects
from tests.fixtures.dbt_builds import build, started, stopped, wait_for
from tests.fixtures.dbt_projects import Place

PROFILES = """\
flow_of_flows:
  target: prod
  outputs:
    prod:
      type: spark
      method: session
      host: NA
      schema: analytics
      threads: 1
      server_side_parameters:
        spark.sql.warehouse.dir: "{{ env_var('SPARK_FOLDER') }}/tables"
        spark.driver.extraJavaOptions: "-Dderby.system.home={{ env_var('SPARK_FOLDER') }}/derby"
        spark.driver.memory: 512m
        spark.sql.shuffle.partitions: "1"
        spark.ui.enabled: "false"
"""
SLOW = """\
select id + 1 as id from {{ ref('first') }}
where 0 <= (
    select count(*) from range({{ env_var('PACE') }}) a cross join range({{ env_var('PACE') }}) b where a.id <> b.id
)
"""


@pytest.mark.timeout(600)
def test_a_stopped_build_is_resumed_and_becomes_production(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The adapter cancels nothing in a session; the platform cancels its jobs. What was done is not built again."""
    place.use({**dbt_projects.CHAIN, "models/second.sql": SLOW, "profiles.yml": PROFILES})
    place.home.mkdir(exist_ok=True)
    monkeypatch.setenv("SPARK_FOLDER", str(place.home))
    monkeypatch.setenv("PACE", "10000000")
    with started() as process:
        wait_for(process, "START sql table model analytics.second")
        output = stopped(process, 120)
    assert "dbt was stopped with 3 nodes done; its queries are cancelled" in output

    monkeypatch.setenv("PACE", "1")
    report = build(retry_of=UUID(place.saved_run))

    assert report.summary == "2 dbt nodes: 2 success; resumed after 3 nodes were done already"
    from pyspark.sql import SparkSession

    session = SparkSession.builder.getOrCreate()
    assert [tuple(row) for row in session.sql("select id from analytics.third").collect()] == [(3,)]
    assert build(changed_only=True).summary == "Nothing to build: nothing differs from production"
    session.stop()
