"""What a build locks: the schemas that its nodes write, and the key of their warehouse."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest

from flow_of_flows.dbt.locks.schemas import written
from tests.fixtures.locked_schemas import node, profile


def duckdb(path: object) -> SimpleNamespace:
    """Return what a lock reads of DuckDB's credentials."""
    return SimpleNamespace(type="duckdb", path=str(path), unique_field=str(path))


def test_what_is_locked_is_what_the_nodes_write() -> None:
    """Custom schemas, seeds, snapshots and stored test failures count; views of nothing, analyses and tests do not."""
    nodes = [
        node("model", "analytics"),
        node("model", "inline", materialized="ephemeral"),
        node("seed", "seeds"),
        node("snapshot", "history"),
        node("test", "audit", store_failures=True),
        node("test", "analytics_dbt_test__audit"),
        node("analysis", "scratch"),
    ]
    found = written(profile("db.example.com"), nodes)
    assert found.schemas == {("shop", name) for name in ("analytics", "seeds", "history", "audit")}
    assert str(found) == "analytics, audit, history and 1 more schemas"


def test_failures_that_a_variable_has_dbt_store_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `--store-failures` does."""
    monkeypatch.setenv("DBT_STORE_FAILURES", "true")
    assert written(profile("db"), [node("test", "audit")]).schemas == {("shop", "audit")}


def test_failures_that_a_run_stores_count_where_the_test_says_nothing() -> None:
    """The parameter `store_failures`, and the option of a command."""
    nodes = [node("test", "audit"), node("test", "kept", store_failures=False)]
    assert written(profile("db"), nodes).schemas == set()
    assert written(profile("db"), nodes, stores_failures=True).schemas == {("shop", "audit")}


def test_the_key_is_the_same_for_everybody_who_uses_a_warehouse() -> None:
    """Whatever user, password and spelling of the host; other hosts and ports are other warehouses."""
    one = written(profile("DB.example.com."), [node("model", "Analytics")])
    same = written(profile("db.example.com", user="ci", password="other"), [node("model", "analytics")])
    assert (one.key, one.digests) == (same.key, same.digests)
    assert written(profile("db.example.com", port=5433), []).key != one.key
    assert written(profile("db2.example.com"), []).key != one.key


def test_a_warehouse_with_several_addresses_has_the_name_that_is_set() -> None:
    """So that a forwarded port on a laptop and the host in the cluster are one."""
    assert written(profile("localhost"), [], "shop").key == written(profile("db"), [], "shop").key


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1", "/var/run/postgresql"])
def test_a_server_of_this_machine_is_not_that_of_another(host: str) -> None:
    """The machine's name is a part of its key."""
    assert written(profile(host), []).warehouse == f"postgres {socket.gethostname().lower()}:5432"


def test_a_duckdb_file_is_the_same_wherever_its_folder_is_mounted(tmp_path: Path) -> None:
    """Another file of the same name is another warehouse."""
    (tmp_path / "volume").mkdir()
    (tmp_path / "mount").symlink_to(tmp_path / "volume")
    one, same, other = (written(duckdb(tmp_path / place / "w.duckdb"), []) for place in ("volume", "mount", "else"))
    assert one == same
    assert one.key != other.key
    assert str(one) == "w.duckdb"


def test_motherduck_has_schemas_as_servers_have() -> None:
    """Builds into two of them do not wait for each other."""
    assert written(duckdb("md:shop"), [node("model", "analytics")]).schemas == {("shop", "analytics")}


def test_the_token_of_motherduck_is_not_a_part_of_its_key() -> None:
    """Two people with tokens of their own build into one database in turn."""
    mine, theirs = (written(duckdb(f"md:shop?motherduck_token={name}"), []) for name in ("mine", "theirs"))
    assert mine.key == theirs.key


def test_a_build_in_memory_waits_for_nobody_elsewhere() -> None:
    """Its database is this process's own."""
    assert written(duckdb(":memory:"), []).warehouse.endswith(f":{os.getpid()}")


def test_a_sqlite_file_is_locked_as_a_whole(tmp_path: Path) -> None:
    """One process writes to it at a time, and its adapter calls this machine unique instead."""
    files = {"main": str(tmp_path / "etl.db"), "raw": str(tmp_path / "raw.db")}
    mine, theirs = (
        SimpleNamespace(type="sqlite", schemas_and_paths=files, unique_field=machine) for machine in ("a", "b")
    )
    assert written(mine, [node("model", "main")]) == written(theirs, [node("model", "raw")])
    assert written(mine, []).schemas == {("etl.db", "etl.db")}


def test_the_folder_of_athenas_results_is_not_a_part_of_its_key() -> None:
    """Two people with a folder each write the same schemas of one region."""
    mine, theirs = (
        SimpleNamespace(type="athena", region_name="eu-west-1", unique_field=field) for field in ("mine", "theirs")
    )
    assert written(mine, []).warehouse == written(theirs, []).warehouse == "athena eu-west-1"


@pytest.mark.parametrize("field", [None, NotImplementedError()])
def test_an_adapter_without_a_unique_field_is_known_by_its_connection(field: object) -> None:
    """As `dbt debug` prints it; the schema is a part of what is written, not of the warehouse."""

    class Credentials:
        """Those of an adapter that nobody here has seen."""

        type = "other"

        @property
        def unique_field(self) -> object:
            """The field, or dbt's own refusal."""
            if isinstance(field, Exception):
                raise field
            return field

        def connection_info(self) -> list[tuple[str, object]]:
            """Keys and values without secrets."""
            return [("endpoint", "https://dwh"), ("schema", "analytics")]

    assert written(Credentials(), []).warehouse == "other endpoint=https://dwh"
