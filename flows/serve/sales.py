"""The sales dashboard: marts in; headline numbers, picture and tables out."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flow_of_flows.delivery import Dashboard, DashboardTable
from flow_of_flows.refresh import EPOCH, Marts
from flows.serve import canvas
from flows.serve.canvas import Bar, Headline

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

AVERAGE_DAYS = 28

DAYS = """
select revenue_date, number_of_orders, number_of_payments, coalesce(revenue_eur, 0)
from {marts}.daily_revenue
order by revenue_date
"""
# Returned orders are not revenue, as in daily_revenue, so that both parts of the page add up to the same.
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
    """Ask for the days, then for the methods of the last `length` days.

    Args:
        marts: the open warehouse.
        length: days of the period, the last ones that there are.
    """
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
    """Relative change; None when there is nothing to compare with.

    Args:
        now: the number of this period.
        before: the number of the period before.
    """
    return now / before - 1 if before > 0 else None


NAME = "dashboard-sales"
LONGEST_BY_WEEK = 56
LONGEST_BY_HALF_MONTH = 150


def make(sales: Sales) -> Dashboard:
    """Picture and tables of the sales."""
    if not sales.days:
        return canvas.without_rows(NAME, "Sales", "daily_revenue")
    total, last = revenue(sales.period), sales.days[-1].date
    moved = change(total, revenue(sales.before))
    trend = f", {canvas.percent(moved)} on the {sales.length} days before" if moved is not None else ""
    return Dashboard(
        NAME,
        "Sales",
        canvas.render(chart(sales)),
        tables(sales),
        summary=f"Sales to {last}: EUR {total:,.2f} in {len(sales.period)} days{trend}",
        facts={"as_of": last.isoformat(), "days": len(sales.period), "revenue_eur": round(total, 2)},
    )


def headlines(sales: Sales) -> tuple[Headline, ...]:
    """Revenue, paid orders, payments and mean revenue of an order, each against the period before."""
    now, before = _totals(sales.period), _totals(sales.before)
    past = bool(sales.before)
    return (
        _headline("Revenue", now.revenue, before.revenue, canvas.euros, past=past),
        _headline("Orders paid", now.orders, before.orders, "{:,.0f}".format, past=past),
        _headline("Payments", now.payments, before.payments, "{:,.0f}".format, past=past),
        _headline(
            "Revenue per order",
            now.revenue / (now.orders or 1),
            before.revenue / (before.orders or 1),
            "€{:,.2f}".format,
            past=past,
        ),
    )


def _totals(days: tuple[Day, ...]) -> Day:
    """Return the days as one, dated as the last."""
    orders, payments = sum(day.orders for day in days), sum(day.payments for day in days)
    return Day(days[-1].date if days else EPOCH, orders, payments, revenue(days))


def _headline(label: str, now: float, before: float, form: Callable[[float], str], *, past: bool) -> Headline:
    note = f"from {form(before)}" if past else "no earlier period"
    return Headline(label, form(now), change(now, before), note)


def chart(sales: Sales) -> Figure:
    """Return the page: headline numbers, revenue by day with its mean, by payment method and by day of the week."""
    last, count = sales.days[-1].date, len(sales.period)
    against = f"change against the {count} days before" if sales.before else "no earlier period to compare with"
    figure = canvas.blank("Sales", f"{count} days to {canvas.long_date(last)} · {against} · amounts in EUR")
    canvas.headlines(figure, headlines(sales))
    _daily(canvas.panel(figure, (0.045, 0.065, 0.57, 0.595), "Revenue by day", "EUR", indent=0.035), sales)
    side = canvas.panel(figure, (0.665, 0.45, 0.3, 0.21), "Revenue by payment method", "EUR, share", indent=0.095)
    if sales.methods:
        canvas.bars(side, _method_bars(sales.methods), slots=4)
    _weekly(canvas.panel(figure, (0.665, 0.065, 0.3, 0.265), "Mean revenue by weekday", "EUR", indent=0.035), sales)
    return figure


def _method_bars(methods: tuple[Method, ...]) -> list[Bar]:
    total = sum(method.revenue for method in methods) or 1.0
    return [
        Bar(m.name.replace("_", " "), m.revenue, canvas.euros(m.revenue), f"{m.revenue / total * 100:.0f} %")
        for m in methods
    ]


def _daily(axes: Axes, sales: Sales) -> None:
    places = range(len(sales.period))
    axes.bar(places, [day.revenue for day in sales.period], color=canvas.SKY, alpha=0.6, width=0.86, label="each day")
    mean = [float("nan") if value is None else value for value in sales.average()]
    axes.plot(
        places, mean, color=canvas.BLUE, linewidth=2.4, solid_capstyle="round", label=f"mean of {AVERAGE_DAYS} days"
    )
    canvas.grid(axes)
    marks = ticks(tuple(day.date for day in sales.period))
    axes.set_xticks(list(marks), list(marks.values()), fontfamily=canvas.FONT)
    axes.set_xlim(-0.6, len(places) - 0.4)
    canvas.legend(axes)


def ticks(dates: tuple[dt.date, ...]) -> dict[int, str]:
    """Place → label of the days to name: Mondays, the 1st and 15th, or months, as the length allows."""
    if len(dates) <= LONGEST_BY_WEEK:
        return {n: f"{date.day} {date:%b}" for n, date in enumerate(dates) if date.weekday() == 0}
    if len(dates) <= LONGEST_BY_HALF_MONTH:
        return {n: f"{date.day} {date:%b}" for n, date in enumerate(dates) if date.day in {1, 15}}
    return {
        n: f"{date:%b}\n{date.year}" if date.month == 1 else f"{date:%b}"
        for n, date in enumerate(dates)
        if date.day == 1
    }


def _weekly(axes: Axes, sales: Sales) -> None:
    means = []
    for weekday in range(7):
        revenue = [day.revenue for day in sales.period if day.date.weekday() == weekday]
        means.append(sum(revenue) / len(revenue) if revenue else 0.0)
    axes.bar(range(7), means, color=canvas.BLUE, width=0.62)
    axes.set_xticks(range(7), ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"], fontfamily=canvas.FONT)
    canvas.grid(axes)
