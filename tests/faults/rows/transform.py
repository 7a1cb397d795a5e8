"""dbt is lost in the middle of a build: what it had done stays done, and only the rest is built again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import psycopg2
from prefect.states import AwaitingRetry

from tests.faults import node
from tests.faults.case import Case
from tests.faults.matrix import Lane, Promise, row
from tests.faults.rows.cancelling import SECONDS, cancel, cancelled
from tests.faults.rows.parents import delete
from tests.fixtures.postgres import DBT_WAITS

REST = 2
DONE = "1 of 6 steps completed"
LOADING = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and application_name like 'flows-%%'"
# Of dbt, loads and dashboards.
SESSIONS = "select count(*) from pg_stat_activity where application_name = 'dbt' or application_name like 'flows-%%'"


@contextmanager
def held(case: Case, table: str = "jaffle_shop.raw_payments") -> Iterator[None]:
    """Nobody can read a table while the block runs."""
    connection: Any = psycopg2.connect(**case.site.warehouse)
    with connection.cursor() as cursor:
        cursor.execute(f"lock table {table} in access exclusive mode")
    try:
        yield
    finally:
        connection.close()


def waiting(case: Case, built: int, **parameters: int) -> UUID:
    """A pipeline whose dbt build has built so many models when one waits for a table that is held."""
    run = case.start("jaffle-shop", only=["dbt-build"], overrides={"dbt-build": {"parameters": parameters}})
    case.when(
        lambda: case.site.rows(DBT_WAITS) != [(0,)] and len(case.built()) >= built,
        "dbt is in the middle of its build",
        within=150,
    )
    return run


def building(case: Case, built: int = 3) -> UUID:
    """A pipeline whose dbt build rests in the middle: some models are built, one waits for a table that is held."""
    run = waiting(case, built)
    _at_rest(case)
    return run


def _at_rest(case: Case) -> None:
    """Return when dbt has done all that it can."""
    built = [-1]

    def rests() -> bool:
        built.append(len(case.built()))
        time.sleep(REST)
        return built[-1] == built[-2]

    case.when(rests, "dbt rests")


def struck(case: Case, strike: Callable[[dict[str, Any]], None]) -> UUID:
    """A pipeline whose pod of dbt is struck in the middle of a build."""
    case.site.shop()
    case.restart()
    with held(case):
        run = building(case)
        pod = case.until_pod(case.child(run, "dbt-build"))
        with case.fault():
            strike(pod)
    return run


def interrupted(words: str, first: str, attempts: dict[str, str]) -> Promise:
    """The promise of a build that is lost."""
    return Promise(
        f"{words}; no model that was built is built again.",
        state="Completed",
        message=DONE,
        children={"dbt-build/1": first, **attempts},
        attempts=2,
        struck="dbt-build",
    )


@row(
    "dbt-container-killed",
    "The container of dbt is SIGKILLed in the middle of a build",
    interrupted("A second attempt goes on where the first was", "Crashed", {"dbt-build/2": "Completed"}),
    lane=Lane.DBT,
    fast=True,
)
def dbt_container_killed(case: Case) -> UUID:
    """From the node, while one model waits for a table."""
    return struck(case, node.kill_container)


@row(
    "dbt-killed-as-it-goes-on",
    "The container of dbt is SIGKILLed as soon as it goes on to the next model",
    interrupted("A second attempt goes on where the first was", "Crashed", {"dbt-build/2": "Completed"}),
    lane=Lane.DBT,
)
def dbt_killed_as_it_goes_on(case: Case) -> UUID:
    """One model at a time, so that nothing else ends meanwhile; that the next one waits says that the last is kept."""
    case.site.shop()
    case.restart()
    with held(case):
        run = waiting(case, 1, threads=1)
        pod = case.until_pod(case.child(run, "dbt-build"))
        with case.fault():
            node.kill_container(pod)
    return run


@row(
    "dbt-killed-twice",
    "The container of dbt is SIGKILLed, and so is that of the attempt that goes on",
    Promise(
        "Each attempt builds only what none before it did; the crashes are one too many, so a Retry completes it.",
        state="Completed",
        message=DONE,
        children={"dbt-build/1": "Crashed", "dbt-build/2": "Crashed", "dbt-build/3": "Completed"},
        attempts=3,
        struck="dbt-build",
    ),
    lane=Lane.DBT,
    within=300,
)
def dbt_killed_twice(case: Case) -> UUID:
    """The first waits for one table; the second has built more and waits for another."""
    case.site.shop()
    case.restart()
    with held(case, "jaffle_shop.raw_customers"):
        with held(case):
            run = building(case, 2)
            pod = case.until_pod(case.child(run, "dbt-build"))
            before = len(case.built())
            with case.fault():
                node.kill_container(pod)
        second = case.child(run, "dbt-build", 2)
        case.when(lambda: len(case.built()) > before and case.site.rows(DBT_WAITS) != [(0,)], "the second builds more")
        _at_rest(case)
        node.kill_container(case.until_pod(second))
        case.until_state(run, "Failed")
    case.prefect.client.set_flow_run_state(run, AwaitingRetry())
    return run


@row(
    "dbt-engine-killed",
    "The process of dbt is SIGKILLed in the middle of a build",
    interrupted("A second attempt goes on where the first was", "Crashed", {"dbt-build/2": "Completed"}),
    lane=Lane.DBT,
)
def dbt_engine_killed(case: Case) -> UUID:
    """From the node: only the engine; its supervisor lives."""
    return struck(case, node.kill_engine)


@row(
    "dbt-pod-deleted",
    "The pod of dbt is deleted in the middle of a build",
    interrupted("The same run goes on in a new pod where it was", "Completed", {}),
    lane=Lane.DBT,
)
def dbt_pod_deleted(case: Case) -> UUID:
    """`kubectl delete pod`."""
    case.site.shop()
    case.restart()
    with held(case):
        run = building(case)
        pod = case.until_pod(case.child(run, "dbt-build"))
        with case.fault():
            delete(case, pod)
            case.when(lambda: case.site.rows(SESSIONS) == [(0,)], "no session of dbt is left")
    return run


@row(
    "cancel-in-query",
    "A pipeline is cancelled while dbt is in a query",
    cancelled("dbt cancels it", children={"dbt-build/1": "Cancelled"}),
    lane=Lane.DBT,
    fast=True,
    within=SECONDS,
)
def cancel_in_query(case: Case) -> UUID:
    """The query waits for a table."""
    case.site.shop()
    case.restart()
    with held(case):
        return cancel_all(case, building(case))


def cancel_all(case: Case, run: UUID) -> UUID:
    """Cancel a run: nothing of it may be left in the warehouse, either."""
    cancel(case, run)
    case.by(SECONDS, lambda: case.site.rows(SESSIONS) == [(0,)], "no session is left in the warehouse")
    return run


@row(
    "cancel-while-loading",
    "A pipeline is cancelled while a child loads raw data",
    cancelled("The load stops, and the table has what it had", children={"staging/1": "Cancelled"}),
    lane=Lane.DBT,
    within=SECONDS,
)
def cancel_while_loading(case: Case) -> UUID:
    """The load waits for its table."""
    case.site.shop()
    case.restart()
    count = "select count(*) from jaffle_shop.raw_orders"
    before = case.site.rows(count)
    with held(case, "jaffle_shop.raw_orders"):
        run = case.start("jaffle-shop", only=["staging"])
        case.when(lambda: case.site.rows(LOADING) != [(0,)], "the load waits for its table")
        cancel_all(case, run)
    case.expect("rows of the table", case.site.rows(count), before)
    return run


@row(
    "cancel-while-publishing",
    "A pipeline is cancelled while dbt publishes and the state store hangs",
    cancelled("Nothing of it is published", children={"dbt-build/1": "Cancelled"}),
    lane=Lane.DBT,
    within=SECONDS,
)
def cancel_while_publishing(case: Case) -> UUID:
    """The state store's processes are frozen from the node before dbt is done."""
    case.site.shop()
    case.restart()
    before = case.site.published()
    (store,) = case.namespace.pods("app=standin-aws")
    with held(case):
        run = building(case)
        frozen = node.freeze(store)
    try:
        case.when(lambda: case.site.rows(SESSIONS) == [(0,)], "dbt is done")
        cancel_all(case, run)
    finally:
        node.thaw(frozen)
    case.expect("what is published", case.site.published(), before)
    return run
