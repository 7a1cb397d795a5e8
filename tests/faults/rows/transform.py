"""dbt is lost in the middle of a build: what it had done stays done, and only the rest is built again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import psycopg2

from tests.faults import node
from tests.faults.case import Case
from tests.faults.matrix import Lane, Promise, row
from tests.faults.rows.parents import delete

REST = 2
DONE = "1 of 6 steps completed"
WAITING = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and application_name = 'dbt'"
QUERIES = "select count(*) from pg_stat_activity where application_name = 'dbt'"


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


def building(case: Case) -> UUID:
    """A pipeline whose dbt build waits in the middle: some models are built, one waits for a table that is held."""
    run = case.start("jaffle-shop", only=["dbt-build"])
    case.when(lambda: case.site.rows(WAITING) != [(0,)] and len(case.built()) >= 3, "dbt is in the middle of its build")
    _at_rest(case)
    return run


def _at_rest(case: Case) -> None:
    """Return when dbt has done all that it can: what it did last is saved half a second later."""
    built = [-1]

    def rests() -> bool:
        built.append(len(case.built()))
        time.sleep(REST)
        return built[-1] == built[-2]

    case.when(rests, "dbt rests")


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
    case.site.shop()
    case.restart()
    with held(case):
        run = building(case)
        pod = case.until_pod(case.child(run, "dbt-build"))
        with case.fault():
            node.kill_container(pod)
    return run


@row(
    "dbt-engine-killed",
    "The process of dbt is SIGKILLed in the middle of a build",
    interrupted("A second attempt goes on where the first was", "Crashed", {"dbt-build/2": "Completed"}),
    lane=Lane.DBT,
)
def dbt_engine_killed(case: Case) -> UUID:
    """From the node: only the engine; its supervisor lives."""
    case.site.shop()
    case.restart()
    with held(case):
        run = building(case)
        pod = case.until_pod(case.child(run, "dbt-build"))
        with case.fault():
            node.kill_engine(pod)
    return run


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
            case.when(lambda: case.site.rows(QUERIES) == [(0,)], "no query of dbt is left")
    return run


def cancelled(words: str, children: dict[str, str]) -> Promise:
    """What becomes of a build or a load that is cancelled."""
    return Promise(
        f"{words}: Cancelled within 30 s, no pod and no query is left.", state="Cancelled", children=children
    )


@row(
    "cancel-in-query",
    "A pipeline is cancelled while dbt is in a query",
    cancelled("dbt cancels it", {"dbt-build/1": "Cancelled"}),
    lane=Lane.DBT,
    fast=True,
    within=30,
)
def cancel_in_query(case: Case) -> UUID:
    """The query waits for a table."""
    case.site.shop()
    case.restart()
    with held(case):
        run = building(case)
        with case.fault():
            case.prefect.cancel(run)
        case.settled(run)
        case.when(lambda: case.prefect.states(run) == {"dbt-build/1": "Cancelled"}, "dbt-build is Cancelled", within=30)
        case.expect("queries of dbt", case.site.rows(QUERIES), [(0,)])
    return run


@row(
    "cancel-while-loading",
    "A pipeline is cancelled while a child loads raw data",
    cancelled("The load stops, and the table has what it had", {"staging/1": "Cancelled"}),
    lane=Lane.DBT,
    within=30,
)
def cancel_while_loading(case: Case) -> UUID:
    """The load waits for its table."""
    case.site.shop()
    case.restart()
    before = case.site.rows("select count(*) from jaffle_shop.raw_orders")
    loading = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query ilike '%raw_orders%'"
    with held(case, "jaffle_shop.raw_orders"):
        run = case.start("jaffle-shop", only=["staging"])
        case.when(lambda: case.site.rows(loading) != [(0,)], "the load waits for its table")
        with case.fault():
            case.prefect.cancel(run)
        case.settled(run)
        case.when(lambda: not case.pods_left(), "no pod is left", within=30)
        case.expect("queries of the load", case.site.rows(loading), [(0,)])
    case.expect("rows of the table", case.site.rows("select count(*) from jaffle_shop.raw_orders"), before)
    return run


@row(
    "cancel-while-publishing",
    "A pipeline is cancelled while dbt publishes and the state store hangs",
    cancelled("Nothing of it is published", {"dbt-build/1": "Cancelled"}),
    lane=Lane.DBT,
    within=30,
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
        case.when(lambda: case.site.rows(QUERIES) == [(0,)], "dbt is done")
        with case.fault():
            case.prefect.cancel(run)
        case.settled(run)
        case.when(lambda: not case.pods_left(), "no pod is left", within=30)
    finally:
        node.thaw(frozen)
    case.expect("what is published", case.site.published(), before)
    return run
