"""flow-of-flows: dbt pipelines on Prefect and Kubernetes. The public API of a project.

    from flow_of_flows import ChildReport, Step, child, pipeline

    @child("weather")
    def weather(city: str = "Berlin") -> ChildReport: ...

    forecast = pipeline("forecast", Step("weather", parameters={"city": "Rome"}), Step("dbt-build", after="weather"))

Names are imported on first use, so that a pipeline does not import what only a child needs.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flow_of_flows.child_flow import child
    from flow_of_flows.child_report import ChildReport, Problem
    from flow_of_flows.dbt.step import dbt_step
    from flow_of_flows.dispatch.flow import pipeline
    from flow_of_flows.dispatch.pipeline import Choice, Step
    from flow_of_flows.errors import Cause, ConfigurationError, DataError, FlowsError, PlatformError
    from flow_of_flows.runs.outcome import Policy

_HOME = {
    "Cause": "errors",
    "ChildReport": "child_report",
    "Choice": "dispatch.pipeline",
    "ConfigurationError": "errors",
    "DataError": "errors",
    "FlowsError": "errors",
    "PlatformError": "errors",
    "Policy": "runs.outcome",
    "Problem": "child_report",
    "Step": "dispatch.pipeline",
    "child": "child_flow",
    "dbt_step": "dbt.step",
    "pipeline": "dispatch.flow",
}
__all__ = [
    "Cause",
    "ChildReport",
    "Choice",
    "ConfigurationError",
    "DataError",
    "FlowsError",
    "PlatformError",
    "Policy",
    "Problem",
    "Step",
    "child",
    "dbt_step",
    "pipeline",
]


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
