"""Quick stand-ins for the children of `jaffle-shop`, steered by files; registered by tests/shop.yaml."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from prefect import Flow
from prefect.client.schemas.objects import State

from flow_of_flows.child_flow import child
from flow_of_flows.child_report import ChildReport, Problem
from flow_of_flows.errors import Cause, DataError
from tests.conditions import eventually

# Folder of the files that steer the children: `<child>.bad`, `<child>.hold`; they leave `<child>.started`.
FOLDER = "SHOP_FOLDER"


def _stand_in(name: str) -> Flow[..., State[Any]]:
    @child(name)
    def work(*, source: str | None = None, full_refresh: bool = False, retry_of: str | None = None) -> ChildReport:
        """Stand in for a child.

        Args:
            source: where the rows come from.
            full_refresh: whether to begin anew.
            retry_of: the attempt before.
        """
        folder = Path(os.environ[FOLDER])
        (folder / f"{name}.started").touch()
        hold = folder / f"{name}.hold"
        eventually(lambda: not hold.exists(), f"{hold} goes away", within=120)
        if (folder / f"{name}.bad").exists():
            raise DataError(
                "A row is bad",
                location=f"{name}.csv, line 7",
                hint="correct the row",
                cause=Cause.DATA,
                problems=(Problem(name=f"{name}.csv", status="line 7", message="amount is no number"),),
            )
        facts: dict[str, str | int | float] = {
            "retry_of": str(retry_of),
            "source": str(source),
            "full_refresh": full_refresh,
        }
        return ChildReport(summary=f"did the work of {name}", facts=facts)

    return work


raw_customers = _stand_in("raw-customers")
raw_orders = _stand_in("raw-orders")
raw_payments = _stand_in("raw-payments")
exchange_rates = _stand_in("exchange-rates")
currencies = _stand_in("currencies")
dbt_build = _stand_in("dbt-build")
dashboard_customers = _stand_in("dashboard-customers")
dashboard_sales = _stand_in("dashboard-sales")
