"""One row while it runs: what its body uses to start runs, wait, strike and look; and what is measured of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

import httpx
import psycopg2
from kubernetes.client.exceptions import ApiException
from prefect.client.schemas.objects import FlowRun, State
from prefect.exceptions import PrefectHTTPStatusError

from tests.conditions import eventually
from tests.e2e.kube import RUN, Namespace
from tests.faults.matrix import Row
from tests.faults.site import LIMIT, Site
from tests.fixtures.runs import Runs

T = TypeVar("T")
OVER = {"Succeeded", "Failed"}
# What a part of the system that is down makes of a question.
DOWN = (httpx.TransportError, PrefectHTTPStatusError, psycopg2.OperationalError, ApiException)
# How long a run that ended otherwise than promised may take to come back.
SECOND_THOUGHTS = 30


@dataclass
class Case:
    """One row, once.

    Attributes:
        struck: when the fault was made.
        noticed: when something first reacted, if it is not a state of the run.
        roots: runs that were started by the row.
        problems: what a row itself found to be otherwise than promised.
    """

    row: Row
    site: Site
    repeat: int = 1
    began: datetime = field(default_factory=lambda: datetime.now(UTC))
    struck: datetime | None = None
    noticed: datetime | None = None
    roots: list[UUID] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    slots: int = 0

    @property
    def prefect(self) -> Runs:
        """The server's API."""
        return self.site.prefect

    @property
    def namespace(self) -> Namespace:
        """Where the release is."""
        return self.site.namespace

    def start(self, flow: str, job_variables: dict[str, Any] | None = None, **parameters: Any) -> UUID:
        """Start a run that belongs to the row."""
        run = self.prefect.start_with(flow, job_variables or {}, **parameters)
        self.roots.append(run)
        return run

    def sleeping(self, flow: str, seconds: float, *steps: str, job_variables: dict[str, Any] | None = None) -> UUID:
        """Start a pipeline whose children sleep for so long."""
        overrides = {step: {"parameters": {"seconds": seconds}} for step in steps}
        return self.start(flow, job_variables, overrides=overrides)

    def when(self, condition: Callable[[], T | None], what: str, *, within: float = 240) -> T:
        """The condition's value, as soon as it is true; what is down meanwhile is asked again."""

        def asked() -> T | None:
            try:
                value = condition()
            except DOWN:
                value = None
            if not value:
                time.sleep(0.2)
            return value

        return eventually(asked, what, within=within)

    @contextmanager
    def fault(self) -> Iterator[None]:
        """The block makes the fault; time counts from its beginning."""
        self.struck = datetime.now(UTC)
        yield

    def by(self, seconds: float, condition: Callable[[], object], what: str) -> None:
        """What has to be so at a time after the fault; a problem of the row if it is not."""
        assert self.struck is not None  # a row strikes first
        left = seconds - (datetime.now(UTC) - self.struck).total_seconds()
        try:
            self.when(condition, what, within=max(left, 1))
        except TimeoutError:
            self.problems.append(f"not {seconds:g} s after the fault: {what}")

    def notice(self) -> None:
        """Something reacted."""
        self.noticed = self.noticed or datetime.now(UTC)

    def expect(self, what: str, seen: object, promised: object) -> None:
        """One more promise of the row."""
        if seen != promised:
            self.problems.append(f"{what}: {seen!r} instead of {promised!r}")

    def restart(self) -> None:
        """What was done until now does not belong to the row."""
        self.began = datetime.now(UTC)

    def sweep(self, *, dry_run: bool = False, times: int = 1) -> None:
        """Run the sweeper now, instead of at its next minute; several times at once, if wanted."""
        runs = [self.prefect.start("sweep", dry_run=dry_run) for _ in range(times)]
        for run in runs:
            self.when(lambda run=run: self._over(run), "the sweep is over")  # type: ignore[misc]
            self.notice()
            self.expect("the sweep", self.read(run).state_name, "Completed")

    # What there is.

    def read(self, run: UUID) -> FlowRun:
        """The run as it is now."""
        return self.prefect.client.read_flow_run(run)

    def states(self, run: UUID) -> list[State[Any]]:
        """All states that a run has had."""
        found = self.prefect.client.read_flow_run_states(run)
        return sorted(found, key=lambda state: state.timestamp)

    def family(self) -> dict[UUID, FlowRun]:
        """The row's runs with all their descendants."""
        found: dict[UUID, FlowRun] = {}
        ahead = list(self.roots)
        while ahead:
            run = ahead.pop()
            if run not in found:
                found[run] = self.read(run)
                ahead += [child.id for child in self.prefect.children(run).values()]
        return found

    def pods(self, run: UUID) -> list[dict[str, Any]]:
        """Pods of a run that are not over, oldest first."""
        return [pod for pod in self.namespace.pods_of(run) if pod["status"]["phase"] not in OVER]

    def pods_left(self) -> list[str]:
        """Pods of the row's runs that are not over."""
        family = ",".join(map(str, self.family()))
        found = self.namespace.pods(f"{RUN} in ({family})") if family else []
        return [pod["metadata"]["name"] for pod in found if pod["status"]["phase"] not in OVER]

    def held(self) -> int:
        """Slots that are held: of the pool by runs that are not over, and of the limit `faults`."""
        active = sum(not (run.state and run.state.is_final()) for run in self.family().values())
        return active + (self.limit() if self.slots else 0)

    def limit(self, name: str = LIMIT) -> int:
        """Slots of a concurrency limit that are taken."""
        return int(self.prefect.client.read_global_concurrency_limit_by_name(name).active_slots)

    def effects(self, what: str = "%") -> list[str]:
        """What the row's runs wrote into the warehouse, oldest first."""
        family = [str(run) for run in self.family()]
        query = "select what from faults.effects where run = any(%s) and what like %s order by at"
        return [str(found[0]) for found in self.site.rows(query, family, what)]

    def said(self, run: UUID) -> str:
        """The run's log."""
        return "\n".join(self.prefect.log(run))

    def built(self) -> list[str]:
        """Models that dbt has built since the row began, oldest first."""
        if self.site.rows("select to_regnamespace('analytics')") == [(None,)]:
            return []
        models = "select relname from pg_class where relnamespace = 'analytics'::regnamespace"
        query = f"select relation from faults.built where at > %s and relation in ({models}) order by at"
        return [str(found[0]) for found in self.site.rows(query, self.began)]

    def _over(self, run: UUID) -> bool:
        state = self.read(run).state
        return state is not None and state.is_final()

    # What to wait for.

    def until_state(self, run: UUID, *names: str, within: float = 240) -> FlowRun:
        """The run, when its state has one of these names."""

        def reached() -> FlowRun | None:
            found = self.read(run)
            return found if found.state_name in names else None

        return self.when(reached, f"run {run} is {' or '.join(names)}", within=within)

    def all_over(self) -> bool:
        """Whether every run of the row, and every pod of them, is over."""
        return not self.pods_left() and all(run.state and run.state.is_final() for run in self.family().values())

    def until_pod(self, run: UUID, *, within: float = 240) -> dict[str, Any]:
        """The newest pod of a run, when its container runs."""

        def running() -> dict[str, Any] | None:
            found = [pod for pod in self.pods(run) if pod["status"]["phase"] == "Running"]
            return found[-1] if found else None

        return self.when(running, f"a pod of run {run} runs", within=within)

    def until_effects(self, *wanted: str, within: float = 240) -> None:
        """Return when these were written."""
        self.when(lambda: set(wanted) <= set(self.effects()), f"{', '.join(wanted)} in faults.effects", within=within)

    def child(self, run: UUID, step: str, attempt: int = 1, *, within: float = 240) -> UUID:
        """The child run of a step, when there is one."""
        return self.when(
            lambda: self.prefect.children(run).get((step, attempt)), f"{step}/{attempt} is started", within=within
        ).id

    def settled(self, run: UUID) -> FlowRun:
        """The run when it has ended as promised, or otherwise for good, or when its time has passed."""
        deadline = time.monotonic() + self.row.within
        otherwise: float | None = None
        read: FlowRun | None = None
        while time.monotonic() < deadline:
            try:
                read = self.read(run)
            except DOWN:
                time.sleep(0.5)
                continue
            final = bool(read.state and read.state.is_final())
            if read.state_name == self.row.promise.state:
                return read
            otherwise = (otherwise or time.monotonic()) if final else None
            if otherwise and time.monotonic() - otherwise > SECOND_THOUGHTS:
                return read
            time.sleep(0.2)
        return read or self.read(run)
