"""The sample shop is plausible, repeatable and as large as asked."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections import Counter
from datetime import date
from hashlib import sha256
from pathlib import Path

import pytest

from flow_of_flows.errors import PlatformError
from flows.ingest.sample import TABLES, generate, sample_source


def rows(folder: Path, table: str) -> list[dict[str, str]]:
    """One dict per line of a sample file."""
    with (folder / f"{table}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def digest(folder: Path) -> str:
    """A digest of the three files."""
    return sha256(b"".join((folder / f"{table}.csv").read_bytes() for table in TABLES)).hexdigest()


def test_sample_of_scale_one_is_large_enough(tmp_path: Path) -> None:
    """At scale 1 there are at least 100 customers, 1,000 orders and 1,100 payments."""
    generate(tmp_path)
    counts = {table: len(rows(tmp_path, table)) for table in TABLES}
    assert counts == {"raw_customers": 120, "raw_orders": 1_040, "raw_payments": 1_254}


def test_sample_is_the_same_in_another_process(tmp_path: Path) -> None:
    """The same arguments give the same bytes in a process with another hash seed."""
    generate(tmp_path / "here", seed=7)
    call = f"generate(Path({str(tmp_path / 'there')!r}), seed=7)"
    code = f"from pathlib import Path; from flows.ingest.sample import generate; {call}"
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONHASHSEED": "1"}, cwd=Path(__file__).parents[2])
    assert digest(tmp_path / "here") == digest(tmp_path / "there")


def test_another_seed_gives_another_shop(tmp_path: Path) -> None:
    """The seed matters."""
    generate(tmp_path / "one", seed=1)
    generate(tmp_path / "two", seed=2)
    assert digest(tmp_path / "one") != digest(tmp_path / "two")


@pytest.mark.parametrize(("scale", "counts"), [(0.001, (1, 1)), (0.5, (60, 520)), (3, (360, 3_120))])
def test_sample_scales(tmp_path: Path, scale: float, counts: tuple[int, int]) -> None:
    """Customers and orders grow with the scale factor, and there is always one of each."""
    generate(tmp_path, scale=scale)
    assert (len(rows(tmp_path, "raw_customers")), len(rows(tmp_path, "raw_orders"))) == counts


def test_sample_covers_two_years_until_its_end(tmp_path: Path) -> None:
    """Orders span two years, and nothing is dated after the last day."""
    generate(tmp_path, end=date(2024, 6, 30))
    days = [row["ordered_at"][:10] for row in rows(tmp_path, "raw_orders")]
    assert "2022-07-01" <= min(days) <= "2022-07-05"
    assert max(days) == "2024-06-30"
    assert max(row["updated_at"] for row in rows(tmp_path, "raw_orders")) <= "2024-06-30T23:59:59Z"
    assert max(row["updated_at"] for row in rows(tmp_path, "raw_payments")) <= "2024-06-30T23:59:59Z"


def test_sample_is_plausible(tmp_path: Path) -> None:
    """Keys match, customers come before their orders, each status, method and currency occurs, and the shop grows."""
    generate(tmp_path)
    joined = {row["id"]: row["created_at"] for row in rows(tmp_path, "raw_customers")}
    orders = {row["id"]: row for row in rows(tmp_path, "raw_orders")}
    payments = rows(tmp_path, "raw_payments")
    assert len(joined) == 120
    assert {row["order_id"] for row in payments} == set(orders)
    assert [row["id"] for row in orders.values() if joined[row["customer_id"]] > row["ordered_at"]] == []
    assert {row["status"] for row in orders.values()} == {
        "placed",
        "shipped",
        "completed",
        "return_pending",
        "returned",
    }
    assert {row["payment_method"] for row in payments} == {"credit_card", "coupon", "bank_transfer", "gift_card"}
    assert {row["currency"] for row in payments} == {"EUR", "USD", "GBP", "CHF", "SEK", "PLN"}
    assert min(int(row["amount"]) for row in payments) > 0
    years = Counter(row["ordered_at"][:4] for row in orders.values())
    assert years["2025"] > years["2024"]


def test_sample_source_is_made_once(tmp_path: Path) -> None:
    """The sample folder is made when it is missing, and left alone when it is there."""
    folder = sample_source(tmp_path)
    (folder / "raw_orders.csv").write_text("mine")
    assert folder == tmp_path / "sample"
    assert (sample_source(tmp_path) / "raw_orders.csv").read_text() == "mine"
    assert sorted(path.name for path in folder.iterdir()) == [f"{table}.csv" for table in TABLES]


def test_sample_source_that_cannot_be_written(tmp_path: Path) -> None:
    """A file where the folder belongs is one clear error."""
    (tmp_path / "home").write_text("")
    with pytest.raises(PlatformError) as caught:
        sample_source(tmp_path / "home")
    assert str(caught.value) == (
        f"The sample data set cannot be written: Not a directory. Where: {tmp_path}/home/sample. "
        "Next: set FLOWS_HOME to a folder that can be written, or FLOWS_SHOP_SOURCE to data of your own."
    )
