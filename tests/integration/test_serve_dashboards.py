"""The dashboards on real warehouses: small marts in DuckDB, Postgres and fakesnow, exact rows behind each picture."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.exceptions import ParameterTypeError
from prefect.testing.utilities import prefect_test_harness

from flow_of_flows.child_report import ChildReport
from flow_of_flows.delivery import Dashboard, to_results_folder
from flow_of_flows.errors import DataError
from flow_of_flows.refresh import Marts, Refresh
from flow_of_flows.settings import Settings
from flow_of_flows.warehouse.targets import from_settings
from flows.serve import customers, sales
from flows.serve.dashboards import dashboard_customers, dashboard_sales
from tests.fixtures.environment import set_variables
from tests.fixtures.postgres import PostgresDatabase
from tests.fixtures.snowflake import SnowflakeDatabase

TABLES = (
    "create schema analytics",
    (
        "create table analytics.customers (customer_id bigint, full_name varchar(90), country varchar(2),"
        " email varchar(90),"
        " first_order_at timestamptz, most_recent_order_at timestamptz, number_of_orders bigint,"
        " lifetime_value_eur decimal(18, 2))"
    ),
    "create table analytics.orders (order_id bigint, customer_id bigint, ordered_at timestamptz, status varchar(20))",
    (
        "create table analytics.payments (order_id bigint, payment_method varchar(20), amount_eur decimal(18, 2),"
        " paid_at timestamptz)"
    ),
    (
        "create table analytics.daily_revenue (revenue_date date, number_of_orders bigint, number_of_payments bigint,"
        " revenue_eur decimal(18, 2))"
    ),
)
# Orders half an hour before and after midnight UTC: a session's time zone would move them to another month.
ROWS = (
    (
        "insert into analytics.customers values"
        " (1, 'Ada Ö''Neil', 'GB', 'a@x', '2025-01-31 23:30+00', '2025-04-01 23:59+00', 3, 52.50),"
        " (2, 'Bo', 'DE', 'b@x', '2025-02-01 00:30+00', '2025-03-30 12:00+00', 2, 20.00),"
        " (3, 'Cy', null, 'c@x', null, null, 0, null), (4, 'Di', 'DE', 'd@x', null, null, 0, 0)"
    ),
    (
        "insert into analytics.orders values (1, 1, '2025-01-31 23:30+00', 'completed'),"
        " (2, 2, '2025-02-01 00:30+00', 'completed'), (3, 1, '2025-02-10 12:00+00', 'shipped'),"
        " (4, 1, '2025-04-01 23:59+00', 'placed'), (5, 2, '2025-03-30 12:00+00', 'returned')"
    ),
    (
        "insert into analytics.payments values (1, 'credit_card', 10, '2025-01-31 23:31+00'),"
        " (2, 'bank_transfer', 15, '2025-02-01 00:31+00'), (2, 'coupon', 5, '2025-02-01 00:32+00'),"
        " (3, 'credit_card', 30, '2025-02-10 12:00+00'), (4, 'credit_card', 12.50, '2025-04-01 23:59:59+00'),"
        " (5, 'gift_card', 99, '2025-03-30 12:00+00')"
    ),
    (
        "insert into analytics.daily_revenue values ('2025-02-10', 1, 1, 30), ('2025-01-31', 1, 1, 10),"
        " ('2025-04-01', 1, 1, 12.50), ('2025-02-01', 1, 2, 20)"
    ),
)


@pytest.fixture
def duckdb_marts(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Settings]:
    """Runs statements in the DuckDB warehouse, far from Greenwich, and returns the settings that read it."""
    monkeypatch.setenv("TZ", "Pacific/Auckland")

    def build(*statements: str) -> Settings:
        settings = Settings.load()
        settings.warehouse_folder.mkdir(parents=True)
        with duckdb.connect(str(settings.warehouse_folder / "warehouse.duckdb")) as connection:
            for statement in statements:
                connection.execute(statement)
        return settings

    return build


@pytest.fixture
def postgres_marts(monkeypatch: pytest.MonkeyPatch, postgres: PostgresDatabase) -> Callable[..., Settings]:
    """The same in Postgres."""
    monkeypatch.setenv("PGTZ", "Pacific/Auckland")

    def build(*statements: str) -> Settings:
        set_variables(monkeypatch, postgres.environment())
        postgres.execute(*statements)
        return Settings.load()

    return build


@pytest.fixture
def snowflake_marts(monkeypatch: pytest.MonkeyPatch, snowflake: SnowflakeDatabase) -> Callable[..., Settings]:
    """The same in Snowflake, as fakesnow's server is one."""
    monkeypatch.setenv("TZ", "Pacific/Auckland")

    def build(*statements: str) -> Settings:
        set_variables(monkeypatch, snowflake.environment())
        snowflake.execute(*statements)
        return Settings.load()

    return build


@pytest.fixture(params=["duckdb_marts", "postgres_marts", "snowflake_marts"])
def marts(request: pytest.FixtureRequest) -> Marts:
    """The small marts, once in each warehouse."""
    return Marts(from_settings(request.getfixturevalue(request.param)(*TABLES, *ROWS)))


def rows(dashboard: Dashboard, name: str) -> list[tuple[object, ...]]:
    """The rows of one table behind a picture."""
    return [row for table in dashboard.tables if table.name == name for row in table.rows]


def test_sales_rows_and_headlines(marts: Marts) -> None:
    """Thirty days to the last sale: exact days, mean, methods without returned orders, change to the 30 days before."""
    answer = sales.read(marts, 30)
    made = sales.make(answer)
    assert rows(made, "methods") == [("credit_card", 1, 12.5)]
    days = rows(made, "days")
    assert len(days) == 30
    assert days[0] == ("2025-04-01", 1, 1, 12.5, 0.45)
    assert days[1] == ("2025-03-31", 0, 0, 0.0, 0.0)
    assert days[29] == ("2025-03-03", 0, 0, 0.0, 1.07)
    assert [(h.value, h.change, h.note) for h in sales.headlines(answer)] == [
        ("€12", -0.75, "from €50"), ("1", -0.5, "from 2"), ("1", 1 / 3 - 1, "from 3"), ("€12.50", -0.5, "from €25.00"),
    ]  # fmt: skip
    assert made.summary == "Sales to 2025-04-01: EUR 12.50 in 30 days, -75.0 % on the 30 days before"
    assert made.facts == {"as_of": "2025-04-01", "days": 30, "revenue_eur": 12.5}


def test_sales_of_all_days_hold_every_method(marts: Marts) -> None:
    """A period longer than the history shows all of it; methods add up to the revenue of the days."""
    made = sales.make(sales.read(marts, 366))
    assert rows(made, "methods") == [("credit_card", 3, 52.5), ("bank_transfer", 1, 15.0), ("coupon", 1, 5.0)]
    assert made.facts == {"as_of": "2025-04-01", "days": 61, "revenue_eur": 72.5}


def test_customer_rows_and_headlines(marts: Marts) -> None:
    """Countries by value, months without gaps, and leaders without e-mail addresses."""
    answer = customers.read(marts)
    made = customers.make(answer)
    assert rows(made, "countries") == [("GB", 1, 1, 3, 52.5), ("DE", 2, 1, 2, 20.0), ("unknown", 1, 0, 0, 0.0)]
    assert rows(made, "top") == [("Ada Ö'Neil", "GB", 3, 52.5), ("Bo", "DE", 2, 20.0)]
    assert rows(made, "months") == [("2025-04", 0, 1), ("2025-03", 0, 1), ("2025-02", 1, 1), ("2025-01", 1, 0)]
    assert [(h.label, h.value, h.note) for h in customers.headlines(answer)] == [
        ("Customers", "4", "in 3 countries"), ("Ordered at least once", "50 %", "2 customers"),
        ("Came back", "100 %", "2 with two orders or more"), ("Lifetime value", "€72", "5 orders"),
        ("Per buying customer", "€36.25", "mean lifetime value"),
    ]  # fmt: skip
    assert made.summary == "4 customers, lifetime value EUR 72.50, orders to 2025-04-01"


def test_refresh_delivers_in_order_and_reports(
    duckdb_marts: Callable[..., Settings], caplog: pytest.LogCaptureFixture
) -> None:
    """The interface: read, make, each delivery in turn, and a report with what was made."""
    settings = duckdb_marts(*TABLES, *ROWS)
    caplog.set_level(logging.INFO, "flow_of_flows")
    refresh = Refresh("mine", customers.read, customers.make, (to_results_folder, lambda made, _: made.title))
    assert refresh.run(settings) == ChildReport(
        summary="4 customers, lifetime value EUR 72.50, orders to 2025-04-01",
        facts={"as_of": "2025-04-01", "customers": 4, "lifetime_value_eur": 72.5},
    )
    file = settings.results_folder / "dashboard-customers.png"
    assert file.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert caplog.messages == [f"mine delivered to {file}", "mine delivered to Customers"]


def test_empty_marts_warn(marts_without_rows: Settings, caplog: pytest.LogCaptureFixture) -> None:
    """Tables without rows are delivered as a picture that says so, with a warning in report and log."""
    refresh = Refresh("mine", lambda marts: sales.read(marts, 90), sales.make, (to_results_folder,))
    report = refresh.run(marts_without_rows)
    assert (report.summary, report.warnings) == (
        "No data: daily_revenue has no rows", ("No data: daily_revenue has no rows",),
    )  # fmt: skip
    assert [r.message for r in caplog.records if r.levelno == logging.WARNING] == list(report.warnings)
    people = customers.make(customers.read(Marts(from_settings(marts_without_rows))))
    assert people.warnings == ("No data: customers has no rows",)


@pytest.fixture
def marts_without_rows(duckdb_marts: Callable[..., Settings]) -> Settings:
    """The tables, empty."""
    return duckdb_marts(*TABLES)


def test_a_missing_table_says_to_run_dbt_build(duckdb_marts: Callable[..., Settings]) -> None:
    """The marts were never built: a data error with what to run; the old picture stays."""
    settings = duckdb_marts("create schema analytics")
    settings.results_folder.mkdir(parents=True)
    picture = settings.results_folder / "dashboard-customers.png"
    picture.write_bytes(b"old")
    with pytest.raises(DataError, match="Table with name customers does not exist") as caught:
        Refresh("mine", customers.read, customers.make, (to_results_folder,)).run(settings)
    assert caught.value.hint == "run dbt-build, or correct the query"
    assert picture.read_bytes() == b"old"


def test_a_missing_warehouse_says_to_run_dbt_build() -> None:
    """No file at all is the same error."""
    with pytest.raises(DataError) as caught:
        sales.read(Marts(from_settings(Settings.load())), 90)
    assert caught.value.hint == "run dbt-build first"


@pytest.fixture(scope="module")
def prefect() -> Iterator[None]:
    """A Prefect server of this module."""
    with pytest.MonkeyPatch.context() as environment:
        # Without both, the server imports every installed collection at its start.
        environment.setenv("PREFECT_API_BLOCKS_REGISTER_ON_START", "false")
        environment.setenv("PREFECT_MEMOIZE_BLOCK_AUTO_REGISTRATION", "false")
        with prefect_test_harness(server_startup_timeout=120):
            yield


@pytest.mark.usefixtures("prefect")
def test_children_publish_picture_and_tables_on_their_page(
    duckdb_marts: Callable[..., Settings], tmp_path: Path
) -> None:
    """Both children on a real server: end state, artifacts of the run, picture files; Failed before there are marts."""
    warehouse = tmp_path / "home/warehouse/warehouse.duckdb"
    early = dashboard_customers(return_state=True)
    assert (early.name, early.message) == (
        "Failed", f"No warehouse at {warehouse}. Where: {warehouse}. Next: run dbt-build first.",
    )  # fmt: skip
    duckdb_marts(*TABLES, *ROWS)
    ends = {"sales": dashboard_sales(days=30, return_state=True), "customers": dashboard_customers(return_state=True)}
    assert [(state.name, state.message) for state in ends.values()] == [
        ("Completed", "Sales to 2025-04-01: EUR 12.50 in 30 days, -75.0 % on the 30 days before"),
        ("Completed", "4 customers, lifetime value EUR 72.50, orders to 2025-04-01"),
    ]
    assert sorted(file.name for file in (tmp_path / "home/results").iterdir()) == [
        "dashboard-customers.png", "dashboard-sales.png",
    ]  # fmt: skip
    run = ends["sales"].state_details.flow_run_id
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(
            artifact_filter=ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run] if run else []))
        )
    data = {artifact.key: artifact.data for artifact in found if artifact.key}
    assert sorted(data) == ["dashboard-sales", "dashboard-sales-days", "dashboard-sales-methods"]
    assert str(data["dashboard-sales"]).startswith("![Sales](data:image/png;base64,iVBORw0KGgo")
    assert json.loads(str(data["dashboard-sales-methods"])) == [
        {"payment_method": "credit_card", "payments": 1, "revenue_eur": 12.5}
    ]


@pytest.mark.parametrize("days", [6, 367, "many"])
def test_days_are_bounded(days: int | str) -> None:
    """A period that makes no sense is refused before anything runs."""
    with pytest.raises(ParameterTypeError):
        dashboard_sales.validate_parameters({"days": days})
