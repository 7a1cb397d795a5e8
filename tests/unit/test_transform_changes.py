"""What changed since production, as values: selections, reasons, what is not built, and results put together."""

from __future__ import annotations

import json

import pytest

from flow_of_flows.dbt import comparison
from flow_of_flows.dbt.arguments import Options
from flow_of_flows.dbt.results import merged

PARENTS = {
    "model.p.orders": ["source.p.shop.orders"],
    "model.p.customers": ["source.p.shop.customers"],
    "model.p.sales": ["model.p.orders", "model.p.customers"],
    "test.p.unique_sales.1": ["model.p.sales"],
}


def test_every_selected_node_has_its_reason() -> None:
    """Its own code first; else all that it is downstream of, and all that was loaded since."""
    assert comparison.why(PARENTS, {"model.p.customers"}, {"source.p.shop.orders"}, PARENTS) == {
        "model.p.orders": "fresher source shop.orders",
        "model.p.customers": "modified",
        "model.p.sales": "downstream of model customers; fresher source shop.orders",
        "test.p.unique_sales.1": "downstream of model customers; fresher source shop.orders",
    }
    assert comparison.why(["model.p.sales"], (), (), PARENTS) == {"model.p.sales": "selected"}


def test_a_long_list_of_reasons_is_cut() -> None:
    """Three names, and how many more."""
    above = [f"model.p.m{number}" for number in range(5)]
    (reason,) = comparison.why(["model.p.last"], above, (), {"model.p.last": above}).values()
    assert reason == "downstream of model m0, model m1, model m2, and 2 more"


def test_what_is_not_built_is_counted_and_named_up_to_a_bound() -> None:
    """Tests count and are not named."""
    built = [f"model.p.m{number:02}" for number in range(13)] + ["test.p.unique.1", "unit_test.p.m01.u"]
    assert comparison.not_built(built, ["model.p.m00"], "noon") == {
        "not built": 14,
        "not built because": "unchanged since noon",
        "not built, without tests": ", ".join(f"model m{number:02}" for number in range(1, 11)) + ", and 2 more",
    }
    assert comparison.not_built(["model.p.a"], ["model.p.a"], "noon") == {"not built": 0}


@pytest.mark.parametrize(
    ("select", "exclude", "compares"),
    [
        (None, None, False),
        ("orders+", "tag:slow", False),
        ("state:modified+", None, True),
        ("orders", "state:unmodified", True),
        ("result:error+", None, True),
        ("source_status:fresher+", "tag:slow", True),
    ],
)
def test_in_full_is_without_what_compares(select: str | None, exclude: str | None, *, compares: bool) -> None:
    """What a person left out for another reason stays out."""
    options = Options(select=select, exclude=exclude)
    assert comparison.compares(options) is compares
    full = comparison.in_full(options)
    assert not comparison.compares(full)
    assert (full == options) is not compares
    assert full.exclude == (None if exclude == "state:unmodified" else exclude)


def test_results_put_together_have_the_last_of_each_node_that_there_is() -> None:
    """A part of a build over the one before it, and what a retry did over what it went on from."""

    def document(run: str, **statuses: str) -> bytes:
        results = [{"unique_id": name, "status": status} for name, status in statuses.items()]
        return json.dumps({"metadata": {"run": run}, "results": results}).encode()

    layers = [
        document("1", a="success", b="success", gone="success"),
        document("2", b="error"),
        document("3", b="pass"),
    ]
    assert json.loads(merged(layers, {"a", "b"})) == {
        "metadata": {"run": "3"},
        "results": [{"unique_id": "a", "status": "success"}, {"unique_id": "b", "status": "pass"}],
    }
