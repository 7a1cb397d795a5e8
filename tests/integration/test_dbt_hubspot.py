"""HubSpot's models of the baked project: built by the real dbt where HubSpot is loaded, and not there otherwise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from pydantic import SecretStr

from flow_of_flows.warehouse.targets import DuckDBTarget, PostgresTarget
from tests.fixtures.dbt_commands import Command, Left, copy_project, run_dbt
from tests.fixtures.hubspot import HUBSPOT, Rows, deliver_to, statements
from tests.fixtures.postgres import PostgresDatabase
from tests.fixtures.raw_tables import SHOP
from tests.fixtures.snowflake import SnowflakeDatabase

ENABLED = {"DBT_HUBSPOT_ENABLED": "true", "DBT_HUBSPOT_SCHEMA": "crm"}
SELECT = ("--select", "path:models/hubspot")
Query = Callable[[str], list[tuple[Any, ...]]]
DAY = datetime.fromisoformat("2026-11-20 08:00:00")
DEALS = "deal_id, deal_name, status, amount, currency, company_name, number_of_contacts, number_of_customers, closed_at"


@dataclass(frozen=True)
class Place:
    """How to write HubSpot's tables, how to read, and dbt's variables."""

    write: Callable[[Mapping[str, Rows]], object]
    query: Query
    environment: Mapping[str, str]


@pytest.fixture(params=["duckdb"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty warehouse; DuckDB where nothing else is said."""
    if request.param == "duckdb":
        target = DuckDBTarget(tmp_path / "warehouse", "analytics", 4)
        SHOP.write_duckdb(target.folder)

        def query(sql: str) -> list[tuple[Any, ...]]:
            with duckdb.connect(str(target.file)) as connection:
                connection.execute(f"attach '{target.raw_file('hubspot')}' as hubspot (read_only)")
                return connection.execute(sql).fetchall()

        return Place(lambda tables: deliver_to(target, tables, "crm"), query, target.dbt_environment())
    if request.param == "snowflake":
        database: SnowflakeDatabase = request.getfixturevalue("snowflake")

        def write(tables: Mapping[str, Rows]) -> None:
            for statement in statements(tables, "crm", "variant"):
                database.execute(statement.replace("timestamptz", "timestamp_tz"))

        return Place(write, database.execute, database.dbt_environment())
    server: PostgresDatabase = request.getfixturevalue("postgres")
    found = PostgresTarget(
        server.host, server.port, server.user, SecretStr(server.password), server.database, "analytics", threads=4
    )
    return Place(lambda tables: deliver_to(found, tables, "crm"), server.execute, found.dbt_environment())


def built(place: Place, folder: Path) -> list[Left]:
    """A build of HubSpot's models, twice, and the look at its sources; no deprecated spelling."""
    commands = [Command(["deps"]), Command(["build", *SELECT]), Command(["build", *SELECT])]
    freshness = Command(["source", "freshness", "--select", "source:hubspot"])
    return run_dbt(copy_project(folder), {**place.environment, **ENABLED}, *commands, freshness)[1:]


@pytest.mark.parametrize("place", ["duckdb", "postgres", "snowflake"], indirect=True)
def test_deals_have_their_company_and_count_their_people(place: Place, tmp_path: Path) -> None:
    """What HubSpot has deleted is left out; a deal without company, people or amount is in it."""
    place.write(HUBSPOT)
    first, again, fresh = built(place, tmp_path)
    for build in (first, again):
        assert build.exception == ""
        statuses = build.statuses()
        assert set(statuses.values()) == {"success", "pass"}, build.output
        assert sum(name.startswith("model.") for name in statuses) == 6
        assert sum(name.startswith("unit_test.") for name in statuses) == 1
    assert place.query(f"select {DEALS} from analytics.deals order by 1") == [
        ("31", "Engine no. 1", "won", Decimal("1200.50"), "EUR", "Analytical Engines", 2, 1, DAY.replace(day=21)),
        ("32", "Compiler", "open", Decimal("800.00"), "USD", "Compilers", 0, 0, None),
        ("33", "Nobody's", "lost", None, None, None, 0, 0, DAY),
    ]
    assert place.query("select contact_id, full_name from analytics.stg_hubspot_contacts order by 1") == [
        ("11", "Ada Lovelace"),
        ("12", "Grace"),
        ("13", None),
    ]
    assert set(fresh.statuses().values()) == {"pass"}


def test_a_deal_twice_fails_its_test_and_spares_the_mart(place: Place, tmp_path: Path) -> None:
    """Bad data stops before the table that people read."""
    deals = HUBSPOT["deals"]
    place.write({**HUBSPOT, "deals": [*deals, deals[0]]})
    build = built(place, tmp_path)[0]
    statuses = build.statuses()
    failed = [name.rpartition(".")[0] for name, status in statuses.items() if status == "fail"]
    assert failed == ["test.flow_of_flows.unique_stg_hubspot_deals_deal_id"]
    assert statuses["model.flow_of_flows.deals"] == "skipped"


def test_nothing_of_hubspot_is_there_unless_it_is_enabled(place: Place, tmp_path: Path) -> None:
    """The shop's pipelines need no HubSpot; no unit test, source or model of it is left, nor a warning."""
    parse = run_dbt(copy_project(tmp_path), place.environment, Command(["deps"]), Command(["parse"]))[1]
    assert parse.exception == ""
    assert "WARNING" not in parse.output.upper()
    manifest = parse.artifacts["manifest.json"]
    kinds = ("nodes", "sources", "unit_tests", "exposures")
    assert [name for kind in kinds for name in manifest[kind] if "hubspot" in name or name.endswith(".deals")] == []
