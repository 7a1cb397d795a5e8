"""The dashboard children: marts in, a picture and the tables behind it out. Started through their deployments."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from pydantic import Field

from flow_of_flows import ChildReport, child
from flow_of_flows.delivery import to_results_folder, to_run_page
from flow_of_flows.refresh import Refresh
from flow_of_flows.settings import Settings
from flows.serve import customers, sales

DELIVER = (to_results_folder, to_run_page)


@child("dashboard-customers")
def dashboard_customers() -> ChildReport:
    """Draw lifetime value by country, new and returning customers, and the top customers."""
    return Refresh(customers.NAME, customers.read, customers.make, DELIVER).run(Settings.load())


@child("dashboard-sales")
def dashboard_sales(
    days: Annotated[int, Field(ge=7, le=366)] = 90,
) -> ChildReport:
    """Draw revenue by day with its mean, revenue by payment method, and the change against the period before.

    Args:
        days: length of the period shown, in days up to the last sale.
    """
    return Refresh(sales.NAME, partial(sales.read, length=days), sales.make, DELIVER).run(Settings.load())
