"""What the zygote imports, most urgent first: Prefect, then the hops in the order of the data. Data only.

An entry is a module, or `module:function` to be called once with the warehouse's name. Large imports are split, for
the zygote answers between two entries, not during one.
"""

from __future__ import annotations

PREFECT = (
    "prefect.engine",
    "prefect.flow_engine",
    "prefect._internal.metrics",
    # Imported by Prefect when a flow starts.
    "fastapi",
    "anyio._backends._asyncio",
    "stringprep",
)
PARENTS = ("flows.dispatch.flow", "flows.pipelines.jaffle_shop")
INGEST = (
    "flows.ingest.shop",
    "flows.ingest.exchange_rates",
    "flows.ingest.currencies",
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
    "flows.transform.dbt_core",
    "flows.transform.invoke:preload",
)
SERVE = (
    "flows.serve.dashboards",
    "numpy",
    "PIL.Image",
    "PIL.PngImagePlugin",
    "matplotlib.font_manager",
    "matplotlib.figure",
    "matplotlib.backends.backend_agg",
)
EVERYTHING = PREFECT + PARENTS + INGEST + TRANSFORM + SERVE
