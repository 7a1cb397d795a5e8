"""The test kit of a project: a pytest plugin with fixtures, and the types of what they return.

    def test_the_forecast(run_child, run_pipeline, duckdb_target):
        assert run_child("weather", city="Rome").facts == {"rows": 1}
        assert run_pipeline("forecast").verdict == "completed"
        assert duckdb_target.rows("select city from forecast") == [("Rome",)]

Install `flow-of-flows[testing]`; pytest finds the plugin by itself (`-p no:flow-of-flows` leaves it out). See
docs/testing.md. Names are imported on first use, so that a session without these fixtures imports nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flow_of_flows.testing.children import ChildResult, RunChild
    from flow_of_flows.testing.faults import FailStep, KillStep, StepFault
    from flow_of_flows.testing.pipelines import PipelineResult, RunPipeline
    from flow_of_flows.testing.warehouse import DuckDBWarehouse

_HOME = {
    "ChildResult": "children",
    "DuckDBWarehouse": "warehouse",
    "FailStep": "faults",
    "KillStep": "faults",
    "PipelineResult": "pipelines",
    "RunChild": "children",
    "RunPipeline": "pipelines",
    "StepFault": "faults",
}
__all__ = [
    "ChildResult",
    "DuckDBWarehouse",
    "FailStep",
    "KillStep",
    "PipelineResult",
    "RunChild",
    "RunPipeline",
    "StepFault",
]


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
