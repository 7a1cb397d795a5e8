"""The pages of the dashboards: values in, exact numbers and the texts of the picture out; no warehouse, no server."""

from __future__ import annotations

import datetime as dt
import re
import struct
from pathlib import Path

import pytest

from flow_of_flows.delivery import MOST_ROWS, Dashboard, DashboardTable, page, to_results_folder
from flow_of_flows.errors import PlatformError
from flow_of_flows.settings import Settings
from flows.serve import canvas, customers
from flows.serve import sales as sales_page
from flows.serve.customers import Country, Customers, Leader, Month
from flows.serve.sales import Day, Method, Sales

FIRST = dt.date(2025, 1, 1)


def sales(count: int, length: int) -> Sales:
    """So many days of 10, 20, 30, … EUR, one order a day."""
    days = tuple(Day(FIRST + dt.timedelta(days=n), 1, 2, 10.0 * (n + 1)) for n in range(count))
    return Sales(days, (Method("credit_card", 3, 75.0), Method("gift_card", 1, 25.0)), length)


def texts(svg: bytes) -> list[str]:
    """Every text of an SVG, in the order drawn."""
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg.decode())


def size(png: bytes) -> tuple[int, int]:
    """Width and height in pixels."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", png[16:24])
    return width, height


@pytest.mark.parametrize(
    ("amount", "text"),
    [(0, "€0"), (-0.4, "€0"), (1234.5, "€1,234"), (-70, "-€70"), (12_345_678, "€12.35 M"), (-2e6, "-€2.00 M")],
)
def test_euros_are_short(amount: float, text: str) -> None:
    """Whole euros up to a million, millions above."""
    assert canvas.euros(amount) == text


def test_sales_headlines_compare_with_the_period_before() -> None:
    """Ten days against the ten before them, and the note says what was before."""
    assert sales_page.headlines(sales(20, 10)) == (
        canvas.Headline("Revenue", "€1,550", 1550 / 550 - 1, "from €550"),
        canvas.Headline("Orders paid", "10", 0.0, "from 10"),
        canvas.Headline("Payments", "20", 0.0, "from 20"),
        canvas.Headline("Revenue per order", "€155.00", 155.0 / 55.0 - 1, "from €55.00"),
    )


def test_sales_headlines_without_enough_history_make_no_comparison() -> None:
    """Half a period before is not enough to compare with."""
    assert sales_page.headlines(sales(15, 10))[0] == canvas.Headline("Revenue", "€1,050", None, "no earlier period")


def test_mean_of_28_days_starts_when_there_are_28_days() -> None:
    """Days with a shorter history have no mean, rather than one of fewer days."""
    average = sales(30, 4).average()
    assert average == (None, 145.0, 155.0, 165.0)


def test_sales_picture_says_period_units_and_changes() -> None:
    """Title, as-of date, unit, numbers and labels can be read in the picture."""
    shown = texts(canvas.render(sales_page.chart(sales(60, 30)), "svg"))
    for text in (
        "Sales", "30 days to 1 March 2025 · change against the 30 days before · amounts in EUR", "Revenue", "€13,650",
        "▲ +193.5 % from €4,650", "unchanged from 30", "Revenue by day", "mean of 28 days", "each day", "credit card",
        "75 %", "gift card", "25 %", "Mean revenue by weekday", "Mon", "Sun", "3 Feb",
    ):  # fmt: skip
        assert shown.count(text) >= 1, text
    assert size(canvas.render(sales_page.chart(sales(60, 30)))) == (1600, 1000)


@pytest.mark.parametrize(
    ("count", "labels"),
    [
        (14, ["6 Jan", "13 Jan"]),
        (60, ["1 Jan", "15 Jan", "1 Feb", "15 Feb", "1 Mar"]),
        (200, ["Jan\n2025", "Feb", "Mar", "Apr", "May", "Jun", "Jul"]),
    ],
)
def test_days_named_on_the_axis_fit_its_length(count: int, labels: list[str]) -> None:
    """Mondays of a few weeks, the 1st and 15th of a few months, months of a year."""
    days = tuple(day.date for day in sales(count, count).days)
    assert list(sales_page.ticks(days).values()) == labels


def test_the_same_numbers_make_the_same_picture() -> None:
    """No clock and no random id gets into a picture."""
    assert sales_page.make(sales(60, 30)) == sales_page.make(sales(60, 30))


def test_sales_without_rows_are_a_picture_and_a_warning() -> None:
    """An empty mart is not a failure: the page says no data, the report warns."""
    made = sales_page.make(Sales((), (), 90))
    assert (made.summary, made.warnings, made.tables, made.facts) == (
        "No data: daily_revenue has no rows", ("No data: daily_revenue has no rows",), (), {},
    )  # fmt: skip
    assert size(made.picture) == (1600, 1000)
    assert texts(canvas.render(canvas.no_data("Sales", "The table daily_revenue has no rows."), "svg")) == [
        "Sales", "No data", "No data", "The table daily_revenue has no rows.",
    ]  # fmt: skip


def test_sales_of_free_orders_only_can_be_drawn() -> None:
    """Zero revenue is a flat page, not a division by zero."""
    made = sales_page.make(Sales((Day(FIRST, 1, 1, 0.0),), (Method("coupon", 1, 0.0),), 7))
    assert made.summary == "Sales to 2025-01-01: EUR 0.00 in 1 days"


def test_customer_picture_names_countries_leaders_and_months() -> None:
    """Numbers, labels and units can be read in the picture."""
    shown = texts(canvas.render(customers.chart(people(2)), "svg"))
    for text in (
        "Customers", "All customers · orders to 3 March 2025 · amounts in EUR", "20", "in 2 countries", "50 %",
        "10 customers", "40 %", "4 with two orders or more", "€1,900", "24 orders", "€190.00", "Orders by month",
        "returning customers", "new customers", "Top customers", "Ada, C0", "€500", "7 orders", "C0", "C1", "€1,000",
    ):  # fmt: skip
        assert shown.count(text) >= 1, text
    assert shown.count("J") == 1
    assert shown.count("2025") == 1


def test_many_countries_are_drawn_as_the_largest_and_the_others() -> None:
    """Twelve bars at most; the last holds what is left."""
    shown = texts(canvas.render(customers.chart(people(15)), "svg"))
    assert [text for text in shown if re.fullmatch(r"C\d+|\d+ others", text)] == [
        *(f"C{n}" for n in range(11)),
        "4 others",
    ]
    assert sales_page.NAME != customers.NAME


def people(countries: int) -> Customers:
    """Ten customers a country, five of whom ordered, two of them again."""
    return Customers(
        tuple(Country(f"C{n}", 10, 5, 2, 12, 1000.0 - 100 * n) for n in range(countries)),
        (Leader("Ada", "C0", 7, 500.0),),
        (Month(dt.date(2025, 1, 1), 3, 0), Month(dt.date(2025, 2, 1), 0, 0), Month(dt.date(2025, 3, 1), 2, 5)),
        dt.date(2025, 3, 3),
    )


def test_customers_without_orders_can_be_drawn() -> None:
    """A new shop has customers and no order."""
    made = customers.make(Customers((Country("DE", 3, 0, 0, 0, 0.0),), (), (), None))
    assert made.summary == "3 customers, lifetime value EUR 0.00, no order yet"
    assert size(made.picture) == (1600, 1000)


def test_no_customers_are_a_picture_and_a_warning() -> None:
    """An empty mart is not a failure: the page says no data, the report warns."""
    made = customers.make(Customers((), (), (), None))
    assert (made.summary, made.warnings) == ("No data: customers has no rows", ("No data: customers has no rows",))


def test_page_holds_the_picture_its_warnings_and_where_the_numbers_are() -> None:
    """The Markdown of the run's page, whole."""
    table = DashboardTable("days", "Revenue by day", ("a",), ((1,),))
    made = Dashboard("dashboard-sales", "Sales", b"png", (table,), "s", warnings=("old data",))
    assert page(made) == (
        "![Sales](data:image/png;base64,cG5n)\n\n> **Warning** old data\n\n"
        "The numbers are in the tables beside this page: Revenue by day (`dashboard-sales-days`).\n"
    )


def test_a_table_is_cut_at_the_bound() -> None:
    """No artifact grows with the warehouse."""
    table = DashboardTable("t", "T", ("n",), tuple((n,) for n in range(MOST_ROWS + 5)))
    assert len(table.records(MOST_ROWS)) == MOST_ROWS
    assert table.records(2) == [{"n": 0}, {"n": 1}]


def test_the_picture_file_is_replaced_and_nothing_else_is_left() -> None:
    """A second refresh replaces the file in one move."""
    settings = Settings.load()
    for content in (b"first", b"second"):
        place = to_results_folder(Dashboard("d", "D", content, (), "s"), settings)
    assert place == str(settings.results_folder / "d.png")
    assert [(file.name, file.read_bytes()) for file in settings.results_folder.iterdir()] == [("d.png", b"second")]


def test_a_folder_that_cannot_be_written_says_what_to_do(tmp_path: Path) -> None:
    """A file where the folder should be: one message, no traceback."""
    (tmp_path / "home").write_text("in the way")
    with pytest.raises(PlatformError) as caught:
        to_results_folder(Dashboard("d", "D", b"", (), "s"), Settings.load())
    assert str(caught.value) == (
        f"The picture cannot be written: Not a directory. Where: {tmp_path}/home/results/d.png. "
        "Next: free some disk, or point FLOWS_HOME at a folder that can be written."
    )
