"""The baked dbt project tells its readers what is in it: parsed by the real dbt, without a warehouse."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fixtures.dbt_commands import PROJECT, Command, copy_project, run_dbt

KEYS = {
    "customers": "customer_id",
    "orders": "order_id",
    "payments": "payment_id",
    "daily_revenue": "revenue_date",
    "deals": "deal_id",
}
STAGING = [
    *("stg_customers", "stg_orders", "stg_payments", "stg_exchange_rates", "stg_currencies"),
    *("stg_hubspot_contacts", "stg_hubspot_companies", "stg_hubspot_deals"),
    *("stg_hubspot_deal_companies", "stg_hubspot_deal_contacts"),
]
Node = dict[str, Any]


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Node:
    """The project's manifest, with all that can be enabled; a deprecated spelling in the project is an error."""
    project = copy_project(tmp_path_factory.mktemp("manifest"))
    deps, parse = run_dbt(project, {"DBT_HUBSPOT_ENABLED": "true"}, Command(["deps"]), Command(["parse"]))
    assert (deps.exception, parse.exception) == ("", ""), parse.output
    assert (project / "package-lock.yml").read_text() == (PROJECT / "package-lock.yml").read_text()
    found: Node = parse.artifacts["manifest.json"]
    return found


def _of_project(manifest: Node, kind: str) -> dict[str, Node]:
    return {
        node["name"]: node
        for node in manifest["nodes"].values()
        if node["resource_type"] == kind and node["package_name"] == "flow_of_flows"
    }


def test_every_model_and_column_is_described(manifest: Node) -> None:
    """No model, source, macro, exposure or test of logic is without a sentence about it, nor a column of one."""
    described = [
        *_of_project(manifest, "model").values(),
        *manifest["sources"].values(),
        *manifest["exposures"].values(),
        *manifest["unit_tests"].values(),
        *(macro for macro in manifest["macros"].values() if macro["package_name"] in {"flow_of_flows", "money"}),
    ]
    silent = [
        f"{node['unique_id']}.{column['name']}" if column is not node else node["unique_id"]
        for node in described
        for column in [node, *node.get("columns", {}).values()]
        if not column["description"] and "__" not in node["name"]
    ]
    assert silent == []


def test_every_model_has_an_owner(manifest: Node) -> None:
    """Each model belongs to a group with an owner who can be written to."""
    owners = {group["name"]: group["owner"]["email"] for group in manifest["groups"].values()}
    assert {name: owners[model["group"]] for name, model in _of_project(manifest, "model").items()} == dict.fromkeys(
        [*KEYS, *STAGING],
        "analytics-engineering@example.com",
    )


def test_every_mart_has_a_tested_key(manifest: Node) -> None:
    """The key of each mart is unique and never missing."""
    tests = {
        (test["attached_node"].rpartition(".")[2], test["column_name"], test["test_metadata"]["name"])
        for test in _of_project(manifest, "test").values()
    }
    needed = {(mart, key, test) for mart, key in KEYS.items() for test in ("unique", "not_null")}
    assert needed - tests == set()


def test_every_dashboard_is_an_exposure(manifest: Node) -> None:
    """Each dashboard says which marts it reads and who answers for it."""
    assert {
        exposure["label"]: (
            sorted(node.rpartition(".")[2] for node in exposure["depends_on"]["nodes"]),
            exposure["owner"]["email"],
        )
        for exposure in manifest["exposures"].values()
    } == {
        "dashboard-customers": (["customers", "orders"], "analytics-engineering@example.com"),
        "dashboard-sales": (["daily_revenue", "payments"], "analytics-engineering@example.com"),
    }


def test_marts_are_tables_and_staging_models_are_views(manifest: Node) -> None:
    """Dashboards read tables; only orders is built in increments."""
    assert {name: model["config"]["materialized"] for name, model in _of_project(manifest, "model").items()} == {
        "customers": "table",
        "orders": "incremental",
        "payments": "table",
        "daily_revenue": "table",
        "deals": "table",
        **dict.fromkeys(STAGING, "view"),
    }


def test_every_source_has_a_freshness_rule(manifest: Node) -> None:
    """A load that stopped is noticed: each source warns, and then fails; HubSpot may be quiet for long."""
    rules = {
        source["name"]: (source["freshness"]["warn_after"]["count"], source["freshness"]["error_after"]["count"])
        for source in manifest["sources"].values()
    }
    assert rules == {
        "raw_customers": (30, 3),
        "raw_orders": (30, 3),
        "raw_payments": (30, 3),
        "exchange_rates": (30, 3),
        "currencies": (8, 30),
        **dict.fromkeys(("contacts", "companies", "deals"), (4, None)),
    }
