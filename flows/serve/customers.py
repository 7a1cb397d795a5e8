"""The numbers of the customer dashboard: marts `customers` and `orders` in, `Customers` out."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

from flow_of_flows.delivery import DashboardTable
from flow_of_flows.refresh import EPOCH, Marts

MOST_MONTHS = 24
TOP = 10

COUNTRIES = """
select
    coalesce(country, 'unknown'),
    count(*),
    coalesce(sum(case when number_of_orders > 0 then 1 else 0 end), 0),
    coalesce(sum(case when number_of_orders > 1 then 1 else 0 end), 0),
    coalesce(sum(number_of_orders), 0),
    coalesce(sum(lifetime_value_eur), 0)
from {marts}.customers
group by 1
order by 6 desc, 1
"""
LEADERS = """
select full_name, coalesce(country, 'unknown'), number_of_orders, lifetime_value_eur
from {marts}.customers
where lifetime_value_eur > 0
order by lifetime_value_eur desc, customer_id
limit {top}
"""
# Days since 1970 by UTC, whatever the time zone of the session.
FIRST_ORDERS = """
select floor(date_part('epoch', first_order_at) / 86400), count(*)
from {marts}.customers
where first_order_at is not null
group by 1
"""
ALL_ORDERS = """
select floor(date_part('epoch', ordered_at) / 86400), count(*)
from {marts}.orders
where ordered_at is not null
group by 1
"""


@dataclass(frozen=True)
class Country:
    """The customers of one country (ISO 3166 alpha-2 code)."""

    code: str
    customers: int
    buyers: int
    repeat_buyers: int
    orders: int
    value: float


@dataclass(frozen=True)
class Leader:
    """A customer with a high lifetime value."""

    name: str
    country: str
    orders: int
    value: float


@dataclass(frozen=True)
class Month:
    """Orders of a month: the first of new customers, and those of customers who came back."""

    start: dt.date
    first: int
    returning: int


@dataclass(frozen=True)
class Customers:
    """What the page shows; countries and leaders by value, months in order without gaps."""

    countries: tuple[Country, ...]
    leaders: tuple[Leader, ...]
    months: tuple[Month, ...]
    as_of: dt.date | None


def read(marts: Marts) -> Customers:
    """Ask for countries, leaders, and orders by day."""
    countries = tuple(_country(row) for row in marts.ask(COUNTRIES).rows)
    leaders = tuple(Leader(str(r[0]), str(r[1]), int(r[2]), float(r[3])) for r in marts.ask(LEADERS, top=TOP).rows)
    first, every = _by_month(marts.ask(FIRST_ORDERS).rows), marts.ask(ALL_ORDERS).rows
    as_of = EPOCH + dt.timedelta(days=max(int(row[0]) for row in every)) if every else None
    orders = _by_month(every)
    months = tuple(
        Month(dt.date(n // 12, n % 12 + 1, 1), first.get(n, 0), max(orders.get(n, 0) - first.get(n, 0), 0))
        for n in (range(min(orders), max(orders) + 1) if orders else ())
    )
    return Customers(countries, leaders, months[-MOST_MONTHS:], as_of)


def _by_month(days: tuple[tuple[Any, ...], ...]) -> dict[int, int]:
    """Counts by month, numbered from year 0, of counts by day since 1970."""
    counts: dict[int, int] = {}
    for day, count in days:
        date = EPOCH + dt.timedelta(days=int(day))
        number = date.year * 12 + date.month - 1
        counts[number] = counts.get(number, 0) + int(count)
    return counts


def _country(row: tuple[Any, ...]) -> Country:
    code, customers, buyers, repeat_buyers, orders, value = row
    return Country(str(code), int(customers), int(buyers), int(repeat_buyers), int(orders), float(value))


def tables(customers: Customers) -> tuple[DashboardTable, ...]:
    """Return the rows behind the picture."""
    countries = tuple((c.code, c.customers, c.buyers, c.orders, round(c.value, 2)) for c in customers.countries)
    leaders = tuple(
        (leader.name, leader.country, leader.orders, round(leader.value, 2)) for leader in customers.leaders
    )
    months = tuple((f"{m.start:%Y-%m}", m.first, m.returning) for m in reversed(customers.months))
    by_country = ("country", "customers", "buyers", "orders", "lifetime_value_eur")
    by_month = ("month", "orders_of_new_customers", "orders_of_returning_customers")
    return (
        DashboardTable("countries", "Lifetime value by country", by_country, countries),
        DashboardTable(
            "top", "Top customers by lifetime value", ("customer", "country", "orders", "lifetime_value_eur"), leaders
        ),
        DashboardTable("months", "Orders by month, newest first", by_month, months),
    )
