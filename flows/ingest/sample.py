"""The sample shop: a folder and a scale in, three CSV files out.

The same arguments give the same bytes, in any process. Names are invented, addresses end in example.com.
"""

from __future__ import annotations

import csv
import os
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import accumulate
from pathlib import Path
from random import Random

from flow_of_flows import PlatformError

TABLES = ("raw_customers", "raw_orders", "raw_payments")
DEFAULT_END = date(2025, 12, 31)
CUSTOMERS = 120
ORDERS = 1_040
DAYS = 730
WEEK = (0.9, 0.8, 0.85, 0.95, 1.25, 1.4, 1.1)  # Monday to Sunday
GROWTH = 1.0  # orders a day double over the two years
# Per country: share of customers, currency, its units for one euro.
COUNTRIES = (
    ("DE", 22, "EUR", 1.0),
    ("FR", 14, "EUR", 1.0),
    ("NL", 9, "EUR", 1.0),
    ("ES", 8, "EUR", 1.0),
    ("US", 16, "USD", 1.1),
    ("GB", 13, "GBP", 0.85),
    ("CH", 7, "CHF", 0.95),
    ("SE", 6, "SEK", 11.2),
    ("PL", 5, "PLN", 4.3),
)
FIRST_NAMES = ("Ada", "Bruno", "Carla", "Dmitri", "Elif", "Felix", "Grace", "Hugo", "Ines", "Jonas", "Karin", "Luca")
LAST_NAMES = ("Adler", "Bauer", "Costa", "Dubois", "Evans", "Fischer", "Garcia", "Hansen", "Ivanov", "Jansen", "Keller")

Line = tuple[object, ...]


@dataclass(frozen=True)
class _Customer:
    id: int
    country: str
    currency: str
    euro: float
    created_at: datetime


@dataclass(frozen=True)
class _Order:
    id: int
    customer: _Customer
    ordered_at: datetime
    status: str
    updated_at: datetime


def sample_source(home: Path) -> Path:
    """Return the folder of the sample data set, made if it is missing; children that do so at once write the same.

    Raises:
        PlatformError: the folder cannot be written.
    """
    folder = home / "sample"
    if not all((folder / f"{table}.csv").exists() for table in TABLES):
        try:
            generate(folder)
        except OSError as error:
            raise PlatformError(
                f"The sample data set cannot be written: {error.strerror}",
                location=str(folder),
                hint="set FLOWS_HOME to a folder that can be written, or FLOWS_SHOP_SOURCE to data of your own",
            ) from error
    return folder


def generate(folder: Path, *, scale: float = 1.0, end: date = DEFAULT_END, seed: int = 20) -> None:
    """Write raw_customers.csv, raw_orders.csv and raw_payments.csv of the two years that finish on `end`.

    Args:
        folder: made if missing.
        scale: 1 gives 120 customers, 1,040 orders and about 1,240 payments; 100 a hundred times as many.
        end: last day with orders; nothing is dated after it.
        seed: another seed gives another shop.
    """
    folder.mkdir(parents=True, exist_ok=True)
    random = Random(seed)  # noqa: S311 - sample data, and it has to be repeatable
    last = datetime(end.year, end.month, end.day, 23, 59, 59, tzinfo=UTC)
    customers = _customers(random, max(1, round(CUSTOMERS * scale)), last)
    _write(
        folder / "raw_customers.csv",
        ("id", "first_name", "last_name", "email", "country", "created_at", "updated_at"),
        (_customer_row(random, customer, last) for customer in customers),
    )
    orders = list(_orders(random, customers, max(1, round(ORDERS * scale)), last))
    _write(
        folder / "raw_orders.csv",
        ("id", "customer_id", "ordered_at", "status", "updated_at"),
        ((o.id, o.customer.id, _iso(o.ordered_at), o.status, _iso(o.updated_at)) for o in orders),
    )
    _write(
        folder / "raw_payments.csv",
        ("id", "order_id", "payment_method", "amount", "currency", "paid_at", "updated_at"),
        _payments(random, orders, last),
    )


def _customers(random: Random, count: int, last: datetime) -> list[_Customer]:
    # Some came before the first order, so that the first day has somebody to order.
    seconds = (DAYS + 150) * 86_400
    joined = sorted(last - timedelta(seconds=random.randrange(30 * 86_400, seconds)) for _ in range(count))
    homes = random.choices(COUNTRIES, weights=[share for _, share, _, _ in COUNTRIES], k=count)
    return [
        _Customer(number, country, currency, euro, created_at)
        for number, (created_at, (country, _, currency, euro)) in enumerate(zip(joined, homes, strict=True), start=1)
    ]


def _customer_row(random: Random, customer: _Customer, last: datetime) -> Line:
    first, family = random.choice(FIRST_NAMES), random.choice(LAST_NAMES)
    email = f"{first}.{family}.{customer.id}@example.com".lower()
    updated_at = min(last, customer.created_at + timedelta(hours=random.randrange(0, 4_000)))
    return customer.id, first, family, email, customer.country, _iso(customer.created_at), _iso(updated_at)


def _orders(random: Random, customers: list[_Customer], count: int, last: datetime) -> Iterator[_Order]:
    joined = [customer.created_at for customer in customers]
    for number, ordered_at in enumerate(_moments(random, count, last), start=1):
        known = max(1, bisect_right(joined, ordered_at))
        customer = customers[int(known * random.random() ** 1.6)]  # a few order often, most seldom
        status, days = _progress(random, (last - ordered_at).days)
        updated_at = min(last, ordered_at + timedelta(days=days, seconds=random.randrange(86_400)))
        yield _Order(number, customer, ordered_at, status, updated_at)


def _moments(random: Random, count: int, last: datetime) -> list[datetime]:
    first = last.replace(hour=0, minute=0, second=0) - timedelta(days=DAYS - 1)
    weights = [(1 + GROWTH * day / DAYS) * WEEK[(first.weekday() + day) % 7] for day in range(DAYS)]
    days = random.choices(range(DAYS), cum_weights=list(accumulate(weights)), k=count)
    # Two draws a day make midday busier than the night.
    seconds = (int((random.random() + random.random()) / 2 * 86_400) for _ in range(count))
    return sorted(first + timedelta(days=day, seconds=second) for day, second in zip(days, seconds, strict=True))


def _progress(random: Random, age: int) -> tuple[str, int]:
    """Status of an order of so many days, and the day of its life on which it got there."""
    luck = random.random()
    if age < 2:  # noqa: PLR2004
        return "placed", 0
    if age < 6:  # noqa: PLR2004
        return "shipped", 1
    if luck < 0.05:  # noqa: PLR2004
        return ("return_pending", 6) if age < 20 else ("returned", 18)  # noqa: PLR2004
    return "completed", 5


def _payments(random: Random, orders: list[_Order], last: datetime) -> Iterator[Line]:
    number = 0
    for order in orders:
        amount = round(random.lognormvariate(3.4, 0.6) * 100 * order.customer.euro) + 100
        for method, cents in _split(random, amount):
            number += 1
            paid_at = min(last, order.ordered_at + timedelta(seconds=random.randrange(30, 7_200)))
            yield number, order.id, method, cents, order.customer.currency, _iso(paid_at), _iso(paid_at)


def _split(random: Random, amount: int) -> Iterator[tuple[str, int]]:
    luck = random.random()
    if luck < 0.10:  # noqa: PLR2004
        coupon = amount // 5
        yield "coupon", coupon
        amount -= coupon
    if luck < 0.04 or luck > 0.94:  # noqa: PLR2004
        card = amount // 3
        yield "gift_card", card
        amount -= card
    yield random.choices(("credit_card", "bank_transfer", "gift_card"), weights=(70, 25, 5))[0], amount


def _iso(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def _write(path: Path, header: tuple[str, ...], rows: Iterable[Line]) -> None:
    """A reader sees the old file or the whole new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(header)
            writer.writerows(rows)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
