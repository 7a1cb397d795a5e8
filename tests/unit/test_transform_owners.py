"""Owners of dbt nodes, from a manifest that the real dbt parses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dbt.cli.main import dbtRunner

from flow_of_flows.dbt.reports import owners

PROJECT = {
    "dbt_project.yml": "name: shop\nversion: 1.0.0\nprofile: p\nflags: {send_anonymous_usage_stats: false}\n",
    "profiles.yml": "p: {target: t, outputs: {t: {type: duckdb, path: ':memory:'}}}\n",
    "models/own.sql": "select 1 as id",
    "models/grouped.sql": "select 1 as id",
    "models/nobody.sql": "select 1 as id",
    "models/both.sql": "select * from {{ ref('own') }} union all select * from {{ ref('grouped') }}",
    "tests/one.sql": "select * from {{ ref('own') }} where id = 2",
    "tests/two.sql": "select * from {{ ref('own') }} join {{ ref('grouped') }} using (id) where id = 2",
    "models/models.yml": """
groups:
  - {name: finance, owner: {name: Finance, email: finance@example.com}}
  - {name: mail, owner: {email: mail@example.com}}
models:
  - name: own
    config: {meta: {owner: "@ann"}}
    columns: [{name: id, data_tests: [unique, {not_null: {config: {meta: {owner: tester}}}}]}]
  - {name: grouped, config: {group: finance}, columns: [{name: id, data_tests: [unique]}]}
  - {name: both, config: {group: mail}}
unit_tests:
  - {name: case, model: own, given: [], expect: {rows: [{id: 1}]}}
sources:
  - {name: raw, config: {meta: {owner: {name: Loaders}}}, tables: [{name: orders}]}
""",
}


def manifest(folder: Path) -> Any:
    """The project's manifest."""
    for name, text in PROJECT.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    done = dbtRunner().invoke(
        ["--quiet", "parse", "--project-dir", str(folder), "--profiles-dir", str(folder), "--no-partial-parse"]
    )
    assert done.success, done.exception
    return done.result


def test_an_owner_is_the_nodes_own_its_groups_or_that_of_what_it_tests(tmp_path: Path) -> None:
    """What nobody owns, and what tests two models, has none; an unknown id has none."""
    parsed = manifest(tmp_path)
    names = {*parsed.nodes, *parsed.unit_tests, *parsed.sources, "model.shop.gone"}
    found = {name.split(".", 1)[1].removeprefix("shop."): owner for name, owner in owners(parsed, names).items()}
    tests = {name: found.pop(name) for name in sorted(found) if name.startswith(("unique_", "not_null_"))}
    assert found == {
        "own": "@ann",
        "grouped": "Finance",
        "both": "mail@example.com",
        "one": "@ann",
        "own.case": "@ann",
        "raw.orders": "Loaders",
    }
    assert {name.rpartition(".")[0]: owner for name, owner in tests.items()} == {
        "not_null_own_id": "tester",
        "unique_grouped_id": "Finance",
        "unique_own_id": "@ann",
    }
