"""Every way into Postgres takes host, user, password and database as values, whatever characters they have."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from psycopg2 import sql

from flow_of_flows.settings import Settings
from flow_of_flows.warehouse.reading import probe, query
from flow_of_flows.warehouse.targets import from_settings
from flows.ingest import shop
from tests.fixtures import dbt_projects
from tests.fixtures.dbt_builds import build
from tests.fixtures.dbt_projects import Place
from tests.fixtures.environment import set_variables
from tests.fixtures.postgres import PostgresDatabase
from tests.fixtures.shop_files import ORDERS, load, put

# What a URL, a keyword string of libpq, YAML or Jinja would each read in another way.
USER, PASSWORD, DATABASE = "we@ird:/user %41#ü", " p@ss:/?#[]%41&='\\\" {{ word }} ", "sh?op&x=1#%41/ b"


@pytest.fixture
def special(postgres_server: PostgresDatabase) -> Iterator[PostgresDatabase]:
    """A database whose user, password and name have special characters, over the server's socket."""
    user, database = sql.Identifier(USER), sql.Identifier(DATABASE)
    with closing(postgres_server.connect()) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(sql.SQL("create role {} login password {}").format(user, sql.Literal(PASSWORD)))
            cursor.execute(sql.SQL("create database {} owner {}").format(database, user))
            yield replace(postgres_server.over_socket, user=USER, password=PASSWORD, database=DATABASE)
            cursor.execute(sql.SQL("drop database {} with (force)").format(database))
            cursor.execute(sql.SQL("drop role {}").format(user))


@pytest.fixture
def settings(special: PostgresDatabase, monkeypatch: pytest.MonkeyPatch) -> PostgresDatabase:
    """The same, as the target of the settings."""
    set_variables(monkeypatch, special.environment())
    return special


def test_loads_take_special_characters(settings: PostgresDatabase, tmp_path: Path) -> None:
    """A load through dlt, and the lock before its first one, connect."""
    folder = put(tmp_path / "in", "raw_orders", ORDERS)
    assert [load(shop.raw_orders, folder).facts["rows_loaded"] for _ in range(2)] == [2, 0]
    assert settings.execute("select count(*) from jaffle_shop.raw_orders") == [(2,)]


def test_builds_take_special_characters(settings: PostgresDatabase, place: Place) -> None:
    """A build of dbt connects."""
    place.use(dbt_projects.CHAIN)
    assert build().summary == "5 dbt nodes: 1 pass, 4 success"
    assert settings.execute("select id from analytics.third") == [(3,)]


def test_queries_take_special_characters(settings: PostgresDatabase) -> None:
    """A dashboard's query and the probe of `flows doctor` connect, and the place is named without the password."""
    target = from_settings(Settings.load())
    assert query(target, "select current_user, current_database()").rows == ((USER, DATABASE),)
    assert probe(target).startswith(f"{USER}@{settings.sockets}:{settings.port}/{DATABASE} (postgres PostgreSQL ")


def test_loads_take_several_hosts(postgres: PostgresDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With several hosts the first that answers is used, as libpq does."""
    set_variables(monkeypatch, replace(postgres, host=f"{tmp_path},{postgres.sockets}").environment())
    assert load(shop.raw_orders, put(tmp_path / "in", "raw_orders", ORDERS)).facts["rows_total"] == 2


def test_an_ipv6_address_is_named_in_brackets(monkeypatch: pytest.MonkeyPatch) -> None:
    """The port is not read as a part of the address."""
    set_variables(monkeypatch, {"DBT_TARGET": "postgres", "PGHOST": "::1", "PGUSER": "a", "PGDATABASE": "b"})
    assert from_settings(Settings.load()).describe() == "a@[::1]:5432/b"
