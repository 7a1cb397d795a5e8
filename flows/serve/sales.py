"""The numbers of the sales dashboard: marts in, `Sales` out."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from flow_of_flows.delivery import DashboardTable
from flow_of_flows.refresh import EPOCH, Marts

AVERAGE_DAYS = 28

DAYS = """
select revenue_date, number_of_orders, number_of_payments, coalesce(revenue_eur, 0)
from {marts}.daily_revenue
order by revenue_date
"""
# Returned orders are no revenue, as in daily_revenue, so that both parts of the page add up to the same.
METHODS = """
select coalesce(p.payment_method, 'unknown'), count(*), coalesce(sum(p.amount_eur), 0)
from {marts}.payments as p
inner join {marts}.orders as o on p.order_id = o.order_id
where o.status <> 'returned' and date_part('epoch', p.paid_at) >= {start} and date_part('epoch', p.paid_at) < {end}
group by 1
order by 3 desc, 1
"""


@dataclass(frozen=True)
class Day:
    """One day of sales; a day without a payment has zeros."""

    date: dt.date
    orders: int = 0
    payments: int = 0
    revenue: float = 0.0


@dataclass(frozen=True)
class Method:
    """A payment method's part of the period."""

    name: str
    payments: int
    revenue: float


@dataclass(frozen=True)
class Sales:
    """Every day from the first to the last that has a payment, and the methods of the last `length` of them."""

    days: tuple[Day, ...]
    methods: tuple[Method, ...]
    length: int

    @property
    def period(self) -> tuple[Day, ...]:
        """The days shown."""
        return self.days[-self.length :]

    @property
    def before(self) -> tuple[Day, ...]:
        """The period before, of the same length; empty when the history does not reach back that far."""
        before = self.days[-2 * self.length : -self.length]
        return before if len(before) == self.length else ()

    def average(self) -> tuple[float | None, ...]:
        """Per day of the period, mean revenue of the 28 days that end with it; None where the history is shorter."""
        first = len(self.days) - len(self.period)
        return tuple(
            sum(day.revenue for day in self.days[end - AVERAGE_DAYS : end]) / AVERAGE_DAYS
            if end >= AVERAGE_DAYS
            else None
            for end in range(first + 1, len(self.days) + 1)
        )


def read(marts: Marts, length: int) -> Sales:
    """Ask for the days, then for the methods of the last `length` days."""
    found = {row[0]: Day(row[0], int(row[1]), int(row[2]), float(row[3])) for row in marts.ask(DAYS).rows}
    if not found:
        return Sales((), (), length)
    first, last = min(found), max(found)
    calendar = (first + dt.timedelta(days=n) for n in range((last - first).days + 1))
    days = tuple(found.get(date) or Day(date) for date in calendar)
    end = (last - EPOCH).days + 1
    rows = marts.ask(METHODS, start=(end - min(length, len(days))) * 86400, end=end * 86400).rows
    return Sales(days, tuple(Method(str(row[0]), int(row[1]), float(row[2])) for row in rows), length)


def tables(sales: Sales) -> tuple[DashboardTable, ...]:
    """Return the rows behind the picture."""
    methods = DashboardTable(
        "methods",
        "Revenue by payment method",
        ("payment_method", "payments", "revenue_eur"),
        tuple((method.name, method.payments, round(method.revenue, 2)) for method in sales.methods),
    )
    rows = [
        (
            day.date.isoformat(),
            day.orders,
            day.payments,
            round(day.revenue, 2),
            None if mean is None else round(mean, 2),
        )
        for day, mean in zip(sales.period, sales.average(), strict=True)
    ]
    columns = ("date", "orders", "payments", "revenue_eur", "mean_28_days_eur")
    return methods, DashboardTable("days", "Revenue by day, newest first", columns, tuple(reversed(rows)))


def revenue(days: tuple[Day, ...]) -> float:
    """Their sum, EUR."""
    return sum(day.revenue for day in days)


def change(now: float, before: float) -> float | None:
    """Relative change; None when there is nothing to compare with."""
    return now / before - 1 if before > 0 else None
