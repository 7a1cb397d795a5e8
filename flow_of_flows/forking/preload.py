"""What the fork server imports, most urgent first: Prefect, the project, then the libraries in the order of the data.

An entry is a module, or `module:function` to be called once with the warehouse's name. Large imports are split, for
the fork server answers between two entries, not during one.
"""

from __future__ import annotations

from collections.abc import Iterable

PREFECT = (
    "prefect.engine",
    "prefect.flow_engine",
    "prefect._internal.metrics",
    # Imported by Prefect when a flow starts.
    "fastapi",
    "anyio._backends._asyncio",
    "stringprep",
    "tenacity",
)
INGEST = (
    "dlt",
    "duckdb",
    # Imported by dlt when a pipeline runs.
    "dlt.sources.helpers.requests",
    "dlt.destinations.impl.duckdb.duck",
    "dlt.common.libs.sql_alchemy_compat",
    "dlt.common.configuration.plugins",
    "dlt._workspace._plugins",
    "dlt._workspace.cli._plugins",
    "fsspec.implementations.chained",
    "pycountry",
    "pytz",
)
TRANSFORM = (
    "jinja2",
    "dbt_common.events.types",
    "dbt.adapters.factory",
    "dbt.contracts.graph.manifest",
    "dbt.parser.manifest",
    "dbt.cli.main",
    "flow_of_flows.dbt.children",
    "flow_of_flows.dbt.runner:preload",
)
SERVE = (
    "numpy",
    "PIL.Image",
    "PIL.PngImagePlugin",
    "matplotlib.font_manager",
    "matplotlib.figure",
    "matplotlib.backends.backend_agg",
)


def everything(modules: Iterable[str]) -> tuple[str, ...]:
    """Return what the children of a project need, in the order in which a run needs it.

    Args:
        modules: those of the entrypoints in prefect.yaml.
    """
    own = tuple(module for module in modules if not module.startswith("flow_of_flows."))
    return (*PREFECT, "flow_of_flows.dispatch.flow", *own, *INGEST, *TRANSFORM, *SERVE)
