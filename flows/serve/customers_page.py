"""The page of the customer dashboard: `Customers` in, numbers, picture and tables out. Pure; called by dashboards."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from flow_of_flows.delivery import Dashboard
from flows.serve import canvas
from flows.serve.canvas import Bar, Headline
from flows.serve.customers import Country, Customers, Month, tables

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAME = "dashboard-customers"
MOST_COUNTRIES = 12
SHOWN_LEADERS = 8


def make(customers: Customers) -> Dashboard:
    """Picture and tables of the customers."""
    if not customers.countries:
        warning = "No data: customers has no rows"
        picture = canvas.render(canvas.no_data("Customers", "The table customers has no rows."))
        return Dashboard(NAME, "Customers", picture, (), summary=warning, warnings=(warning,))
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
