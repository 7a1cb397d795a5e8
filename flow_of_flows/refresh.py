"""The work of a serve child: marts in, something made of them delivered, `ChildReport` out.

`Refresh` is the template for everything that uses the marts. Three functions make one; only the outer two touch the
world:

    read     queries of the marts → a frozen value   (`Marts.ask` runs one SELECT, on any warehouse)
    make     that value → the thing to hand over     (pure: no query, clock or file, so a test needs none)
    deliver  the thing → one place after another     (each returns where it put it, for the log)

| to …                      | `make` returns                      | `deliver` holds                               |
|---------------------------|-------------------------------------|-----------------------------------------------|
| refresh a dashboard       | a picture and tables                | the results folder, the page of the run       |
| refresh a Tableau extract | the bytes of a `.hyper` file        | a function that publishes it to Tableau       |
| send a report             | subject and Markdown                | a function per recipient or channel           |
| do reverse ETL            | changed rows, by the other side's key | a function that writes them to the CRM's API |

A whole new child is then:

    @child("tableau-sales")
    def tableau_sales() -> ChildReport:
        return Refresh("tableau-sales", sales.read, as_extract, (to_tableau,)).run(Settings.load())

Rules: the whole thing is made before the first delivery, so that a failure leaves the old one in place; a delivery that
runs twice ends in the same state; what a later try may mend is a `PlatformError`.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from flow_of_flows.child_report import ChildReport
from flow_of_flows.settings import Settings
from flow_of_flows.warehouse.reading import Rows, query
from flow_of_flows.warehouse.targets import Target, from_settings

__all__ = ["EPOCH", "Deliverable", "Marts", "Refresh"]

EPOCH = dt.date(1970, 1, 1)

logger = logging.getLogger(__name__)


class Deliverable(Protocol):
    """What `make` returns: anything that can say in a line and in numbers what it is."""

    @property
    def summary(self) -> str:
        """Return one line for the state message of the run."""
        ...

    @property
    def facts(self) -> Mapping[str, str | int | float]:
        """Return counts and names for the report."""
        ...

    @property
    def warnings(self) -> tuple[str, ...]:
        """Return what a reader should know although nothing failed."""
        ...


R = TypeVar("R")
M = TypeVar("M", bound=Deliverable)


@dataclass(frozen=True)
class Marts:
    """The marts of one warehouse."""

    target: Target

    def ask(self, sql: str, **numbers: int) -> Rows:
        """Run one SELECT; `{marts}` in it stands for the schema, other names for the given numbers.

        Write SQL that every warehouse runs: no casts by `::`, no `filter`, no time zone conversion. Days come from
        `floor(date_part('epoch', <timestamp>) / 86400)`, which no session time zone can move.

        Raises:
            DataError: a table or column is missing; says to run dbt-build.
            PlatformError: the warehouse cannot be reached.
        """
        return query(self.target, sql.format(marts=self.target.schema, **numbers))


@dataclass(frozen=True)
class Refresh(Generic[R, M]):
    """One thing that is kept up to date with the marts."""

    name: str
    read: Callable[[Marts], R]
    make: Callable[[R], M]
    deliver: tuple[Callable[[M, Settings], str], ...]

    def run(self, settings: Settings) -> ChildReport:
        """Read the marts, make the result, deliver it and report.

        Raises:
            DataError: the marts do not hold what is read.
            PlatformError: the warehouse or a place of delivery does not answer.
        """
        result = self.make(self.read(Marts(from_settings(settings))))
        for warning in result.warnings:
            logger.warning("%s", warning)
        for hand_over in self.deliver:
            logger.info("%s delivered to %s", self.name, hand_over(result, settings))
        return ChildReport(summary=result.summary, warnings=result.warnings, facts=dict(result.facts))
