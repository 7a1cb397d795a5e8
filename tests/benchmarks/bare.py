"""The demo's loads and dbt calls without any orchestration: the yardstick of `tests.benchmarks.demo`.

One process, one thing after the other: the same five loads by the same code, then `dbt source freshness` and
`dbt build` through dbt's own `dbtRunner`. No server, no flow runs, no reports, no dashboards.
"""

from __future__ import annotations

import inspect
import os
import sys

import duckdb

from flow_of_flows.settings import Settings
from flow_of_flows.warehouse.targets import DuckDBTarget, from_settings
from flows.ingest.currencies import currencies
from flows.ingest.exchange_rates import exchange_rates
from flows.ingest.shop import raw_customers, raw_orders, raw_payments


def main() -> None:
    """Load, check, build."""
    settings = Settings.load()
    for child in (raw_customers, raw_orders, raw_payments, exchange_rates, currencies):
        inspect.unwrap(child.fn)()
    target = from_settings(settings)
    os.environ.update(target.dbt_environment())
    if isinstance(target, DuckDBTarget):
        # The profile attaches it, and DuckDB attaches only files that exist; the demo syncs no HubSpot either.
        duckdb.connect(str(target.folder / "hubspot.duckdb")).close()
    from dbt.cli.main import dbtRunner

    folders = ["--project-dir", str(settings.dbt_project), "--profiles-dir", str(settings.dbt_project)]
    folders += ["--target-path", str(settings.home / "target"), "--log-path", str(settings.home / "logs")]
    for command in (["source", "freshness"], ["build"]):
        if not dbtRunner().invoke([*command, *folders]).success:
            sys.exit(1)


if __name__ == "__main__":
    main()
