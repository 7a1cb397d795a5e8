"""The customer dashboard: marts `customers` and `orders` in; numbers, picture and tables out."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flow_of_flows.delivery import Dashboard, DashboardTable
from flow_of_flows.refresh import EPOCH, Marts
from flows.serve import canvas
from flows.serve.canvas import Bar, Headline

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

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


NAME = "dashboard-customers"
MOST_COUNTRIES = 12
SHOWN_LEADERS = 8


def make(customers: Customers) -> Dashboard:
    """Picture and tables of the customers."""
    if not customers.countries:
        return canvas.without_rows(NAME, "Customers", "customers")
    count, value = sum(c.customers for c in customers.countries), sum(c.value for c in customers.countries)
    as_of = customers.as_of.isoformat() if customers.as_of else ""
    return Dashboard(
        NAME,
        "Customers",
        canvas.render(chart(customers)),
        tables(customers),
        summary=f"{count:,} customers, lifetime value EUR {value:,.2f}, "
        + (f"orders to {as_of}" if as_of else "no order yet"),
        facts={"as_of": as_of, "customers": count, "lifetime_value_eur": round(value, 2)},
    )


def headlines(customers: Customers) -> tuple[Headline, ...]:
    """Return how many, how many bought, how many came back, and what one is worth."""
    count, buyers = sum(c.customers for c in customers.countries), sum(c.buyers for c in customers.countries)
    again, value = sum(c.repeat_buyers for c in customers.countries), sum(c.value for c in customers.countries)
    orders = sum(c.orders for c in customers.countries)
    return (
        Headline("Customers", f"{count:,}", note=f"in {len(customers.countries)} countries"),
        Headline("Ordered at least once", f"{buyers / count * 100:.0f} %", note=f"{buyers:,} customers"),
        Headline(
            "Came back", f"{again / buyers * 100:.0f} %" if buyers else "-", note=f"{again:,} with two orders or more"
        ),
        Headline("Lifetime value", canvas.euros(value), note=f"{orders:,} orders"),
        Headline("Per buying customer", f"€{value / buyers:,.2f}" if buyers else "-", note="mean lifetime value"),
    )


def chart(customers: Customers) -> Figure:
    """Return the page: headline numbers, orders by month, top customers, lifetime value by country."""
    as_of = f"orders to {canvas.long_date(customers.as_of)}" if customers.as_of else "no order yet"
    figure = canvas.blank("Customers", f"All customers · {as_of} · amounts in EUR")
    canvas.headlines(figure, headlines(customers))
    _monthly(
        canvas.panel(figure, (0.045, 0.445, 0.55, 0.215), "Orders by month", "count", indent=0.035), customers.months
    )
    top = canvas.panel(figure, (0.045, 0.04, 0.55, 0.285), "Top customers", "lifetime value in EUR", indent=0.15)
    leaders = [
        Bar(f"{leader.name}, {leader.country}", leader.value, canvas.euros(leader.value), f"{leader.orders:,} orders")
        for leader in customers.leaders[:SHOWN_LEADERS]
    ]
    if leaders:
        canvas.bars(top, leaders, color=canvas.GREEN, slots=SHOWN_LEADERS)
    side = canvas.panel(figure, (0.655, 0.04, 0.31, 0.62), "Lifetime value by country", "EUR, customers", indent=0.065)
    countries = [Bar(c.code, c.value, canvas.euros(c.value), f"{c.customers:,}") for c in _shown(customers.countries)]
    canvas.bars(side, countries, slots=8)
    return figure


def _shown(countries: tuple[Country, ...]) -> tuple[Country, ...]:
    """Return the largest countries, and the others together as one."""
    if len(countries) <= MOST_COUNTRIES:
        return countries
    head, rest = countries[: MOST_COUNTRIES - 1], countries[MOST_COUNTRIES - 1 :]
    sums = (sum(c.customers for c in rest), sum(c.buyers for c in rest), sum(c.repeat_buyers for c in rest))
    other = Country(f"{len(rest)} others", *sums, sum(c.orders for c in rest), sum(c.value for c in rest))
    return (*head, other)


def _monthly(axes: Axes, months: tuple[Month, ...]) -> None:
    places = list(range(len(months)))
    first, back = [m.first for m in months], [m.returning for m in months]
    axes.bar(places, back, color=canvas.BLUE, width=0.74, label="returning customers")
    axes.bar(places, first, bottom=back, color=canvas.ORANGE, width=0.74, label="new customers")
    canvas.grid(axes)
    axes.set_xticks(places, [_tick(n, month.start) for n, month in enumerate(months)], fontfamily=canvas.FONT)
    axes.set_xlim(-0.6, max(len(months), 6) - 0.4)
    canvas.legend(axes)


def _tick(place: int, month: dt.date) -> str:
    initial = f"{month:%b}"[0]
    return f"{initial}\n{month.year}" if place == 0 or month.month == 1 else initial
